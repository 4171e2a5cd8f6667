"""What happens to pictures on the way: a real JPEG, a smaller copy. A hidden face must stay hidden after them.

An anonymizer may fool a recognizer with a pattern instead of another face; compression and resizing wipe patterns out.
"""

from __future__ import annotations

import io
import re

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from anon.errors import UserError
from anon.faces.contract import to_float, to_uint8


def jpeg(images: Tensor, quality: int = 75) -> Tensor:
    """Encode and decode each image (B, 3, H, W) in [-1, 1] with PIL, in memory; same form."""
    decoded = []
    for frame in to_uint8(images).cpu().numpy():
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, "JPEG", quality=quality)
        decoded.append(np.asarray(Image.open(buffer)))
    return to_float(torch.from_numpy(np.stack(decoded))).to(images.device)


def resized(images: Tensor, factor: float = 0.5) -> Tensor:
    """Shrink by ``factor`` (bilinear, antialiased) and enlarge again; same form."""
    height, width = images.shape[-2:]
    smaller = (max(1, round(height * factor)), max(1, round(width * factor)))
    small = F.interpolate(images, smaller, mode="bilinear", align_corners=False, antialias=True)
    return F.interpolate(small, (height, width), mode="bilinear", align_corners=False)


def degrade(images: Tensor, names: str) -> Tensor:
    """Apply steps named like ``jpeg75``, ``resize0.5`` or ``resize0.5+jpeg75``, left to right.

    Raises:
        UserError: a step that there is not.
    """
    for step in names.split("+"):
        match = re.fullmatch(r"(jpeg|resize)(\d+(?:\.\d+)?)", step)
        if match is None:
            raise UserError(f"Unknown degradation '{step}'; write jpeg<quality> or resize<factor>, joined by '+'.")
        images = jpeg(images, int(float(match[2]))) if match[1] == "jpeg" else resized(images, float(match[2]))
    return images
