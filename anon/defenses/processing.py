"""Everyday processing as a defense (not in the paper): it wipes out the fine patterns that reconstruction reads.

The JPEG is a real one, by PIL: kornia's differentiable codec rounds softly and so lets through a remainder of what a
file loses, which an attack that is trained on it would read.
"""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from anon.defenses.contract import whole_within, within
from anon.faces.contract import check_images, to_float, to_uint8


def jpeg(images: Tensor, quality: int = 75) -> Tensor:
    """Encode and decode each image (B, 3, H, W) in [-1, 1] with PIL, in memory; same form, no gradient."""
    frames = to_uint8(images).cpu().numpy()
    decoded = np.empty_like(frames)
    for index, frame in enumerate(frames):
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, "JPEG", quality=quality)
        decoded[index] = np.asarray(Image.open(buffer))
    return to_float(torch.from_numpy(decoded)).to(images)


def resized(images: Tensor, factor: float = 0.5) -> Tensor:
    """Shrink by ``factor`` (bilinear, antialiased) and enlarge again (bilinear); same form."""
    height, width = images.shape[-2:]
    smaller = (max(1, round(height * factor)), max(1, round(width * factor)))
    small = F.interpolate(images, smaller, mode="bilinear", align_corners=False, antialias=True)
    return F.interpolate(small, (height, width), mode="bilinear", align_corners=False)


class Jpeg(nn.Module):
    """Through a JPEG file of ``quality`` 1 (worst) to 100."""

    draws = False

    def __init__(self, quality: int) -> None:
        super().__init__()
        self.quality = whole_within(self, "quality", quality, 1, 100)

    def forward(self, changed: Tensor, *, target: Tensor | None = None, rng: torch.Generator | None = None) -> Tensor:
        """Changed faces -> what the file holds of them; no gradient."""
        return jpeg(check_images(changed, "changed"), self.quality)


class Resample(nn.Module):
    """Shrunk to ``scale``, in (0, 1], of each side, at least one pixel, and enlarged again."""

    draws = False

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = within(self, "scale", scale, 1e-3, 1)

    def forward(self, changed: Tensor, *, target: Tensor | None = None, rng: torch.Generator | None = None) -> Tensor:
        """Changed faces -> blurred ones."""
        return resized(check_images(changed, "changed"), self.scale).clamp(-1, 1)
