"""A few donors out of a data set, with all their pictures, and everybody of its training split: what FATM learns.

    python train.py experiment=fatm 'subjects.donors=[<name>,<name>]' generator.donors=2 data=folder data.root=<folder>

Donors are people of the background or the training split: who is evaluated can be none, for every published picture
shows one of them. The first 70 % of a donor's pictures train and the next 10 % validate, clips as wholes; the
background people who are no donors validate what the network makes of a stranger.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from anon.errors import UserError
from anon.faces.contract import FaceSet
from anon.faces.couple import ChosenFaces, One, one_of
from anon.faces.datamodule import FaceData
from anon.faces.splits import EmptySplit, person

SPLITS = ("background", "train")  # of which donors may be
STRANGERS = 12  # pictures of each background person that validate, at most


class Donors(FaceData):
    """Labels 0 to n - 1 are the donors, in the order of their names as given; higher ones are everybody else.

    In the training split there are as many pictures of donors as of everybody else: the fewer are repeated in turn.

    Args:
        data: whose people they are.
        donors: names of people.

    Raises:
        UserError: when faces are asked for: there is no such person in the two splits, one is named twice, or one has
            too few pictures.
    """

    def __init__(self, data: FaceData, donors: Sequence[str]) -> None:
        super().__init__(
            sets=self._set,
            name=str(data.name),
            size=data.size,
            synthetic=data.synthetic,
            batch_size=data.batch_size,
            workers=data.workers,
            seed=data.seed,
        )
        self.data, self.donors = data, [str(name) for name in donors]
        self._people: list[One] | None = None

    @property
    def people(self) -> list[One]:
        """The donors."""
        if self._people is None:
            if len({person(name) for name in self.donors}) < max(len(self.donors), 1):
                raise UserError("subjects.donors is empty or names somebody twice; name each donor once.")
            self._people = [one_of(self.data, name, "donors", SPLITS) for name in self.donors]
        return self._people

    def _set(self, split: str) -> FaceSet:
        if split not in SPLITS:
            raise UserError(f"donors and everybody have no split '{split}': they train and validate.")
        own = [one.part("train" if split == "train" else "validate") for one in self.people]
        others = self._others(split)
        if split == "train":
            most = max(len(others.indices) // len(own), *(len(part) for part in own))
            own = [part[torch.arange(most) % len(part)] for part in own]
        numbers = others.faces.labels[others.indices]
        found, place = numbers.unique(return_inverse=True)
        labels = [torch.full((len(part),), number) for number, part in enumerate(own)]
        names = [*self.donors, *(others.faces.names[number] for number in found.tolist())]
        whole = torch.cat([*labels, place + len(own)])
        return ChosenFaces([*self.people, others], [*own, others.indices], names, self.synthetic, whole)

    def _others(self, split: str) -> One:
        """Everybody of a split but the donors; of background people the first pictures."""
        try:
            faces = self.data.faces(split)
        except EmptySplit:
            return One(self.people[0].faces, torch.empty(0, dtype=torch.long))
        known = {person(name) for name in self.donors}
        kept = torch.tensor([person(name) not in known for name in faces.names], dtype=torch.bool)[faces.labels]
        return One(faces, _first(faces.labels, kept, None if split == "train" else STRANGERS))


def _first(labels: Tensor, kept: Tensor, most: int | None) -> Tensor:
    """Indices of the kept pictures (N,), at most ``most`` of each label, the first ones."""
    rows = kept.nonzero()[:, 0]
    if most is None:
        return rows
    return torch.cat([rows[labels[rows] == label][:most] for label in labels[rows].unique()] or [rows])
