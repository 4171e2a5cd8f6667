"""Blocks of the inpainting networks: convolutions with an equalized rate, pixel norm, keypoint maps, the composite.

Weights start at unit variance and are scaled at every pass (equalized learning rate, Karras et al., *Progressive
growing of GANs*, ICLR 2018, section 4.1), so that Adam's steps are the same share of every weight.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SLOPE = 0.2  # of the leaky ReLU


class EqualConv(nn.Conv2d):
    """Convolution of stride 1, same size; ``gain``: standard deviation of its output for an input of variance 1."""

    def __init__(self, cin: int, cout: int, kernel: int = 3, gain: float = math.sqrt(2.0)) -> None:
        super().__init__(cin, cout, kernel, padding=kernel // 2)
        self.scale = gain / math.sqrt(cin * kernel**2)
        nn.init.normal_(self.weight)
        nn.init.zeros_(self.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.scale, self.bias, padding=self.padding)  # type: ignore[arg-type]


class EqualLinear(nn.Linear):
    """The same of a fully connected layer; ``rate`` multiplies the learning rate of its weights and bias."""

    def __init__(self, cin: int, cout: int, gain: float = 1.0, rate: float = 1.0, bias: float = 0.0) -> None:
        super().__init__(cin, cout)
        self.scale, self.rate = gain / math.sqrt(cin) * rate, rate
        nn.init.normal_(self.weight, std=1.0 / rate)
        nn.init.constant_(self.bias, bias / rate)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.scale, self.bias * self.rate)


class PixelNorm(nn.Module):
    """Every pixel's channels (dimension 1) to a mean square of 1."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (x.float().square().mean(1, keepdim=True) + 1e-8).rsqrt().to(x.dtype)


def two_convs(cin: int, middle: int, cout: int, normalized: bool) -> nn.Sequential:
    """Two 3x3 convolutions with leaky ReLU, and pixel norm where ``normalized``: (B, cin, H, W) -> (B, cout, H, W)."""
    layers: list[nn.Module] = []
    for each in pairwise((cin, middle, cout)):
        layers += [EqualConv(*each), nn.LeakyReLU(SLOPE), *([PixelNorm()] if normalized else [])]
    return nn.Sequential(*layers)


def point_maps(points: Tensor, size: int, side: int) -> Tensor:
    """Keypoints as pictures: one pixel of 1 each, nothing for points outside (DeepPrivacy, section 3.1).

    Args:
        points: (B, K, 2) pixels of pictures of ``size`` pixels a side.
        side: of the maps.

    Returns:
        (B, K, side, side) of 0 and 1.

    >>> point_maps(torch.tensor([[[3.0, 0.0], [9.0, 1.0]]]), 4, 2)[0].tolist()
    [[[0.0, 1.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]]
    """
    column, row = ((points + 0.5) * (side / size)).floor().long().unbind(-1)  # (B, K) each
    inside = (column >= 0) & (column < side) & (row >= 0) & (row < side)
    place = torch.where(inside, row * side + column, 0)
    maps = points.new_zeros(*points.shape[:2], side * side)
    return maps.scatter_(2, place[..., None], inside[..., None].to(maps)).unflatten(2, (side, side))


class _EqualHole(torch.autograd.Function):
    """DeepPrivacy2's ``MaskOutput``: the composite; backward the drawn pixels' gradient over the hole's share."""

    @staticmethod
    def forward(ctx: Any, drawn: Tensor, context: Tensor, hole: Tensor) -> Tensor:
        ctx.save_for_backward(hole)
        return torch.where(hole, drawn, context)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        (hole,) = ctx.saved_tensors
        return torch.where(hole, g, 0.0) / hole.to(g).mean((1, 2, 3), keepdim=True).clamp_min(1e-6), None, None


def composite(drawn: Tensor, context: Tensor, hole: Tensor, equal: bool = False) -> Tensor:
    """``drawn`` (B, 3, H, W) in the hole, ``context`` around it, both bit for bit.

    Args:
        hole: bool (1 or B, 1, H, W).
        equal: a hole of a quarter gets four times the gradient, so that small holes learn as fast as large ones.
    """
    return _EqualHole.apply(drawn, context, hole) if equal else torch.where(hole, drawn, context)


class MinibatchDeviation(nn.Module):
    """One more channel: how much the pictures of a group differ (Karras et al., ICLR 2018, section 3).

    (B, C, H, W) -> (B, C + 1, H, W). Groups are of ``most`` pictures, or of all where B is no multiple of it.
    """

    def __init__(self, most: int = 4) -> None:
        super().__init__()
        self.most = most

    def forward(self, x: Tensor) -> Tensor:
        size = self.most if len(x) % self.most == 0 else len(x)
        groups = x.float().unflatten(0, (size, -1))  # (size, B / size, C, H, W)
        deviation = (groups.var(0, correction=0) + 1e-8).sqrt().mean((1, 2, 3))  # (B / size,)
        one = deviation.repeat(size)[:, None, None, None].expand(-1, 1, *x.shape[2:])
        return torch.cat((x, one.to(x.dtype)), 1)
