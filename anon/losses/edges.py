"""Losses on first differences along rows and columns: edges of a picture, and how smooth a mask is (Gafni, Wolf and
Taigman, ICCV 2019: the mask is regularized, and its gradient is).
"""

from __future__ import annotations

import torch
from kornia.losses import total_variation
from torch import Tensor, nn


def edge_l1(changed: Tensor, target: Tensor) -> Tensor:
    """Mean ``|∂x changed - ∂x target|`` plus the same along y, of pictures (B, C, H, W).

    >>> import torch
    >>> edge_l1(torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]]), torch.zeros(1, 1, 2, 2)).item()  # 1 along x, 0 along y
    1.0
    """
    return roughness(changed - target)  # a difference of differences is the difference's


def roughness(mask: Tensor) -> Tensor:
    """Mean ``|∂x m|`` plus mean ``|∂y m|`` of a mask (B, 1, H, W); 0 for a constant one.

    >>> import torch
    >>> roughness(torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]])).item()
    1.0
    """
    return total_variation(mask, reduction="mean").mean()


class EdgeL1(nn.Module):
    """:func:`edge_l1`, summed over what is drawn: the raw picture, the blended one, or both."""

    def forward(self, target: Tensor, *changed: Tensor) -> Tensor:
        return torch.stack([edge_l1(images, target) for images in changed]).sum()


class Roughness(nn.Module):
    """:func:`roughness`."""

    def forward(self, mask: Tensor) -> Tensor:
        return roughness(mask)
