"""A photograph in, a photograph out: upright, transparent where no face is, all that is no pixel left behind."""

from __future__ import annotations

import hashlib
import itertools
import math
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from anon.errors import UserError
from anon.faces.detection.contract import Detections, Detector
from anon.faces.detection.frames import overlaps
from anon.faces.images import ImageError, Layers, read_layers
from anon.video.paste import Place

LEAST = 16  # side in pixels of the detector's input from which on CenterFace finds faces; frontal ones from 12
BUDGET = 16_000_000  # pixels of a detector's input that all tiles of a picture may have
SAME = 0.4  # least overlap of two boxes of one face
INSIDE = 0.6  # least share of a part of a face that lies in the face's box
_MOST = 24  # tiles a side

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
    """Its faces: in its colours, and, where it is transparent, in all that a viewer or a program shows of it.

    A large picture is searched as a whole and in the tiles of :func:`tiling`. Faces that the colours alone do not show
    have no points: no generator could redraw them from the colours, so they are covered.
    """
    found = _search(detector, photograph.colour)
    for view in _composed(photograph):
        more = _search(detector, view)
        found = _merged(found, more._replace(points=torch.full_like(more.points, torch.nan)))
    return found


def smallest(detector: Detector, size: tuple[int, int]) -> int | None:
    """The shorter side in pixels from which on faces are found in a picture of ``size`` (H, W); None: nobody knows."""
    side = _side(detector)
    if side is None:
        return None
    return max(math.ceil(getattr(detector, "min_size", 0)), math.ceil(LEAST / tiling(size, side)[0]))


def tiling(size: tuple[int, int], side: int) -> tuple[float, list[Place]]:
    """Tiles of a picture that show the most of it to a detector that scales longer sides down to ``side``.

    Neighbours overlap by half more than the largest face that the whole picture, scaled down, may be too small for.

    Args:
        size: (H, W).

    Returns:
        The scale at which the detector sees the tiles, and the tiles, all of one size, at most :data:`BUDGET` pixels
        of them when scaled; without a tile: the scale of the whole picture.
    """
    whole = min(1.0, side / max(size))
    if whole == 1.0:
        return whole, []
    shared = 1.5 * LEAST / whole
    best = (whole, 0.0, (1, 1), size)
    for counts in itertools.product(range(1, _MOST + 1), range(1, _MOST + 1)):
        height, width = (math.ceil((s + (n - 1) * shared) / n) for s, n in zip(size, counts, strict=True))
        if any(n > 1 and part < 1.5 * shared for n, part in zip(counts, (height, width), strict=True)):
            continue
        scale = min(1.0, side / max(height, width))
        pixels = math.prod(counts) * height * width * scale**2
        if pixels <= BUDGET:
            best = max(best, (scale, -pixels, counts, (height, width)))
    scale, _, counts, (height, width) = best
    if counts == (1, 1):
        return scale, []
    rows, columns = (
        [round(i * (s - part) / max(n - 1, 1)) for i in range(n)]
        for s, part, n in zip(size, (height, width), counts, strict=True)
    )
    return scale, [Place(left, top, left + width, top + height) for top in rows for left in columns]


def opaque(alpha: Tensor | None, places: Sequence[Place]) -> Tensor | None:
    """Transparency uint8 (H, W) that shows what was made of faces, and nothing else, in some places; a copy."""
    if alpha is None:
        return None
    alpha = alpha.clone()
    for place in places:
        place.of(alpha).fill_(255)
    return alpha


