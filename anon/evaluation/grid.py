"""The picture grid: a face a row; target, raw, mask and blended of the plain mode, and the other methods beside them.

Under each the judge's cosine distance to the target, under the mask its area. It shows faces, so for people who exist
it is made only when asked for (``logger.images=true``).
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from anon.anonymizers.composed import Anonymizer
from anon.evaluation import results as files
from anon.evaluation.measure import Embed, Method
from anon.faces.contract import to_uint8

CELL = 176  # least side of a cell in pixels
HEAD, FOOT, GAP = 24, 22, 6
INK, PAPER = (20, 20, 20), (255, 255, 255)


@torch.no_grad()
def columns(methods: Sequence[Method], target: Tensor, judge: Embed) -> list[tuple[str, Tensor, list[str]]]:
    """Title, pictures (B, 3, H, W) and captions of each column. The first method gives raw, mask and blended."""
    z = judge(target)

    def distances(images: Tensor) -> list[str]:
        return [f"distance {value:.2f}" for value in (1.0 - (judge(images) * z).sum(1)).clamp_min(0.0).tolist()]

    found = [("target", target, distances(target))]
    for number, method in enumerate(method for method in methods if method.anonymizer is not None):
        assert method.anonymizer is not None
        redrawn = method.anonymizer.redraw(target)
        blended = redrawn.blend(target).clamp(-1.0, 1.0)
        if number == 0 and redrawn.mask is not None:
            found.append((f"{method.name}, raw", redrawn.image, distances(redrawn.image)))
            areas = [f"area {value:.2f}" for value in redrawn.mask.flatten(1).mean(1).tolist()]
            found.append(("mask", redrawn.mask.expand_as(target) * 2.0 - 1.0, areas))
        found.append((method.name, blended, distances(blended)))
    return found


def draw(parts: Sequence[tuple[str, Tensor, list[str]]]) -> Image.Image:
    """The columns as one picture, small faces enlarged."""
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


def write_grid(path: Path, methods: Sequence[Method], target: Tensor, judge: Embed) -> None:
    """Table 1's grid as PNG, written atomically.

    Raises:
        UserError: it cannot be written.
    """
    files.write(path, as_png(draw(columns(methods, target, judge))))


@torch.no_grad()
def write_swaps(path: Path, swapper: Anonymizer, target: Tensor, source: Tensor, judge: Embed) -> None:
    """Target, source and swap as PNG, with the cosine distance of each to the source, written atomically.

    Raises:
        UserError: it cannot be written.
    """
    z = judge(source)
    parts = []
    for title, images in (("target", target), ("source", source), ("swap", swapper(target, source=source))):
        apart = (1.0 - (judge(images) * z).sum(1)).clamp_min(0.0).tolist()
        parts.append((title, images, [f"to source {value:.2f}" for value in apart]))
    files.write(path, as_png(draw(parts)))


def as_png(sheet: Image.Image) -> bytes:
    """The picture as the bytes of a PNG file."""
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()
