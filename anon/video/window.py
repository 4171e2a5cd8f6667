"""Tracks of what cannot be read twice: the faces of a frame, when the frames of a window after it are known.

A face that is missed between two detections within the window is put where a straight line between both has it, as a
second pass would have it. Where the window is too short to tell whether a face comes back, its place is covered until
that is known: too much rather than too little.
"""

from __future__ import annotations

import bisect
import math

import torch
from torch import Tensor

from anon.faces.detection.contract import Detections
from anon.video.tracks import Following, Seen, Track, within


class Window:
    """The tracks around the frames that are known and not written yet; older detections are forgotten.

    Args:
        patience: seconds for which a face may be missed before its track has ended.
        linger: seconds for which a track is there before its first and after its last detection.
    """

    def __init__(self, patience: float, linger: float) -> None:
        self.following, self.linger = Following(patience), linger
        self._times, self._tracks, self._oldest = dict[int, float](), list[Track](), 0

    def add(self, found: Detections, time: float) -> None:
        """The next frame's faces; ``time``: seconds, later than the one before."""
        self._times[self.following.frames] = time
        self._tracks += self.following.step(found, self._times)

    def faces(self, frame: int, ended: bool = False) -> list[Seen]:
        """The faces of a frame, which is given once and in order, with those that no detector saw.

        Args:
            ended: no frame comes after those that are known.
        """
        found = [face for track in self._tracks if (face := self._face(track, frame, ended)) is not None]
        self._forget(frame)
        return sorted(found, key=lambda face: face.track)

    def _face(self, track: Track, frame: int, ended: bool) -> Seen | None:
        after = bisect.bisect_left(track.frames, frame)
        if after < len(track.frames) and track.frames[after] == frame:
            return self._seen(track, track.at(after), filled=False)
        if 0 < after < len(track.frames):
            start, end = track.frames[after - 1], track.frames[after]
            share = (self._times[frame] - self._times[start]) / (self._times[end] - self._times[start])
            return self._seen(track, track.at(after - 1).lerp(track.at(after), share), filled=True)
        lasting = track.seen > 2 and self.linger > 0  # else a detector's mistake
        if not after:
            near = lasting and within(self._times, frame, track.frames[0], self.linger, 1)
            return self._beside(track, track.expected(frame, self._times, 0, 1)) if near else None
        near = lasting and within(self._times, track.frames[-1], frame, self.linger, 1)
        open_ended = not ended and any(track is each for each in self.following.active)
        return self._beside(track, track.expected(frame, self._times)) if near or open_ended else None

    @staticmethod
    def _seen(track: Track, values: Tensor, filled: bool) -> Seen:
        return Seen(track.number, values[:4], values[4:].view(5, 2), filled)

    @staticmethod
    def _beside(track: Track, box: Tensor) -> Seen:
        return Seen(track.number, box, torch.full((5, 2), math.nan), True)

    def _forget(self, frame: int) -> None:
        """What no later frame needs."""
        active = {id(track) for track in self.following.active}
        kept = list[Track]()
        for track in self._tracks:
            track.forget(frame)
            over = id(track) not in active and not within(self._times, track.frames[-1], frame, self.linger, 1)
            if not over or track.frames[-1] > frame:
                kept.append(track)
        self._tracks = kept
        needed = min([frame, *(track.frames[0] for track in (*kept, *self.following.active))])
        for old in range(self._oldest, needed):
            del self._times[old]
        self._oldest = max(self._oldest, needed)