def _composed(photograph: Layers) -> Iterator[Tensor]:
    """The picture on black and on white, its alpha as grey from black to white, and its negative; each once."""
    if photograph.alpha is None:
        return
    colour, alpha = photograph.colour.numpy().astype(np.uint16), photograph.alpha.numpy().astype(np.uint16)[..., None]
    seen = {_digest(photograph.colour)}
    low, high = int(alpha.min()), int(alpha.max())
    views = [lambda: (colour * alpha + 127) // 255, lambda: (colour * alpha + 255 * (255 - alpha) + 127) // 255]
    if high > low:
        grey = (alpha - low) * 255 // (high - low)
        views += [lambda: grey.repeat(3, 2), lambda: 255 - grey.repeat(3, 2)]
    for view in views:
        shown = torch.from_numpy(view().astype(np.uint8))
        digest = _digest(shown)
        if digest not in seen:
            seen.add(digest)
            yield shown


def _digest(frame: Tensor) -> bytes:
    return hashlib.sha256(frame.numpy().tobytes()).digest()


def _side(detector: Detector) -> int | None:
    """The longer side to which a detector scales frames down; None: it does not say."""
    side, canvas = getattr(detector, "max_side", None), getattr(detector, "canvas", None)
    return None if side is None else min(side, *(canvas or (side,)))


def _search(detector: Detector, frame: Tensor) -> Detections:
    """The faces of a frame uint8 (H, W, 3), as a whole and in tiles."""
    found, side, size = detector.detect(frame), _side(detector), (frame.shape[0], frame.shape[1])
    if side is None or max(size) <= side:
        return found
    scale, tiles = tiling(size, side)
    cuts = list[Detections]()
    for tile, part in zip(
        tiles, detector.detect_batch([tile.of(frame) for tile in tiles]) if tiles else [], strict=True
    ):
        corner = torch.tensor([tile.left, tile.top], dtype=torch.float32)
        boxes, points = part.boxes + corner.repeat(2), part.points + corner
        cut = _is_cut(boxes, tile, size, 2 / scale)
        found = _merged(found, Detections(boxes[~cut], points[~cut], part.scores[~cut]))
        cuts.append(Detections(boxes[cut], torch.full_like(points[cut], torch.nan), part.scores[cut]))
    for part in cuts:
        found = _merged(found, part, cut=True)
    return found


def _is_cut(boxes: Tensor, tile: Place, size: tuple[int, int], near: float) -> Tensor:
    """Which boxes (N, 4) end at a border of a tile that is none of the picture's, (N,) bool."""
    inner = torch.tensor([tile.left > 0, tile.top > 0, tile.right < size[1], tile.bottom < size[0]])
    out = torch.cat((boxes[:, :2] - torch.tensor(tile[:2]), torch.tensor(tile[2:]) - boxes[:, 2:]), 1)
    return ((out <= near) & inner).any(1)


def _merged(found: Detections, more: Detections, cut: bool = False) -> Detections:
    """Faces of two searches of one picture; a face that both found has the box around both, the better one's points.

    Args:
        cut: ``more`` may be parts of faces, which lie in the boxes of ``found``.
    """
    if not len(more.scores):
        return found
    share = _inside(more.boxes, found.boxes) if cut else overlaps(more.boxes, found.boxes)  # (M, N)
    boxes, points, scores = (each.clone() for each in found)
    fresh = list[int]()
    for i, row in enumerate(share):
        if not len(row) or float(row.max()) < (INSIDE if cut else SAME):
            fresh.append(i)
            continue
        j = int(row.argmax())
        boxes[j] = torch.cat(
            (torch.minimum(boxes[j, :2], more.boxes[i, :2]), torch.maximum(boxes[j, 2:], more.boxes[i, 2:]))
        )
        if bool(more.scores[i] > scores[j]) and bool(more.points[i].isfinite().all()):
            points[j], scores[j] = more.points[i], more.scores[i]
    return Detections(*(torch.cat((a, b[fresh])) for a, b in zip((boxes, points, scores), more, strict=True)))


def _inside(boxes: Tensor, others: Tensor) -> Tensor:
    """The share of the area of boxes (M, 4) that lies in boxes (N, 4), (M, N)."""
    low, high = torch.maximum(boxes[:, None, :2], others[:, :2]), torch.minimum(boxes[:, None, 2:], others[:, 2:])
    return (high - low).clamp_min(0).prod(-1) / (boxes[:, 2:] - boxes[:, :2]).prod(-1).clamp_min(1e-6)[:, None]
