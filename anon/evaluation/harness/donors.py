"""Who is swapped in: the evaluated people among themselves, or those of another data set.

    python evaluate.py checkpoint=shipped:facedancer suite=swap data=packed data.root=<AFLW2000-3D> \\
        +data@suite.datasets.ff=packed suite.datasets.ff.root=<FaceForensics++> suite.sources=ff

Targets of one data set with sources of another are Rosberg's thesis, table 5.5; sources are then looked for among those
who are enrolled in their own data set.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from anon.errors import UserError
from anon.evaluation.harness.subjects import Subjects, donated, images_at, in_both
from anon.evaluation.harness.suite import Combination

if TYPE_CHECKING:
    from anon.evaluation.harness.stages import Stages


class Donors:
    """Whose faces a swap puts on."""

    def __init__(self, stages: Stages) -> None:
        self.stages, self.named = stages, stages.suite.sources

    def data(self, one: Combination) -> str:
        """Of which data set they are; those that a method names itself are among its own originals."""
        known = self.named is None or self.stages.factory.method(one).sources is not None
        return one.data if known else str(self.named)

    def of(self, one: Combination) -> Subjects:
        """The donors.

        Raises:
            UserError: their faces are of another size, or some of them are evaluated as targets.
        """
        people, donors = (self.stages.subjects(data) for data in (one.data, self.data(one)))
        if donors is people:
            return people
        sides = [images_at(each.items.faces, each.items.indices[:1]).shape[-1] for each in (people, donors)]
        if sides[0] != sides[1]:
            raise UserError(
                f"suite.sources={self.named} has faces of {sides[1]} pixels and {people.name} of {sides[0]}: set the "
                "size of one of them, as in suite.datasets.<name>.size."
            )
        both = in_both(people.items.faces, donors.items.faces)
        if both:
            raise UserError(
                f"{both:,} of the {len(people.items.faces.names):,} evaluated people of {people.name} are in "
                f"suite.sources, {donors.name}, too, and might be swapped with themselves; name other data."
            )
        return donors

    def sources(self, one: Combination) -> Tensor:
        """(N,) index among the donors' faces of whoever is swapped in, for each item; -1: none of them."""
        method, people = self.stages.factory.method(one), self.stages.subjects(one.data)
        if method.sources is not None:
            return method.sources(people.items.indices)
        donors = self.of(one)
        return people.sources if donors is people else donated(people, donors, self.stages.seed)
