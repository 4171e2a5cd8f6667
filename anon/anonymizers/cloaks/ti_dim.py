"""Momentum steps of resized pictures and smoothed gradients: TI-DIM.

DIM   a recognizer sees, at times, the picture enlarged a little and moved about (Xie et al., CVPR 2019, eq. 3)
TI    the gradient is blurred, as if many shifted pictures had been asked (Dong et al., CVPR 2019, eq. 8)

python evaluate.py method=cloak_ti_dim
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from kornia.filters import gaussian_blur2d
from torch import Tensor
from torch.nn import functional as F

from anon.anonymizers.cloaks.base import Identities
from anon.anonymizers.cloaks.mi_fgsm import MIFGSM
from anon.anonymizers.filters import check_positive, gaussian_width, needed
from anon.identity.encoder import Encoder

_BLACK = -1.0  # of the border around what was enlarged less than most


class TIDIM(MIFGSM):
    """MI-FGSM whose recognizers see random views, and whose gradients are blurred.

    Args:
        recognizers, epsilon, steps, step, momentum: see :class:`anon.anonymizers.cloaks.mi_fgsm.MIFGSM`.
        share: of the views that are enlarged and moved; one draw a step and recognizer, for the whole batch.
        enlarge: by how much of the side at most; the recognizer gets the view at the picture's own size again, for a
            crop's size says what of a face it shows.
        smooth: sigma of the blur, a share of the shorter side: 15 pixels of kernel that end at 3 sigma, on 112 pixels,
            are 0.022.
    """

    def __init__(
        self,
        recognizers: Mapping[str, Encoder | None],
        epsilon: float,
        steps: int = 10,
        step: float = 0.1,
        momentum: float = 1.0,
        share: float = 0.4,
        enlarge: float = 0.1,
        smooth: float = 0.022,
    ) -> None:
        super().__init__(recognizers, epsilon, steps, step, momentum)
        self.share = check_positive(share, "The share of the views that are enlarged", 1.0)
        self.enlarge = check_positive(enlarge, "By how much a view is enlarged, a share of the side,", 1.0)
        self.smooth = check_positive(smooth, "The blur of gradients, a share of the side,", 1.0)

    def gain(self, images: Tensor, own: Identities, rng: torch.Generator | None) -> Tensor:
        draws = needed(rng, images)
        found = [
            1 - (recognizer(self.view(images, draws)).z * z).sum(1)
            for recognizer, z in zip(self.recognizers.values(), own, strict=True)
        ]
        return torch.stack(found).sum(0)

    def view(self, images: Tensor, rng: torch.Generator) -> Tensor:
        """Pictures (B, 3, H, W) as they are, or enlarged, somewhere in a black field, and back at their size."""
        height, width = images.shape[-2:]
        most = (round(height * (1 + self.enlarge)), round(width * (1 + self.enlarge)))
        draw, size, top, left = torch.rand(4, generator=rng, device=rng.device).tolist()
        if draw >= self.share:
            return images
        rows, columns = (round(low + size * (high - low)) for low, high in zip((height, width), most, strict=True))
        larger = F.interpolate(images, (rows, columns), mode="nearest")
        above, before = round(top * (most[0] - rows)), round(left * (most[1] - columns))
        border = (before, most[1] - columns - before, above, most[0] - rows - above)
        return F.interpolate(F.pad(larger, border, value=_BLACK), (height, width), mode="nearest")

    def follow(self, way: Tensor, gradient: Tensor) -> Tensor:
        pixels, size = gaussian_width(self.smooth, *gradient.shape[-2:])
        return super().follow(way, gaussian_blur2d(gradient, size, (pixels, pixels), "reflect"))
