"""Which part of an aligned crop is the face: a detector's tight box, for what must not look at it or leave it.

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
