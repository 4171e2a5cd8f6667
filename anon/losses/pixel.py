"""Losses on pixels and on the blending mask."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from anon.errors import UserError


def pixel_l1(changed: Tensor, target: Tensor, mask: Tensor | None = None, inside: float = 1.0) -> Tensor:
    """Mean of ``|changed - target|`` over two image batches (B, 3, H, W) in [-1, 1], in [0, 2].

    Where a ``mask`` (B, 1, H, W) is 1 a difference counts ``inside`` as much, so that another person's outline may
    stand where the old one was. No gradient goes into the mask.

    >>> import torch
    >>> mask = torch.tensor([[[[1.0, 0.0]]]])
    >>> pixel_l1(torch.ones(1, 3, 1, 2), torch.zeros(1, 3, 1, 2), mask, inside=0.25).item()  # (0.25 + 1) / 2
    0.625
    """
    if mask is None:
        return F.l1_loss(changed, target)
    return ((1.0 - (1.0 - inside) * mask.detach()) * (changed - target).abs()).mean()


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
    """:func:`pixel_l1`; with a mask as the third of what it is taken of, ``inside`` counts.

    Raises:
        UserError: ``inside`` is not in [0, 1], or is not 1 and there is no mask.
    """

    def __init__(self, inside: float = 1.0) -> None:
        super().__init__()
        if not 0.0 <= inside <= 1.0:
            raise UserError(f"inside, the weight of differences within the mask, is in [0, 1], not {inside}.")
        self.inside = float(inside)

    def forward(self, changed: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        if mask is None and self.inside != 1.0:
            raise UserError("PixelL1 with inside needs the generator's mask as the third of what it is taken of.")
        return pixel_l1(changed, target, mask, self.inside)


class MaskL1(nn.Module):
    """:func:`mask_l1`."""

    def forward(self, mask: Tensor) -> Tensor:
        return mask_l1(mask)
