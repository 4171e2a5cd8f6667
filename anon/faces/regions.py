"""Which part of an aligned crop is the face: a detector's tight box, or what lies within jaw and temples.

Faces are aligned, so the box is nearly the same in every crop, and one for all tells nothing of anybody. Around LFW's
aligned faces YuNet draws 80 x 110 pixels of the 112 x 112 template, centred at (56, 65); :data:`TIGHT` is that box in
the wide view (:data:`anon.faces.alignment.VIEWS`), in which rendered faces lie, too. Hair, ears, outline and neck stay.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from anon.errors import UserError
from anon.faces.alignment import similarity, template, transform

#: A mean face in pixels of the 112 x 112 template: middle, half the width, brows, where the jaw begins, chin.
MIDDLE, HALF, BROWS, JAW, CHIN = 56.0, 37.0, 38.0, 55.0, 116.0
EYES = 51.6  # height of the eyes in it
EYE, MOUTH = (10.0, 6.0), (18.0, 9.0)  # half the width and half the height of an eye and of a mouth
LIP = 101.0  # height at which the lower lip ends
LINE = 1.1  # half the width of a drawn line in these pixels

#: Left, top, right and bottom edge, as shares of the side.
TIGHT = (0.19, 0.08, 0.81, 0.94)


def check_box(box: Sequence[float]) -> tuple[float, float, float, float]:
    """``box`` if it is left, top, right and bottom, shares of the side in this order.

    Raises:
        UserError: it is none.
    """
    try:
        left, top, right, bottom = (float(edge) for edge in box)
        fits = 0 <= left < right <= 1 and 0 <= top < bottom <= 1
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise UserError(f"A box is left, top, right and bottom edge as shares of the side, in [0, 1], not {box!r}.")
    return left, top, right, bottom


def box_mask(box: Sequence[float], height: int, width: int) -> Tensor:
    """bool (1, 1, height, width): true for every pixel that the box touches, so that no rim of the face is left.

    >>> box_mask((0.3, 0.0, 0.5, 0.5), 2, 4)[0, 0].int().tolist()
    [[0, 1, 0, 0], [0, 0, 0, 0]]
    """
    left, top, right, bottom = check_box(box)
    mask = torch.zeros(1, 1, height, width, dtype=torch.bool)
    mask[
        ..., math.floor(top * height) : math.ceil(bottom * height), math.floor(left * width) : math.ceil(right * width)
    ] = True
    return mask


def inside_face(points: Tensor, height: int, width: int, raised: float = 0.0, lowest: float = CHIN) -> Tensor:
    """bool (B, 1, height, width): within jaw and temples and below the brows, as a mean face has them.

    Args:
        points: (B, 5, 2) in pixels; the mean face is laid on them by a similarity.
        raised: how much higher the brows are taken to be, as a share of their distance from the eyes.
        lowest: where it ends below, in pixels of the template: :data:`CHIN` or :data:`LIP`.
    """
    x, y = _in_template(points, height, width)
    across, down = ((x - MIDDLE) / HALF).abs(), ((y - JAW) / (CHIN - JAW)).clamp_min(0.0)
    within = (across.square() + down.square() <= 1.0) & (y <= lowest)
    return (within & (y >= BROWS - raised * (EYES - BROWS)))[:, None]


def face_areas(points: Tensor, height: int, width: int, raised: float = 0.5) -> Tensor:
    """float (B, 3, height, width), 0 or 1: the face (:func:`inside_face`), its eyes, and its mouth.

    Eyes and mouth are ellipses about the points, as wide and high as :data:`EYE` and :data:`MOUTH` of a mean face.

    Args:
        points, raised: see there; half of the distance is Faceswap's extended mask.
    """
    x, y = _in_template(points, height, width)
    found = transform(similarity(points, template(112)), points)
    left, right, _, one, other = found.unbind(1)
    eyes = _ellipse(x, y, left, *EYE) | _ellipse(x, y, right, *EYE)
    mouth = _ellipse(x, y, (one + other) / 2, *MOUTH)
    return torch.stack((inside_face(points, height, width, raised)[:, 0], eyes, mouth), 1).float()


def _ellipse(x: Tensor, y: Tensor, centre: Tensor, half_width: float, half_height: float) -> Tensor:
    """Whether (x, y) (B, H, W) lie in an ellipse about each centre (B, 2)."""
    across, down = ((part - at[:, None, None]) for part, at in zip((x, y), centre.unbind(1), strict=True))
    return (across / half_width).square() + (down / half_height).square() <= 1.0


def face_lines(points: Tensor, height: int, width: int) -> Tensor:
    """bool (B, 1, height, width): the mean face's jaw, and nose ridge and mouth as the points (B, 5, 2) have them."""
    x, y = _in_template(points, height, width)
    radius = (((x - MIDDLE) / HALF).square() + ((y - JAW) / (CHIN - JAW)).square()).sqrt()
    jaw = ((radius - 1.0).abs() * HALF <= LINE) & (y >= JAW)
    found = transform(similarity(points, template(112)), points)
    eyes, nose = found[:, :2].mean(1), found[:, 2]
    ridge = _from_segment(x, y, eyes, nose) <= LINE
    mouth = _from_segment(x, y, found[:, 3], found[:, 4]) <= LINE
    return (jaw | ridge | mouth)[:, None]


def _in_template(points: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Where each pixel lies in the 112 x 112 template: x and y, (B, height, width) each."""
    rows, columns = (torch.arange(side, dtype=points.dtype, device=points.device) for side in (height, width))
    grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1).view(1, -1, 2)
    place = transform(similarity(points, template(112)), grid.expand(len(points), -1, 2))
    x, y = place.unflatten(1, (height, width)).unbind(-1)
    return x, y


def _from_segment(x: Tensor, y: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Distance of (x, y) (B, H, W) from the way from ``start`` (B, 2) to ``end`` (B, 2)."""
    (x0, y0), (dx, dy) = ((part[:, None, None] for part in each.unbind(1)) for each in (start, end - start))
    along = (((x - x0) * dx + (y - y0) * dy) / (dx.square() + dy.square()).clamp_min(1e-6)).clamp(0.0, 1.0)
    return ((x - x0 - along * dx).square() + (y - y0 - along * dy).square()).sqrt()
