"""Do tracks follow people: misses, false positives and identity switches of CLEAR MOT.

Bernardin and Stiefelhagen, "Evaluating Multiple Object Tracking Performance", EURASIP JIVP 2008, section 2: in each
frame a pair of the frame before stays together while its boxes overlap enough; the rest is matched one to one, by the
most overlap. A person whose track is another than the last one that it had is a switch, however long it was not seen.

    MOTA = 1 - (misses + false positives + switches) / people in all frames
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from anon.faces.detection.frames import overlaps

IOU = 0.5  # least intersection over union of a person and a track's box


class Labelled(NamedTuple):
    """The boxes of one frame."""

    numbers: list[int]  # N, whose they are; each once
    boxes: Tensor  # (N, 4) left, top, right, bottom


class ClearMot(NamedTuple):
    """Counts over all frames."""

    people: int
    misses: int
    false_positives: int
    switches: int

    @property
    def mota(self) -> float:
        """At most 1; NaN without people."""
        wrong = self.misses + self.false_positives + self.switches
        return 1 - wrong / self.people if self.people else float("nan")


def clear_mot(frames: Iterable[tuple[Labelled, Labelled]], iou: float = IOU) -> ClearMot:
    """Compare tracks with people.

    Args:
        frames: of each frame the true boxes, and those of the tracks.
        iou: least overlap of a pair.

    >>> boxes = torch.tensor([[0.0, 0.0, 9.0, 9.0], [20.0, 0.0, 29.0, 9.0]])
    >>> people, kept, swapped = (Labelled(numbers, boxes) for numbers in ([1, 2], [5, 6], [6, 5]))
    >>> clear_mot([(people, kept), (people, kept), (people, swapped)])
    ClearMot(people=6, misses=0, false_positives=0, switches=2)
    """
    last: dict[int, int] = {}  # person -> the track that it had when it was last matched
    people = matched = tracks = switches = 0
    before: dict[int, int] = {}
    for truth, found in frames:
        shared = overlaps(truth.boxes, found.boxes) if truth.numbers and found.numbers else None
        pairs = {} if shared is None else _pairs(truth, found, shared, before, iou)
        switches += sum(last.get(person, track) != track for person, track in pairs.items())
        last.update(pairs)
        before = pairs
        people, tracks, matched = people + len(truth.numbers), tracks + len(found.numbers), matched + len(pairs)
    return ClearMot(people, people - matched, tracks - matched, switches)


def _pairs(truth: Labelled, found: Labelled, shared: Tensor, before: dict[int, int], iou: float) -> dict[int, int]:
    rows, columns = ({number: i for i, number in enumerate(each.numbers)} for each in (truth, found))
    pairs = {
        person: track
        for person, track in before.items()
        if person in rows and track in columns and float(shared[rows[person], columns[track]]) >= iou
    }
    left = [i for person, i in rows.items() if person not in pairs]
    free = [i for track, i in columns.items() if track not in pairs.values()]
    part = shared[left][:, free]
    score = torch.where(part >= iou, part, -1e3)  # as many pairs as there can be
    for i, j in zip(*linear_sum_assignment(-score.numpy()), strict=True):
        if float(part[i, j]) >= iou:
            pairs[truth.numbers[left[int(i)]]] = found.numbers[free[int(j)]]
    return pairs
