"""Who is swapped in: the evaluated people among themselves, or those of another data set; at random, or by a list.

    python evaluate.py checkpoint=shipped:facedancer suite=swap data=packed data.root=<AFLW2000-3D> \\
        +data@suite.datasets.ff=packed suite.datasets.ff.root=<FaceForensics++> suite.sources=ff

Targets of one data set with sources of another are Rosberg's thesis, table 5.5; sources are then looked for among those
who are enrolled in their own data set. ``suite.swaps=<file>`` says who is given whose face, as the 1,000 pairs of
FaceForensics++ do (Roessler et al., ICCV 2019).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from anon.anonymizers.results import source_of_each
from anon.errors import UserError
from anon.evaluation.harness.subjects import Subjects, donated, images_at, in_both, paired
from anon.evaluation.harness.suite import Combination
from anon.faces.points import file_key
from anon.faces.splits import person
from anon.plain import read_json

if TYPE_CHECKING:
    from anon.evaluation.harness.stages import Stages

_MOST = 16 * 1024**2  # bytes of a list of pairs


class Donors:
    """Whose faces a swap puts on."""

    def __init__(self, stages: Stages) -> None:
        self.stages, self.named = stages, stages.suite.sources
        given = stages.suite.swaps
        self._partners = None if given is None else partners(Path(given).expanduser())

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
        if self._partners is not None:
            return paired(people, donors, self._partners)
        return people.sources if donors is people else donated(people, donors, self.stages.seed)


def partners(path: Path) -> dict[str, str]:
    """Whose face a person is given, by the person's name; both as :func:`anon.faces.splits.person` compares names.

    Args:
        path: a CSV with the columns target and source; a JSON list of pairs, each of which swaps both ways; or a folder
            of such lists (FaceForensics++'s ``splits``).

    Raises:
        UserError: no such file, or another content.
    """
    lists = sorted(path.glob("*.json")) if path.is_dir() else [path]
    if not lists:
        raise UserError(f"suite.swaps='{path}' holds no list of pairs (.json); name a CSV or FaceForensics++'s splits.")
    found: dict[str, str] = {}
    for file in lists:
        found |= _both_ways(file) if file.suffix.lower() == ".json" else source_of_each(file)
    return {person(target): person(source) for target, source in found.items()}


def _both_ways(file: Path) -> dict[str, str]:
    pairs = read_json(file, _MOST)
    if not isinstance(pairs, list) or not pairs or not all(_is_pair(each) for each in pairs):
        raise UserError(f"'{file}' must be a list of pairs of names, as FaceForensics++'s splits/test.json.")
    both = [(file_key(one), file_key(other)) for one, other in pairs]
    return dict(both) | {other: one for one, other in both}


def _is_pair(each: object) -> bool:
    return isinstance(each, list) and len(each) == 2 and all(isinstance(name, str) and name for name in each)
