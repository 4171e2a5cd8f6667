"""Pairs of frames of one clip, of any face set that has clips."""

from __future__ import annotations

import torch
from torch import Tensor

from anon.errors import UserError
from anon.faces.contract import FaceSet

WAY_OUT = "render some (data=synthetic data.clips.train=1), or give data whose pictures are frames of clips."


class ClipPairs:
    """Finds for frames of clips other frames of the same clips.

    Args:
        faces: a set with clips; its stills are in no pair.
        who: wants clips, for the sentence, such as "experiment=identity_mask".

    Raises:
        UserError: the set has no clip of two frames.
    """

    def __init__(self, faces: FaceSet, who: str) -> None:
        rows = (faces.videos >= 0).nonzero()[:, 0]
        labels, videos, frames = (each[rows] for each in (faces.labels, faces.videos, faces.frames))
        self._sizes = [int(each.max()) + 1 if len(rows) else 1 for each in (videos, frames)]
        self._places, order = self._place(labels, videos, frames).sort()
        self._rows = rows[order]  # of the set, by clip and frame
        _, counts = torch.unique_consecutive(self._places // self._sizes[1], return_counts=True)
        if not len(counts) or int(counts.max()) < 2:
            raise UserError(f"{who} learns from clips of two frames or more, and these data have none: {WAY_OUT}")
        self._start = (counts.cumsum(0) - counts).repeat_interleave(counts)  # of each frame's clip
        self._count = counts.repeat_interleave(counts)

    def _place(self, labels: Tensor, videos: Tensor, frames: Tensor) -> Tensor:
        return (labels * self._sizes[0] + videos) * self._sizes[1] + frames

    def _at(self, labels: Tensor, videos: Tensor, frames: Tensor) -> Tensor:
        return torch.searchsorted(self._places, self._place(labels, videos, frames))

    def another(self, labels: Tensor, videos: Tensor, frames: Tensor, rng: torch.Generator) -> Tensor:
        """For frames (B,), all on the CPU, indices (B,) into the set of frames drawn from the same clips.

        Never the frame itself, but of a clip that has no other.
        """
        at = self._at(labels, videos, frames)
        start, count = self._start[at], self._count[at]
        others = (count - 1).clamp(min=1)
        step = 1 + (torch.rand(len(at), generator=rng) * others).long().minimum(others - 1)
        return self._rows[start + (at - start + step) % count]

    def ends(self, labels: Tensor, videos: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Which of frames (B,) are the last of their clip, bool (B,), and indices (B,) of their clips' first frames."""
        at = self._at(labels, videos, frames)
        start, count = self._start[at], self._count[at]
        return (at == start + count - 1) & (count > 1), self._rows[start]
