"""Whose face is whose from frame to frame: boxes that overlap where the last ones were going, one to one.

SORT (Bewley et al. 2016, arXiv:1602.00763) without its Kalman filter: a track moves on by its last step, the Hungarian
algorithm matches boxes by intersection over union. All frames are known before a face is drawn, so a face that is
missed between two detections is put where a straight line between both has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from anon.faces.detection.contract import Detections

LEAST_IOU = 0.2  # of a box with the place where its track should be
REACH = 0.7  # or centres so near, in sides of the box: a fast face does not overlap its last box
PATIENCE = 15  # frames without a detection after which a track has ended


class Seen(NamedTuple):
    """A face of a frame."""

    track: int
    box: Tensor  # (4,) left, top, right, bottom in pixels
    points: Tensor  # (5, 2); NaN where the detector gives none
    filled: bool  # no detector saw it: it lies between two detections of its track, or beside them


@dataclass
class _Track:
    number: int
    frames: list[int] = field(default_factory=list)
    boxes: list[Tensor] = field(default_factory=list)
    points: list[Tensor] = field(default_factory=list)

    def add(self, frame: int, box: Tensor, points: Tensor) -> None:
        self.frames.append(frame)
        self.boxes.append(box)
        self.points.append(points)

    def expected(self, frame: int) -> Tensor:
        """Where the box (4,) is, if its centre goes on as it did between the last two detections."""
        if len(self.boxes) < 2:
            return self.boxes[-1]
        step = (_centre(self.boxes[-1]) - _centre(self.boxes[-2])) / (self.frames[-1] - self.frames[-2])
        return self.boxes[-1] + (step * (frame - self.frames[-1])).repeat(2)


def alone(found: Detections) -> list[Seen]:
    """The faces of a photograph: each is a track of its own."""
    return [Seen(i, found.boxes[i], found.points[i], False) for i in range(len(found.scores))]


def follow(detections: Sequence[Detections], patience: int = PATIENCE, linger: int = 0) -> list[list[Seen]]:
    """The faces of every frame with their tracks, those between two detections filled in.

    Args:
        detections: of frames 0, 1, 2, ...
        patience: frames that a face may be missed for before its track has ended.
        linger: frames before its first and after its last detection in which a track is there all the same, without
            points: a detector sees a face that turns away, or goes behind another, a little too briefly.

    Returns:
        One list a frame; track numbers rise in the order in which faces are first seen.
    """
    active: list[_Track] = []
    every: list[_Track] = []
    for frame, found in enumerate(detections):
        active = [track for track in active if frame - track.frames[-1] <= patience]
        free = set(range(len(found.scores)))
        for track, index in _matched([track.expected(frame) for track in active], found.boxes):
            active[track].add(frame, found.boxes[index], found.points[index])
            free.remove(index)
        for index in sorted(free):
            track_ = _Track(len(every))
            track_.add(frame, found.boxes[index], found.points[index])
            every.append(track_)
            active.append(track_)
    result: list[list[Seen]] = [[] for _ in detections]
    for each in every:
        for frame, seen in [*_filled(each), *_lingering(each, linger)]:
            if 0 <= frame < len(result):
                result[frame].append(seen)
    return result


def _matched(expected: list[Tensor], boxes: Tensor) -> list[tuple[int, int]]:
    if not expected or not len(boxes):
        return []
    places = torch.stack(expected)
    iou = overlaps(places, boxes)  # (T, N)
    apart = (_centre(places)[:, None] - _centre(boxes)[None]).norm(dim=-1)
    near = 1.0 - apart / (REACH * (places[:, 2:] - places[:, :2]).mean(-1, keepdim=True)).clamp_min(1e-6)
    near = near.clamp_min(0.0) * (_alike(places, boxes) > 0.5)  # of similar size only
    score = iou + 1e-3 * near
    chosen = zip(*linear_sum_assignment(-score.numpy()), strict=True)
    return [(int(t), int(n)) for t, n in chosen if float(iou[t, n]) >= LEAST_IOU or float(near[t, n]) > 0]


def _filled(track: _Track) -> list[tuple[int, Seen]]:
    """Frames and faces of a track, rising."""
    last = (track.frames[0], Seen(track.number, track.boxes[0], track.points[0], False))
    rows = [last]
    for frame, box, points in list(zip(track.frames, track.boxes, track.points, strict=True))[1:]:
        start, seen = last
        for between in range(start + 1, frame):
            share = (between - start) / (frame - start)
            rows.append(
                (
                    between,
                    Seen(track.number, seen.box.lerp(box, share), seen.points.lerp(points, share), True),
                )
            )
        last = (frame, Seen(track.number, box, points, False))
        rows.append(last)
    return rows


def _lingering(track: _Track, frames: int) -> list[tuple[int, Seen]]:
    """Where a track is before it was seen and afterwards; one that was seen twice or less is a detector's mistake."""
    if len(track.frames) <= 2:
        return []
    nowhere = torch.full_like(track.points[0], torch.nan)
    before = _Track(track.number, [-n for n in track.frames[1::-1]], track.boxes[1::-1], [])
    rows = []
    for step in range(1, frames + 1):
        for one, sign in ((track, 1), (before, -1)):
            frame = one.frames[-1] + step
            rows.append((sign * frame, Seen(track.number, one.expected(frame), nowhere, True)))
    return rows


def overlaps(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of boxes (T, 4) with boxes (N, 4), (T, N).

    >>> overlaps(torch.tensor([[0.0, 0, 2, 2]]), torch.tensor([[0.0, 1, 2, 3], [5, 5, 6, 6]]))
    tensor([[0.3333, 0.0000]])
    """
    low, high = torch.maximum(first[:, None, :2], second[:, :2]), torch.minimum(first[:, None, 2:], second[:, 2:])
    shared = (high - low).clamp_min(0).prod(-1)
    return shared / (_area(first)[:, None] + _area(second) - shared).clamp_min(1e-6)


def _alike(first: Tensor, second: Tensor) -> Tensor:
    """The smaller area as a share of the larger, (T, N)."""
    a, b = _area(first)[:, None], _area(second)[None]
    return torch.minimum(a, b) / torch.maximum(a, b).clamp_min(1e-6)


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).clamp_min(0).prod(-1)


def _centre(boxes: Tensor) -> Tensor:
    return (boxes[..., :2] + boxes[..., 2:]) / 2
