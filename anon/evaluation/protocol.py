"""The protocol: who is enrolled, who probes, which frames, and the threshold.

Each evaluation identity's pictures are split once, by a hash of their name, into an enrol and a probe half; galleries
hold enrol pictures only, so also the row Real is a retrieval between different pictures. A person with one picture is
enrolled only, as a distractor. Thresholds come from the *background* split, whose people are nowhere else: that of
probes against enrolled averages from background people who are enrolled and probed in the same way, that of pictures
against each other from their pairs.
"""

from __future__ import annotations

import hashlib
import math
import typing
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from anon.errors import UserError
from anon.faces.contract import FaceSet
from anon.identity.policies import average
from anon.identity.verification import equal_error_rate, pair_distances, threshold_at_far


@dataclass(frozen=True)
class Protocol:
    """The choices of an evaluation (conf/suite).

    Args:
        far: false accept rate at which the thresholds are taken.
        resamples: of the bootstrap.
        clip_frames: N of eq. 7, frames taken evenly from each clip.
        calibration_images: pictures of a person that calibrate thresholds and make anchors, at most; those who are
            enrolled for it are enrolled as everybody is.
        anchors: training people, at most, whose mixes are the fake identities.
        grid_faces: rows of the picture grids; 0: none.
        batch_size: faces at a time.
        max_eer: equal error rate on unchanged background faces up to which a judge may judge.
        allow_training_encoder: let the judge be the encoder that the generator was trained with. The table says so.
        allow_training_people: evaluate on people whom a network learned from. The table says so.
    """

    far: float = 1e-3
    resamples: int = 1000
    clip_frames: int = 10
    calibration_images: int = 10
    anchors: int = 2048
    grid_faces: int = 6
    batch_size: int = 64
    max_eer: float = 0.1
    allow_training_encoder: bool = False
    allow_training_people: bool = False

    #: Least and most of each number; what is measured divides by them, or draws so many.
    RANGES: ClassVar[Mapping[str, tuple[float, float]]] = {
        **{"far": (1e-9, 1), "max_eer": (0, 1), "attacked_probes": (1, 1e6)},
        **{"resamples": (1, 1e6), "clip_frames": (1, 1e5), "calibration_images": (1, 1e6), "anchors": (1, 1e7)},
        **{"grid_faces": (0, 1000), "batch_size": (1, 1e6)},
    }

    def __post_init__(self) -> None:
        """Of every protocol's numbers, also of those that add some.

        Raises:
            UserError: a number out of its range, text or a fraction in the place of a number.
        """
        for one in fields(self):
            value, (least, most) = getattr(self, one.name), self.RANGES.get(one.name, (-math.inf, math.inf))
            numbers = (int,) if one.type == "int" else (int, float)
            if one.type in ("int", "float") and not (type(value) in numbers and least <= value <= most):
                what = "a whole number" if one.type == "int" else "a number"
                raise UserError(f"suite.{one.name} must be {what} from {least:,g} to {most:,g}, not {value!r:.60}.")
            if one.type == "bool" and not isinstance(value, bool):
                raise UserError(f"suite.{one.name} must be true or false, not {value!r:.60}.")


class Data(typing.Protocol):
    """The data module, as far as an evaluation needs it.

    One whose own protocol says who is enrolled and who probes has ``roles`` of its evaluation faces, and ``pairs`` of
    them where it is verified pair by pair (:mod:`anon.faces.collections.pairs`).
    """

    name: str

    def faces(self, split: str) -> FaceSet: ...


class Halves(NamedTuple):
    """Indices into a face set, rising: who is enrolled, who probes."""

    enrol: Tensor
    probe: Tensor


class Calibrating(NamedTuple):
    """Indices into a face set of what calibrates: pictures against each other, probes against the enrolled."""

    pictures: Tensor
    enrol: Tensor
    probe: Tensor

    @property
    def every(self) -> Tensor:
        """All of them, each once, rising."""
        return torch.cat(self).unique()

    def within(self, every: Tensor) -> Calibrating:
        """The same as places in ``every``."""
        return Calibrating(*(torch.searchsorted(every, part) for part in self))


class Calibration(NamedTuple):
    """A recognizer's threshold on one set of people at the wanted FAR, with the achieved one, and its EER.

    ``low`` .. ``high`` is the threshold's 95 % interval and ``levels`` are quantiles of its resamples, evenly between
    0 and 1, where they were made (:mod:`anon.evaluation.judges.thresholds`).
    """

    threshold: float
    far: float
    eer: float
    impostor_pairs: int
    low: float | None = None
    high: float | None = None
    levels: tuple[float, ...] = ()

    def interval(self) -> dict[str, float]:
        """``threshold_low`` and ``threshold_high``, if they are known."""
        ends = {"threshold_low": self.low, "threshold_high": self.high}
        return {name: value for name, value in ends.items() if value is not None}


def position(name: str, video: int, frame: int) -> int:
    """Where a picture stands in its person's shuffled order: a hash, the same on every machine and forever."""
    return int.from_bytes(hashlib.sha256(f"{name}/{video}/{frame}".encode()).digest()[:8], "big")


