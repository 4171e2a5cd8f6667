"""Changed faces back into their frames: where a face lies, a soft mask, a seam in the frame's colours.

A drawn crop goes back through the inverse of the similarity that aligned it. Along the mask's soft border its colours
are moved to those of the frame, so no edge shows; inside it is what the generator drew. A filter covers an ellipse that
is larger than the box, for detectors end a box at brow and chin, and softens outside of it alone.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from anon.faces.alignment import crop_box, invert, similarity, template, warp
from anon.faces.contract import to_float, to_uint8

EDGE = 0.14  # of a crop's side: where the drawn face fades into the frame
SOFT = 0.12  # of an ellipse's radius: where a filter fades into the frame, outside of what it covers
MOST_SHIFT = 0.35  # of the range [-1, 1]: how far colours are moved at most


class Place(NamedTuple):
    """A part of a frame: columns ``left`` to ``right``, rows ``top`` to ``bottom``, ends left out."""

    left: int
    top: int
    right: int
    bottom: int

    def of(self, frame: Tensor) -> Tensor:
        """The part of a frame (H, W, C), as a view."""
        return frame[self.top : self.bottom, self.left : self.right]


def crop_of(frame: Tensor, points: Tensor, size: int) -> Tensor:
    """The aligned face (3, size, size) in [-1, 1] by its five points (5, 2) in a uint8 frame (H, W, 3)."""
    matrix, place = _placed(frame, points, size)
    part = to_float(place.of(frame))[None].contiguous()
    return warp(part + 1.0, matrix, (size, size))[0] - 1.0


def put_back(frame: Tensor, points: Tensor, drawn: Tensor) -> None:
    """Paste a drawn crop (3, S, S) over the face that it is of, in place, into the uint8 frame (H, W, 3)."""
    size = drawn.shape[-1]
    matrix, place = _placed(frame, points, size)
    target = place.of(frame)
    mask = _feather(size).to(drawn)
    premultiplied = torch.cat(((drawn[None] + 1.0) * mask, mask), 1)  # (1, 4, S, S)
    values = warp(premultiplied, invert(matrix), (target.shape[0], target.shape[1]))[0]
    image, alpha = values[:3], values[3:].clamp(0.0, 1.0)
    before = to_float(target)
    after = before * (1.0 - alpha) + image - alpha  # image holds (drawn + 1) * alpha
    target.copy_(to_uint8(after.clamp(-1.0, 1.0)))


def seamless(drawn: Tensor, target: Tensor) -> Tensor:
    """Drawn crops (B, 3, S, S) in the colours that their targets have along the mask's soft border."""
    mask = _feather(drawn.shape[-1]).to(drawn)
    ring = mask * (1.0 - mask)
    shift = ((target - drawn) * ring).sum((-2, -1), keepdim=True) / ring.sum()
    return (drawn + shift.clamp(-MOST_SHIFT, MOST_SHIFT)).clamp(-1.0, 1.0)


def _feather(size: int) -> Tensor:
    """(1, 1, S, S): 1 inside, 0 at the crop's rounded border."""
    along = (torch.arange(size, dtype=torch.float32) + 0.5) / size * 2 - 1  # centres, in [-1, 1]
    y, x = torch.meshgrid(along, along, indexing="ij")
    inside = 1.0 - (x.abs() ** 4 + y.abs() ** 4) ** 0.25  # 0 at the border of a rounded square
    return _smooth(inside / (2 * EDGE))[None, None]


def ellipse(box: Tensor, margin: float, canvas: tuple[int, int]) -> tuple[Place, Tensor]:
    """What a filter covers of a box (4,), enlarged by ``margin``, on a frame of ``canvas`` (H, W).

    Returns:
        The part of the frame, and (h, w) in [0, 1]: 1 in the ellipse, 0 from :data:`SOFT` of its radius outside of it.
    """
    height, width = canvas
    centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]).clamp_min(2.0) / 2 * (1.0 + margin)
    low, high = centre - half * (1 + SOFT) - 1, centre + half * (1 + SOFT) + 2
    bounds = torch.tensor([width, height])
    left, top = (int(v) for v in torch.minimum(low.floor().clamp_min(0), bounds - 1).tolist())
    right, bottom = (int(v) for v in torch.minimum(high.floor(), bounds).tolist())
    place = Place(left, top, max(right, left + 1), max(bottom, top + 1))
    x = (torch.arange(place.left, place.right) - centre[0]) / half[0]
    y = (torch.arange(place.top, place.bottom) - centre[1]) / half[1]
    radius = (x[None].abs() ** 2.5 + y[:, None].abs() ** 2.5) ** 0.4  # fuller than an ellipse: jaws are
    return place, _smooth((1.0 + SOFT - radius) / SOFT)


def blend(frame: Tensor, place: Place, changed: Tensor, mask: Tensor) -> None:
    """Mix ``changed`` (3, h, w) in [-1, 1] by a mask (h, w) into a part of the uint8 frame (H, W, 3), in place."""
    target = place.of(frame)
    before = to_float(target)
    target.copy_(to_uint8(torch.lerp(before, changed, mask).clamp(-1.0, 1.0)))


def _smooth(x: Tensor) -> Tensor:
    x = x.clamp(0.0, 1.0)
    return x * x * (3.0 - 2.0 * x)


def _placed(frame: Tensor, points: Tensor, size: int) -> tuple[Tensor, Place]:
    """The matrix (1, 2, 3) from the part of the frame that a crop needs, and that part."""
    canvas = (frame.shape[0], frame.shape[1])
    matrix = similarity(points[None], template(size))
    place = Place(*crop_box(matrix[0], size, canvas))
    if place.right <= place.left or place.bottom <= place.top:
        raise ValueError("the face lies outside of the frame.")
    local = points - torch.tensor([place.left, place.top], dtype=points.dtype)
    return similarity(local[None], template(size)), place
