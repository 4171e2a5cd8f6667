"""What inpainting is measured against: the same hole in one colour. Nobody is found by a face that is not there.

python evaluate.py suite=inpainting
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from anon.anonymizers.filters import SolidMask
from anon.faces.regions import TIGHT, box_mask, check_box


class FilledBox(SolidMask):
    """One colour in the box of the face; hair, ears, outline and neck stay, bit for bit.

    Args:
        colour: RGB, each in [-1, 1].
        box: left, top, right and bottom edge as shares of the side.
    """

    def __init__(self, colour: Sequence[float], box: Sequence[float] = TIGHT) -> None:
        super().__init__(colour)
        self.box = check_box(box)

    def change(self, images: Tensor, rng: torch.Generator | None) -> Tensor:
        hole = box_mask(self.box, *images.shape[-2:]).to(images.device)
        return torch.where(hole, super().change(images, rng), images)
