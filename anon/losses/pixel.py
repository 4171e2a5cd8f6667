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


def mean_of_same(each: Tensor, same: Tensor) -> Tensor:
    """Mean of ``each`` (B,) over the faces where ``same`` (B,) is true; 0, with a gradient of 0, where none is.

    Under several processes: the mean of each process's own mean.

    >>> import torch
    >>> mean_of_same(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([True, False, True])).item()
    2.5
    """
    return (each * same).sum() / same.sum().clamp(min=1)


class SamePixelL1(nn.Module):
    """Mean ``|changed - target|`` over same pairs, in [0, 2]: FaceDancer's and SimSwap's reconstruction loss."""

    def forward(self, changed: Tensor, target: Tensor, same: Tensor) -> Tensor:
        return mean_of_same((changed - target).abs().flatten(1).mean(1), same)


class SamePixelL2(nn.Module):
    """``1/2`` mean ``(changed - target)^2`` over same pairs: FaceShifter's reconstruction loss (CVPR 2020, eq. 5)."""

    def forward(self, changed: Tensor, target: Tensor, same: Tensor) -> Tensor:
        return mean_of_same(0.5 * (changed - target).square().flatten(1).mean(1), same)


class PixelL1(nn.Module):
    """:func:`pixel_l1`."""

    def forward(self, changed: Tensor, target: Tensor) -> Tensor:
        return pixel_l1(changed, target)


class MaskL1(nn.Module):
    """:func:`mask_l1`."""

    def forward(self, mask: Tensor) -> Tensor:
        return mask_l1(mask)
