"""Blocks of subject-specific swap tools (DFaker, DeepFaceLab, Faceswap): strided convolutions down, pixel shuffle up.

No map of the encoder reaches a decoder: in this family a skip would carry the original's identity past the switch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anon.errors import UserError
from anon.generators.blocks import icnr_


def divisible(size: int, by: int, who: str) -> int:
    """``size // by``, where ``by`` divides the size.

    Raises:
        UserError: it does not; the nearest sizes are named.

    >>> divisible(64, 32, "DFaker")
    2
    """
    if size < by or size % by:
        low = max(by, size // by * by)
        raise UserError(f"{who} draws pictures whose side is a multiple of {by} pixels, not {size}; take {low}.")
    return size // by


class Down(nn.Sequential):
    """5x5 convolution of stride 2, leaky ReLU 0.1: (B, cin, H, W) -> (B, cout, H/2, W/2)."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__(nn.Conv2d(cin, cout, 5, stride=2, padding=2), nn.LeakyReLU(0.1))


class SeparableDown(nn.Sequential):
    """The same of a convolution of each channel by itself and one across channels, with ReLU."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__(nn.Conv2d(cin, cin, 5, stride=2, padding=2, groups=cin), nn.Conv2d(cin, cout, 1), nn.ReLU())


class Up(nn.Module):
    """3x3 convolution to four times the width, leaky ReLU 0.1, pixel shuffle: (B, cin, H, W) -> (B, cout, 2H, 2W)."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(cin, 4 * cout, 3, padding=1)
        icnr_(self.conv.weight)
        nn.init.zeros_(self.conv.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(F.leaky_relu(self.conv(x), 0.1), 2)


class Residual(nn.Module):
    """3x3 convolution, leaky ReLU 0.2, 3x3 convolution, plus what came in, leaky ReLU 0.2; the form stays."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.second(F.leaky_relu(self.first(x), 0.2)) + x, 0.2)


class Attention(nn.Module):
    """Self-attention over places (Zhang et al., ICML 2019, eq. 1), added with a weight that begins at 0."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(channels // 8, 1)
        self.query, self.key = nn.Conv2d(channels, inner, 1), nn.Conv2d(channels, inner, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same form."""
        query, key, value = (part(x).flatten(2) for part in (self.query, self.key, self.value))
        weights = (query.mT @ key).softmax(-1)  # (B, HW, HW): of each place over all places
        return x + self.gamma * (value @ weights.mT).view_as(x)


def ups(cin: int, widths: list[int], residual: bool) -> nn.Sequential:
    """:class:`Up` to each of the widths; each but the last is followed by a residual block, if wanted."""
    layers: list[nn.Module] = []
    for place, cout in enumerate(widths):
        layers.append(Up(cin, cout))
        if residual and place < len(widths) - 1:
            layers.append(Residual(cout))
        cin = cout
    return nn.Sequential(*layers)


class Head(nn.Sequential):
    """Convolution and sigmoid: what a decoder ends in, in [0, 1]."""

    def __init__(self, cin: int, cout: int, kernel: int) -> None:
        super().__init__(nn.Conv2d(cin, cout, kernel, padding=kernel // 2), nn.Sigmoid())


class Decoder(nn.Module):
    """A decoder of its own for the picture and one for the mask.

    Args:
        picture, mask: each (B, C, h, w) -> (B, 3 or 1, H, W) in [0, 1].
    """

    def __init__(self, picture: nn.Module, mask: nn.Module) -> None:
        super().__init__()
        self.picture, self.mask = picture, mask

    def forward(self, code: Tensor) -> tuple[Tensor, Tensor]:
        return self.picture(code), self.mask(code)
