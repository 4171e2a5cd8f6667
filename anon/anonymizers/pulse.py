"""A filter of clips that removes the pulse: skin may change its colour slowly, not as fast as a heart beats.

In every frame the mean colour of each of a few cells is compared with its course, the same mean behind two first-order
low-pass filters, and the picture is multiplied by what is between them, smoothly from cell to cell. Cells, and not the
face as a whole: where light shines on skin, or a cell is half hair, it beats less, and what is taken of the mean of all
would beat there the other way round. The factor is bounded, for a heart changes a colour by two percent and a head
that moves by more. The face stays who it is: this hides what a face says of a body, and nothing else.

It looks back only, so it runs on a camera's frames, too.

    python evaluate.py suite=pulse
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anon.anonymizers.filters import block_means, check_count, check_positive
from anon.errors import Failed
from anon.faces.contract import check_images
from anon.identity.contract import Draws, Given

STILL = -1  # the track of a picture that is no frame of a clip


class _Course(NamedTuple):
    """What is remembered of a clip: the states of the two low-pass filters, (3, cells, cells) each."""

    first: Tensor
    second: Tensor


class SteadySkin(nn.Module):
    """The filter, an :class:`anon.anonymizers.contract.AnonymizerLike` that works on clips alone.

    Args:
        cutoff: Hz, of each of the two low-pass filters, in (0, 0.5]; of a pulse of 0.7 Hz 1 / (1 + (0.7 / cutoff)²) is
            left.
        fps: frames a second.
        cells: a side.
        bound: by how much a colour is multiplied or divided at most, as a share in (0, 0.5].
    """

    temporal = True

    def __init__(self, cutoff: float = 0.1, fps: float = 25.0, cells: int = 8, bound: float = 0.03) -> None:
        super().__init__()
        self.cutoff = check_positive(cutoff, "The pulse filter's cutoff, in Hz,", 0.5)
        self.fps = check_positive(fps, "The frames a second")
        self.cells = check_count(cells, "The number of cells a side")
        self.bound = check_positive(bound, "The pulse filter's bound, a share of a colour,", 0.5)
        self._courses: dict[int, _Course] = {}

    def forward(
        self, images: Tensor, *, source: Given = None, key: Given = None, track: Given = None, rng: Draws = None
    ) -> Tensor:
        """Frames (B, 3, H, W) in [-1, 1] -> the same form. ``track`` (B,) int64 says which clip each is of, frames of a
        clip in order over all calls; of :data:`STILL` a picture stays as it is.

        Raises:
            Failed: without tracks nothing is known of time.
        """
        if track is None:
            raise Failed("a filter of the pulse works on the frames of clips, and was not told which clip they are of")
        frames = zip(check_images(images), track.tolist(), strict=True)
        return torch.stack([self._steady(image, int(clip)) for image, clip in frames]).clamp(-1.0, 1.0)

    def reset(self) -> None:
        """Forget all clips."""
        self._courses = {}

    def _steady(self, image: Tensor, clip: int) -> Tensor:
        if clip == STILL:
            return image
        colours = (image.float() + 1.0) / 2.0  # (3, H, W)
        mean = block_means(colours[None], self.cells)[0]
        known = self._courses.get(clip)
        if known is None:
            self._courses[clip] = _Course(mean, mean)
            return image
        keep = math.exp(-2 * math.pi * self.cutoff / self.fps)
        first = keep * known.first + (1 - keep) * mean
        second = keep * known.second + (1 - keep) * first
        self._courses[clip] = _Course(first, second)
        gain = (second / mean.clamp(min=1e-3)).clamp(1.0 - self.bound, 1.0 + self.bound)
        gain = F.interpolate(gain[None], colours.shape[1:], mode="bilinear", align_corners=False)[0]
        return 2.0 * colours * gain - 1.0
