"""A photograph in, a photograph out: upright, its transparency kept, everything else that is no pixel left behind."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from anon.errors import UserError
from anon.faces.detection.contract import Detections, Detector
from anon.faces.images import ImageError, Layers, read_layers
from anon.video.tracks import overlaps

#: What is written by the ending of the name: Pillow's format and options. 16 bit and CMYK come out as 8-bit RGB.
FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    ".jpg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".jpeg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".png": ("PNG", {}),
    ".webp": ("WEBP", {"quality": 95, "method": 4}),
    ".tif": ("TIFF", {"compression": "tiff_deflate"}),
    ".tiff": ("TIFF", {"compression": "tiff_deflate"}),
    ".bmp": ("BMP", {}),
}
_ALPHA = (".png", ".webp", ".tif", ".tiff")


def read(path: Path) -> Layers:
    """The photograph.

    Raises:
        UserError: it is none that can be used.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's on damaged metadata, which is left behind
        try:
            return read_layers(path)
        except ImageError as error:
            raise UserError(f"'{path}' cannot be anonymized: it is {_is(str(error))}.") from error


def _is(reason: str) -> str:
    return "unreadable, or not there" if reason == "unreadable" else reason


def check_holds(path: Path, photograph: Layers) -> None:
    """See that a file of that name can hold it.

    Raises:
        UserError: it has no room for transparency.
    """
    if photograph.alpha is not None and path.suffix.lower() not in _ALPHA:
        raise UserError(f"'{path}' cannot hold the photograph's transparency; name a .png, .webp or .tiff.")


def write(stream: BinaryIO, suffix: str, colour: Tensor, alpha: Tensor | None) -> None:
    """Write pixels and nothing else, in the format of a suffix among :data:`FORMATS`.

    Args:
        colour: uint8 (H, W, 3).
        alpha: uint8 (H, W), or None.
    """
    kind, options = FORMATS[suffix.lower()]
    values = colour.numpy() if alpha is None else np.dstack((colour.numpy(), alpha.numpy()))
    Image.fromarray(values).save(stream, kind, **options)


def detect(detector: Detector, photograph: Layers) -> Detections:
    """Its faces: in its colours, and, where it is transparent, also as a viewer shows it, on black."""
    found = detector.detect(photograph.colour)
    if photograph.alpha is None:
        return found
    shown = (photograph.colour.float() * photograph.alpha[..., None].float() / 255).round().to(torch.uint8)
    more = detector.detect(shown)
    fresh = overlaps(more.boxes, found.boxes).amax(1) < 0.4 if len(found.boxes) else torch.ones(len(more.boxes)).bool()
    return Detections(*(torch.cat((a, b[fresh])) for a, b in zip(found, more, strict=True)))
