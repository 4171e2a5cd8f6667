"""Whose face is whose from frame to frame: boxes that overlap where the last ones were going, one to one.

SORT (Bewley et al. 2016, arXiv:1602.00763) without its Kalman filter: a track moves on by its last step, the Hungarian
algorithm matches boxes by intersection over union. All frames are known before a face is drawn, so a face that is
missed between two detections is put where a straight line between both has it.
"""

from __future__ import annotations

import bisect
import itertools
import math
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, overload

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from anon.faces.detection.contract import Detections
from anon.faces.detection.frames import areas, overlaps

LEAST_IOU = 0.2  # of a box with the place where its track should be
REACH = 0.7  # or centres so near, in sides of the box: a fast face does not overlap its last box
NUMBERS = 14  # of a face: its box and its points
PATIENCE = 15  # frames without a detection after which a track has ended
LEAST = 2  # frames for which a track goes on, however long they last
_ROUNDING = 1e-6  # of times that are added up


#: Of frames, by their numbers.
Times = Sequence[float] | Mapping[int, float]


class Seen(NamedTuple):
    """A face of a frame."""

    track: int
    box: Tensor  # (4,) left, top, right, bottom in pixels
    points: Tensor  # (5, 2); NaN where the detector gives none
    filled: bool  # no detector saw it: it lies between two detections of its track, or beside them


class Faces(Sequence[list[Seen]]):
    """The faces of every frame of a video, 60 bytes each: an hour of them takes no memory to speak of.

    Args:
        count: of frames.
        rows: (frame, track, filled, box and points) of every face, in any order.
    """

    def __init__(self, count: int, rows: Iterable[tuple[int, int, bool, Sequence[float]]]) -> None:
        kept = [row for row in rows if 0 <= row[0] < count]
        kept.sort(key=lambda row: row[:2])
        self._values = np.array([row[3] for row in kept], np.float32).reshape(-1, NUMBERS)
        self._tracks = np.array([row[1] for row in kept], np.int64)
        self._filled = np.array([row[2] for row in kept], bool)
        self._starts = np.searchsorted(np.array([row[0] for row in kept], np.int64), np.arange(count + 1))

    def __len__(self) -> int:
        return len(self._starts) - 1

    @overload
    def __getitem__(self, frame: int) -> list[Seen]: ...
    @overload
    def __getitem__(self, frame: slice) -> list[list[Seen]]: ...
    def __getitem__(self, frame: int | slice) -> list[Seen] | list[list[Seen]]:
        if isinstance(frame, slice):
            return [self._of(each) for each in range(*frame.indices(len(self)))]
        return self._of(range(len(self))[frame])

    def _of(self, frame: int) -> list[Seen]:
        rows = range(self._starts[frame], self._starts[frame + 1])
        values = torch.from_numpy(self._values)
        faces = ((int(self._tracks[i]), values[i, :4], values[i, 4:].view(5, 2), bool(self._filled[i])) for i in rows)
        return [Seen(*face) for face in faces]


class Track:
    """Boxes and points of one face, in the frames in which it was detected."""

    def __init__(self, number: int) -> None:
        self.number, self.frames, self.values = number, array("q"), array("f")
        self.seen = 0  # detections, of which a window forgets the oldest

    def add(self, frame: int, box: Tensor, points: Tensor) -> None:
        self.seen += 1
        self.frames.append(frame)
        self.values.extend((*box.tolist(), *points.flatten().tolist()))

    def forget(self, frame: int) -> None:
        """Let go of what nothing before and after a frame needs: all but the last two detections up to it."""
        old = max(bisect.bisect_right(self.frames, frame) - 2, 0)
        del self.frames[:old], self.values[: old * NUMBERS]

    def at(self, index: int) -> Tensor:
        """Box and points (14,) of the detection with that index, negative ones from the end."""
        start = (index % len(self.frames)) * NUMBERS
        return torch.tensor(self.values[start : start + NUMBERS])

    def expected(self, frame: int, times: Times, last: int = -1, before: int = -2) -> Tensor:
        """Where the box (4,) is, if its centre goes on as it did between two detections.

        It goes on by frames or by time, whichever leads less far: neither a pause nor times that jitter throw it off.
        """
        box = self.at(last)[:4]
        if len(self.frames) < 2:
            return box
        here, there = self.frames[last], self.frames[before]
        steps = min((frame - here) / (here - there), (times[frame] - times[here]) / (times[here] - times[there]))
        return box + (steps * (_centre(box) - _centre(self.at(before)[:4]))).repeat(2)


