"""Losses on pixels and on the blending mask."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


def pixel_l1(changed: Tensor, target: Tensor) -> Tensor:
    """Mean of ``|changed - target|`` over two image batches (B, 3, H, W) in [-1, 1], in [0, 2]."""
    return F.l1_loss(changed, target)


def mask_l1(mask: Tensor) -> Tensor:
    """Mean of ``|mask|`` (B, 1, H, W): the share of the picture that is redrawn, in [0, 1]."""
    return mask.abs().mean()


class PixelL1(nn.Module):
    """:func:`pixel_l1`."""

    def forward(self, changed: Tensor, target: Tensor) -> Tensor:
        return pixel_l1(changed, target)


class MaskL1(nn.Module):
    """:func:`mask_l1`."""

    def forward(self, mask: Tensor) -> Tensor:
        return mask_l1(mask)
