"""Two people out of a data set, with all their pictures: what a subject-specific swap tool learns, and is measured on.

    python train.py experiment=dfaker subjects.donor=<name> subjects.original=<name> data=folder data.root=<folder>

The donor (person 0) is whose face is put on, the original (person 1) is who is filmed. Pictures are divided in the
order of clips and frames, clips as wholes: the first 70 % train, the next 10 % validate and are whom an evaluation
compares with, the last 20 % are what is evaluated. So frames that were taken one after the other are rarely divided.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor

from anon.errors import UserError
from anon.faces.collections.pairs import Roles
from anon.faces.contract import Collated, FaceSet, Sample, batch_of
from anon.faces.datamodule import FaceData
from anon.faces.splits import SEARCHED, EmptySplit, person, split_of

TRAIN, VALIDATE = 0.7, 0.1  # shares of a person's pictures; the rest is evaluated
LEAST = 20  # pictures of a person
SHOWN = 8  # names in a sentence


class One(NamedTuple):
    """A person of a data set: the set, and the indices in it (N,) of all of that person's pictures in order."""

    faces: FaceSet
    indices: Tensor

    def part(self, name: str) -> Tensor:
        """Indices of what a split has of the person: ``train``, ``validate`` or ``evaluate``."""
        order = self._units()
        train, known = (round(share * len(self.indices)) for share in (TRAIN, TRAIN + VALIDATE))
        found: dict[str, list[int]] = {"train": [], "validate": [], "evaluate": []}
        done = 0
        for unit in order:
            end = done + len(unit)  # a clip is where its end is
            where = "train" if end <= train else "validate" if end <= known else "evaluate"
            found[where] += unit
            done += len(unit)
        return torch.tensor(found[name], dtype=torch.long)

    def _units(self) -> list[list[int]]:
        units: list[list[int]] = []
        last = -1
        for index, video in zip(self.indices.tolist(), self.faces.videos[self.indices].tolist(), strict=True):
            if video < 0 or video != last:
                units.append([])
            units[-1].append(index)
            last = video
        return units


class ChosenFaces(Collated):
    """Some pictures of each of several people, or sets of people, one after the other.

    Args:
        people: them.
        chosen: indices in the set of each, in the order of the items.
        names: of whom the labels number.
        synthetic: whether they belong to nobody.
        labels: (N,) of all items; None: the number of the one that an item is of.
    """

    raw = False

    def __init__(
        self,
        people: Sequence[One],
        chosen: Sequence[Tensor],
        names: list[str],
        synthetic: bool,
        labels: Tensor | None = None,
    ) -> None:
        self.people, self.names, self.synthetic = people, names, synthetic
        self.whose = torch.cat([torch.full((len(part),), number) for number, part in enumerate(chosen)])
        self.labels = self.whose if labels is None else labels
        self.places = torch.cat(list(chosen))
        kept = [(one.faces, part) for one, part in zip(people, chosen, strict=True)]
        self.videos = torch.cat([faces.videos[part] for faces, part in kept])
        self.frames = torch.cat([faces.frames[part] for faces, part in kept])

    def __getitems__(self, indices: list[int]) -> Sample:
        """A collated batch; entries that not all sets have are left out."""
        at = torch.tensor(indices, dtype=torch.long)
        rows, parts = [], []
        for number, one in enumerate(self.people):
            own = (self.whose[at] == number).nonzero()[:, 0]
            if len(own):
                rows.append(own)
                parts.append(batch_of(one.faces, self.places[at[own]].tolist()))
        order = torch.cat(rows).argsort()
        common = [key for key in parts[0] if all(key in part for part in parts)]
        joined = {key: torch.cat([cast(dict, part)[key] for part in parts])[order] for key in common}
        return cast(Sample, joined | cast(dict, self.sample(indices, joined["image"])))


class TwoPeople(FaceData):
    """Two people of a data set as a data module: ``train``, ``background`` (which validates) and ``evaluation``.

    An evaluation takes the original's last pictures as probes and both people's validation pictures as who they are;
    thresholds and anchors are other data's (``suite.reference``), for two people are no crowd.

    Args:
        data: whose people they are; from any of its splits.
        donor, original: names of people.
        name: in results; None: the data's, with "a pair of" before it. The names of people are in no result.

    Raises:
        UserError: when faces are asked for: there is no such person, one is both, or has too few pictures.
    """

    def __init__(self, data: FaceData, donor: str, original: str, name: str | None = None) -> None:
        super().__init__(
            sets=self._set,
            name=name or f"a pair of {data.name}",
            size=data.size,
            synthetic=data.synthetic,
            batch_size=data.batch_size,
            workers=data.workers,
            seed=data.seed,
        )
        self.data, self.donor, self.original = data, str(donor), str(original)
        self._people: tuple[One, One] | None = None

    @property
    def people(self) -> tuple[One, One]:
        """Donor and original."""
        if self._people is None:
            if person(self.donor) == person(self.original):
                raise UserError("subjects.donor and subjects.original are one person; name two.")
            self._people = (one_of(self.data, self.donor, "donor"), one_of(self.data, self.original, "original"))
        return self._people

    @property
    def roles(self) -> Roles:
        """Who is enrolled (validation pictures of both) and who probes (the last pictures of the original)."""
        donor, original = self.people
        first, second = len(donor.part("validate")), len(original.part("validate"))
        probes = torch.arange(first + second, first + second + len(original.part("evaluate")))
        return Roles(torch.arange(first + second), probes, probes)

    def _set(self, split: str) -> FaceSet:
        donor, original = self.people
        train, known, rest = ((donor.part(name), original.part(name)) for name in ("train", "validate", "evaluate"))
        if split == "train":
            most = max(map(len, train))
            chosen = cast("tuple[Tensor, Tensor]", tuple(part[torch.arange(most) % len(part)] for part in train))
        elif split == "background":
            chosen = known
        elif split == "evaluation":
            chosen = known[0], torch.cat((known[1], rest[1]))
        else:
            raise UserError(f"two people have no split '{split}': they train, validate and are evaluated.")
        return ChosenFaces((donor, original), chosen, [self.donor, self.original], self.synthetic)


def one_of(data: FaceData, name: str, role: str, splits: Sequence[str] = SEARCHED) -> One:
    """A person of a data set, with all pictures.

    Args:
        role: the setting that names him or her, behind ``subjects.``.
        splits: in which of them the person may be.

    Raises:
        UserError: there is no such person, or the pictures are too few.
    """
    known: list[str] = []
    for split in sorted(splits, key=lambda each: each != split_of(name)):  # most likely there; a split takes time
        try:
            faces = data.faces(split)
        except EmptySplit:
            continue
        if name in faces.names:
            rows = (faces.labels == faces.names.index(name)).nonzero()[:, 0]
            order = sorted(rows.tolist(), key=lambda row: (int(faces.videos[row]), int(faces.frames[row])))
            if len(order) < LEAST:
                raise UserError(
                    f"subjects.{role} has {len(order)} pictures and needs {LEAST}: a decoder of one person learns "
                    "from many (data.images of rendered ones); name somebody else, or add some."
                )
            return One(faces, torch.tensor(order))
        known += faces.names
    shown = f"{', '.join(sorted(known)[:SHOWN])}, ..." if data.synthetic else "the names of its folders"
    where = "" if len(splits) == len(SEARCHED) else f" in the splits {', '.join(splits)}"
    raise UserError(
        f"subjects.{role} is nobody of {data.name}, which has {len(known):,} people{where}; name one of {shown}."
    )
