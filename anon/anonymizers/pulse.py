"""A filter of clips that removes the pulse: the skin's colour may change slowly, not as fast as a heart beats.

In every frame the mean colour of the skin, of the pixels that have the colour of the face's middle, is compared with
its course, the same mean behind two first-order low-pass filters; the skin is multiplied by what is between them. The
face stays who it is: this hides what a face says of a body, and nothing else.

It looks back only, so it runs on a camera's frames, too. What of a clip is faster than :attr:`SteadySkin.cutoff` and
slower than a heart is smoothed as well.

    python evaluate.py suite=pulse
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from anon.anonymizers.filters import check_positive
from anon.errors import Failed
from anon.faces.contract import check_images
from anon.identity.contract import Draws, Given

_WIDTH = 0.06  # of the Gaussian around the skin's chromaticity: hair, eyes and lips are further away than shadows
STILL = -1  # the track of a picture that is no frame of a clip


class _Course(NamedTuple):
    """What is remembered of a clip: the two low-pass filters' states (3,), and the skin's first chromaticity (2,)."""

    first: Tensor
    second: Tensor
    skin: Tensor


class SteadySkin(nn.Module):
    """The filter, an :class:`anon.anonymizers.contract.AnonymizerLike` that works on clips alone.

    Args:
        cutoff: Hz, of each of the two low-pass filters, in (0, 0.5]; a pulse of 0.7 Hz is left
            1 / (1 + (0.7 / cutoff)²) of it.
        fps: frames a second.
    """

    temporal = True

    def __init__(self, cutoff: float = 0.1, fps: float = 25.0) -> None:
        super().__init__()
        self.cutoff, self.fps = (
            check_positive(cutoff, "The pulse filter's cutoff, in Hz,", 0.5),
            check_positive(fps, "fps"),
        )
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
        shown = [
            self._steady(image, int(clip)) for image, clip in zip(check_images(images), track.tolist(), strict=True)
        ]
        return torch.stack(shown).clamp(-1.0, 1.0)

    def reset(self) -> None:
        """Forget all clips."""
        self._courses = {}

    def _steady(self, image: Tensor, clip: int) -> Tensor:
        if clip == STILL:
            return image
        colours = (image.float() + 1.0) / 2.0  # (3, H, W)
        height, width = colours.shape[1:]
        chroma = colours[:2] / colours.sum(0).clamp(min=1e-3)  # (2, H, W)
        known = self._courses.get(clip)
        if known is None:  # the face's middle, where skin is
            middle = chroma[:, 2 * height // 5 : 7 * height // 10, width // 3 : 2 * width // 3]
            skin = middle.flatten(1).median(1).values
        else:
            skin = known.skin
        weight = (-(chroma - skin[:, None, None]).square().sum(0) / (2 * _WIDTH**2)).exp()  # (H, W)
        mean = (colours * weight).sum((1, 2)) / weight.sum().clamp(min=1e-6)  # (3,)
        if known is None:
            self._courses[clip] = _Course(mean, mean, skin)
            return image
        keep = math.exp(-2 * math.pi * self.cutoff / self.fps)
        first = keep * known.first + (1 - keep) * mean
        second = keep * known.second + (1 - keep) * first
        self._courses[clip] = _Course(first, second, skin)
        gain = (second / mean.clamp(min=1e-3)).clamp(0.5, 2.0)[:, None, None]
        return 2.0 * colours * (1.0 + weight * (gain - 1.0)) - 1.0
