"""A grid of pictures with titles above its columns and a caption below each picture, as PNG."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from anon.faces.contract import to_uint8

CELL = 176  # least side of a cell in pixels
HEAD, FOOT, GAP = 24, 22, 6
INK, PAPER = (20, 20, 20), (255, 255, 255)


def draw(parts: Sequence[tuple[str, Tensor, list[str]]]) -> Image.Image:
    """The columns as one picture, small faces enlarged.

    Args:
        parts: title, pictures (B, 3, H, W) in [-1, 1] and captions of each column.
    """
    side = parts[0][1].shape[-1]
    scale = max(1, math.ceil(CELL / side))
    cell = side * scale
    rows = len(parts[0][1])
    width = GAP + len(parts) * (cell + GAP)
    sheet = Image.new("RGB", (width, HEAD + rows * (cell + FOOT + GAP)), PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=15)
    for column, (title, images, captions) in enumerate(parts):
        left = GAP + column * (cell + GAP)
        pen.text((left, 3), title, INK, font=font)
        for row, (pixels, caption) in enumerate(zip(to_uint8(images).cpu().numpy(), captions, strict=True)):
            top = HEAD + row * (cell + FOOT + GAP)
            face = Image.fromarray(np.ascontiguousarray(pixels)).resize((cell, cell), Image.Resampling.LANCZOS)
            sheet.paste(face, (left, top))
            pen.text((left, top + cell + 2), caption, INK, font=font)
    return sheet


def as_png(sheet: Image.Image) -> bytes:
    """The picture as the bytes of a PNG file."""
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()