def halves(faces: FaceSet) -> Halves:
    """Enrol and probe pictures of a face set.

    A person's stills, and clips as wholes, are halved in hash order; the odd one probes. A person with nothing but one
    clip is halved by frames. Who has a single picture is enrolled only.
    """
    enrol: list[int] = []
    for name, groups in _units(faces).items():
        stills, clips = groups
        if not stills and len(clips) == 1:  # one clip and nothing else
            stills, clips = [[index] for index in clips[0]], []
        chosen = _first(faces, name, stills, len(stills) // 2) + _first(faces, name, clips, len(clips) // 2)
        enrol += chosen or _first(faces, name, stills + clips, 1)
    enrolled = torch.zeros(len(faces), dtype=torch.bool)
    enrolled[enrol] = True
    return Halves(enrolled.nonzero()[:, 0], (~enrolled).nonzero()[:, 0])


def one_of_each(faces: FaceSet) -> Halves:
    """One picture of each person, the first in hash order: enrolled, and searched for with what becomes of it."""
    first = some_of_each(faces, 1)
    return Halves(first, first)


def first_of_each(labels: Tensor, count: int) -> Tensor:
    """Which entries (N,) are among the first ``count`` of their label, (N,) bool.

    >>> first_of_each(torch.tensor([7, 7, 7, 2, 2]), 2).tolist()
    [True, True, False, True, True]
    """
    return turns(labels) < count


def turns(labels: Tensor) -> Tensor:
    """How many entries with the same label come before each, (N,).

    >>> turns(torch.tensor([7, 2, 7, 7, 2])).tolist()
    [0, 0, 1, 2, 1]
    """
    order = labels.argsort(stable=True)
    found = torch.empty_like(labels)
    found[order] = torch.arange(len(labels)) - torch.searchsorted(labels[order], labels[order])
    return found


def clip_frames(faces: FaceSet, count: int) -> Tensor:
    """(M, count) indices: frames taken evenly from each clip that has that many."""
    rows = []
    for _, clips in _units(faces).values():
        for clip in clips:
            if len(clip) >= count:
                steps = torch.linspace(0, len(clip) - 1, count).round().long()
                rows.append(torch.tensor(clip)[steps])
    return torch.stack(rows) if rows else torch.zeros(0, count, dtype=torch.long)


def some_of_each(faces: FaceSet, count: int) -> Tensor:
    """Indices of at most ``count`` pictures of each person, stills before frames of clips, each in hash order."""
    chosen: list[int] = []
    for name, (stills, clips) in _units(faces).items():
        frames = [[index] for clip in clips for index in clip]
        taken = _first(faces, name, stills, count)
        chosen += taken + _first(faces, name, frames, count - len(taken))
    return torch.tensor(sorted(chosen))


def calibrating(faces: FaceSet, count: int, one: bool = False) -> Calibrating:
    """Who is enrolled and who probes as in the evaluation, ``count`` probes of each at most, and pictures of each.

    Args:
        one: people are enrolled with one picture; others of theirs probe, for a picture is no distance from itself.
    """
    half, pictures = halves(faces), some_of_each(faces, count)
    if one:
        first = one_of_each(faces).enrol
        return Calibrating(pictures, first, pictures[~torch.isin(pictures, first)])
    probe = half.probe[first_of_each(faces.labels[half.probe], count)]
    return Calibrating(pictures, half.enrol, probe)


def calibrate(z: Tensor, labels: Tensor, far: float, who: str, metric: str = "cosine") -> Calibration:
    """The threshold of *pictures against each other*, from embeddings (N, D) of people (N,) evaluated nowhere.

    Raises:
        UserError: too few pairs for the wanted FAR, or nobody with two pictures.
    """
    return calibration(*pair_distances(z, labels, metric=metric), far, who)


def calibration(genuine: Tensor, impostor: Tensor, far: float, who: str) -> Calibration:
    """The threshold from distances (N,) within and between people.

    Raises:
        UserError: too few pairs for the wanted FAR.
    """
    if len(impostor) * far < 1 or len(genuine) == 0:
        raise UserError(
            f"The background split gives {who} {len(impostor)} impostor and {len(genuine)} genuine pairs; a threshold "
            f"at FAR {far:g} needs {math.ceil(1 / far)} and 1: use more people or a higher suite.far, or take it "
            "from elsewhere (of a suite: suite.threshold=<distance or results.json>, suite.reference=<data>)."
        )
    threshold, achieved = threshold_at_far(impostor, far)
    eer, _ = equal_error_rate(genuine, impostor)
    return Calibration(threshold, achieved, eer, len(impostor))


def anchors(z: Tensor, labels: Tensor, most: int, seed: int) -> Tensor:
    """The averages (N, D) of the training people whose mixes are the fake identities: all, or ``most`` drawn of them.

    Args:
        z: (M, D) embeddings of training people (M,) by the encoder that conditions.
    """
    people, _ = average(z, labels)
    return people[chosen_people(len(people), most, seed).to(people.device)]


def chosen_people(count: int, most: int, seed: int) -> Tensor:
    """Places of the anchors' people among ``count`` of them in order of their labels: all, or ``most`` drawn."""
    if count <= most:
        return torch.arange(count)
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:most].sort().values


def _units(faces: FaceSet) -> dict[str, tuple[list[list[int]], list[list[int]]]]:
    """By person: stills (lists of one index) and clips (lists of indices in order of frames)."""
    clips: dict[tuple[int, int], list[int]] = defaultdict(list)
    found: dict[str, tuple[list[list[int]], list[list[int]]]] = {name: ([], []) for name in faces.names}
    frames = faces.frames.tolist()
    for index, (label, video) in enumerate(zip(faces.labels.tolist(), faces.videos.tolist(), strict=True)):
        if video < 0:
            found[faces.names[label]][0].append([index])
        else:
            clips[label, video].append(index)
    for (label, _), clip in clips.items():
        found[faces.names[label]][1].append(sorted(clip, key=frames.__getitem__))
    return found


def _first(faces: FaceSet, name: str, units: list[list[int]], count: int) -> list[int]:
    """Indices in the ``count`` units that come first in hash order."""

    def place(unit: list[int]) -> tuple[int, int]:
        return position(name, int(faces.videos[unit[0]]), int(faces.frames[unit[0]])), unit[0]

    return [index for unit in sorted(units, key=place)[: max(count, 0)] for index in unit]