class Following:
    """Follows faces, frame by frame; ``active`` are the tracks that may go on.

    Args:
        patience: see :func:`follow`.
    """

    def __init__(self, patience: float) -> None:
        self.patience, self.frames, self.active = patience, 0, list[Track]()
        self._numbers = itertools.count()

    def step(self, found: Detections, times: Times) -> list[Track]:
        """The next frame's faces; those tracks that begin in it. ``times``: of the frames, this one among them."""
        frame, begun = self.frames, list[Track]()
        self.frames += 1
        self.active = [track for track in self.active if within(times, track.frames[-1], frame, self.patience, LEAST)]
        free = set(range(len(found.scores)))
        for place, index in _matched([track.expected(frame, times) for track in self.active], found.boxes):
            self.active[place].add(frame, found.boxes[index], found.points[index])
            free.remove(index)
        for index in sorted(free):
            track = Track(next(self._numbers))
            track.add(frame, found.boxes[index], found.points[index])
            begun.append(track)
        self.active += begun
        return begun


def alone(found: Detections) -> list[Seen]:
    """The faces of a photograph: each is a track of its own."""
    return [Seen(i, found.boxes[i], found.points[i], False) for i in range(len(found.scores))]


def follow(
    detections: Iterable[Detections],
    patience: float = PATIENCE,
    linger: float = 0,
    times: Iterable[float] | None = None,
) -> Faces:
    """The faces of every frame with their tracks, those between two detections filled in.

    Args:
        detections: of frames 0, 1, 2, ...
        patience: how long a face may be missed for before its track has ended, but never less than two frames.
        linger: how long before its first and after its last detection a track is there all the same, without points,
            and if at all, for a frame or more: a detector sees a face that turns away, or goes behind another, a little
            too briefly.
        times: of the frames, in the unit of both, each later than the one before; read after the frame's detections.
            By default both count frames.

    Returns:
        Track numbers rise in the order in which faces are first seen.
    """
    following, every, past = Following(patience), list[Track](), array("d")
    for found, now in zip(detections, itertools.count() if times is None else times, strict=False):
        past.append(now)
        every += following.step(found, past)
    return Faces(
        len(past), (row for track in every for row in (*_filled(track, past), *_lingering(track, past, linger)))
    )


def within(times: Times, first: int, last: int, span: float, frames: int) -> bool:
    """Whether two frames are not further apart than a span, or than some frames."""
    return last - first <= frames or times[last] - times[first] <= span + _ROUNDING


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


def _filled(track: Track, times: Sequence[float]) -> Iterator[tuple[int, int, bool, Sequence[float]]]:
    """Rows of :class:`Faces` where a track was detected, and between."""
    for index, frame in enumerate(track.frames):
        if index and frame - track.frames[index - 1] > 1:
            start, before, after = track.frames[index - 1], track.at(index - 1), track.at(index)
            for between in range(start + 1, frame):
                share = (times[between] - times[start]) / (times[frame] - times[start])
                yield between, track.number, True, before.lerp(after, share).tolist()
        yield frame, track.number, False, track.values[index * NUMBERS : (index + 1) * NUMBERS]


def _lingering(track: Track, times: Sequence[float], span: float) -> Iterator[tuple[int, int, bool, Sequence[float]]]:
    """Rows before a track was seen and afterwards; one that was seen twice or less is a detector's mistake."""
    if len(track.frames) <= 2 or span <= 0:
        return
    first, last = track.frames[0], track.frames[-1]
    before = itertools.takewhile(lambda frame: within(times, frame, first, span, 1), range(first - 1, -1, -1))
    after = itertools.takewhile(lambda frame: within(times, last, frame, span, 1), range(last + 1, len(times)))
    for frames, ends in ((after, (-1, -2)), (before, (0, 1))):
        for frame in frames:
            box = track.expected(frame, times, *ends)
            yield frame, track.number, True, [*box.tolist(), *[math.nan] * (NUMBERS - 4)]


def _alike(first: Tensor, second: Tensor) -> Tensor:
    """The smaller area as a share of the larger, (T, N)."""
    a, b = areas(first)[:, None], areas(second)[None]
    return torch.minimum(a, b) / torch.maximum(a, b).clamp_min(1e-6)


def _centre(boxes: Tensor) -> Tensor:
    return (boxes[..., :2] + boxes[..., 2:]) / 2
