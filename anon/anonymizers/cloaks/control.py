"""Random signs of a cloak's size: what is left of a cloak's figures when nobody computed a gradient.

python evaluate.py suite=cloaks
"""

from __future__ import annotations

import torch
from torch import Tensor

from anon.anonymizers.cloaks.base import check_budget
from anon.anonymizers.filters import Filter, needed


class RandomSigns(Filter):
    """``x + epsilon * s``, s a draw of -1 and 1 for every pixel and channel: the largest change of the budget.

    Args:
        epsilon: the change, in units of the [-1, 1] range.
    """

    def __init__(self, epsilon: float) -> None:
        super().__init__()
        self.epsilon = check_budget(epsilon)

    def change(self, images: Tensor, rng: torch.Generator | None) -> Tensor:
        draw = torch.rand(images.shape, generator=needed(rng, images), dtype=images.dtype, device=images.device)
        return images + self.epsilon * torch.where(draw < 0.5, -1.0, 1.0).to(images)
