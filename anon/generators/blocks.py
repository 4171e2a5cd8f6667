"""Blocks of the generators: FIVA's encoder and decoder blocks (paper, section 3.1), made of small convolutions.

Encoder blocks downsample with a stride-2 depthwise convolution, decoder blocks upsample with pixel shuffle. Shuffled
pixels come from different filters, which leaves a pattern of lines or checkers in flat skin. Two things prevent it: the
four filters of a 2 x 2 group start equal (ICNR; Aitken et al., arXiv:1707.02937), and a binomial filter follows the
shuffle (Zhang, ICML 2019; StyleGAN has it, too), which no pattern of that period passes, whatever the filters learned.
"""

from __future__ import annotations

import torch
from kornia.filters import BlurPool2D
from torch import Tensor, nn
from torch.nn import functional as F

from anon.errors import UserError
from anon.generators.instance_norm import InstanceNorm

#: No side above this is left at the bottom of a network, where weights may grow with its square.
_BOTTOM = 15


def halvings(size: int, least: int, fewest: int, most: int, who: str) -> tuple[int, int]:
    """How often a network halves its pictures, and the side that is left: at 112 px and ``least`` of 4, 4 times to 7.

    Args:
        size: side of the pictures in pixels.
        least: smallest side that may be left; 15 is the largest.
        fewest, most: halvings that the network can have.
        who: what the network does with pictures, for the sentence: "FaceDancer draws".

    Raises:
        UserError: no such number of halvings; it names the nearest sides that have one.

    >>> halvings(256, 4, 2, 9, "it sees"), halvings(112, 4, 2, 9, "it sees"), halvings(96, 2, 4, 7, "it draws")
    ((6, 4), (4, 7), (5, 3))
    """

    def of(side: int) -> tuple[int, int] | None:
        times = 0
        while side % 2 == 0 and side // 2 >= least:
            side, times = side // 2, times + 1
        return (times, side) if least <= side <= _BOTTOM and fewest <= times <= most else None

    found = of(size)
    if found is None:
        low, high = least * 2**fewest, _BOTTOM * 2**most
        below = next((side for side in range(min(size, high + 1) - 1, low - 1, -1) if of(side)), None)
        above = next((side for side in range(max(size + 1, low), high + 1) if of(side)), None)
        near = " or ".join(str(side) for side in (below, above) if side is not None)
        raise UserError(
            f"{who} images whose side, halved {fewest} to {most} times, is {least} to {_BOTTOM} pixels, not {size}; "
            f"take {near}."
        )
    return found


def icnr_(weight: Tensor, factor: int = 2) -> Tensor:
    """Start the weight (C·factor², I, k, k) of a convolution before a pixel shuffle as nearest-neighbour upsampling."""
    kernel = torch.empty(weight.shape[0] // factor**2, *weight.shape[1:], dtype=weight.dtype)
    nn.init.kaiming_normal_(kernel, a=0.2)
    with torch.no_grad():
        return weight.copy_(kernel.repeat_interleave(factor**2, 0))


def norm(channels: int) -> nn.GroupNorm:
    """Group norm with 16 channels a group: no statistics of the batch, and a group keeps its channels' proportions."""
    return nn.GroupNorm(max(1, channels // 16), channels)


class ConvUnit(nn.Sequential):
    """Convolution (stride 1, same size), group norm, leaky ReLU 0.2."""

    def __init__(self, cin: int, cout: int, kernel: int = 3) -> None:
        super().__init__(
            nn.Conv2d(cin, cout, kernel, padding=kernel // 2, bias=False), norm(cout), nn.LeakyReLU(0.2, inplace=True)
        )


class Depthwise(nn.Conv2d):
    """3x3 convolution of each channel by itself, in float32 on a CPU, where its bfloat16 kernel is six times slower."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__(channels, channels, 3, stride, padding=1, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        if not x.is_cpu:
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.to(self.weight.dtype))


class DownBlock(nn.Module):
    """FIVA's encoder block: (B, cin, H, W) -> (B, cout, H/2, W/2).

    Depthwise 3x3 of stride 2, pointwise 1x1 to the new width, then a residual 3x3 unit.
    """

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.down = Depthwise(cin, stride=2)
        self.widen = ConvUnit(cin, cout, 1)
        self.unit = ConvUnit(cout, cout)

    def forward(self, x: Tensor) -> Tensor:
        x = self.widen(self.down(x))
        return x + self.unit(x)


class Binomial(BlurPool2D):
    """The filter [1, 2, 1] / 4 along rows and columns: 0 at the highest frequency of either, 1 at the lowest."""

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__(3, stride=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same form; beyond the border is 0."""
        with torch.autocast(x.device.type, enabled=False):  # as Depthwise, which says why
            return super().forward(x.to(self.kernel.dtype)).to(x.dtype)


class UpBlock(nn.Module):
    """FIVA's decoder block: (B, cin, H, W) and skip (B, skip, 2H, 2W) -> (B, cout, 2H, 2W).

    Pointwise 1x1 to four times the width, pixel shuffle, binomial filter, the encoder's map beside it, 3x3 unit.
    """

    def __init__(self, cin: int, skip: int, cout: int) -> None:
        super().__init__()
        self.widen = nn.Conv2d(cin, 4 * cout, 1)
        self.smooth = Binomial()
        self.unit = ConvUnit(cout + skip, cout)
        icnr_(self.widen.weight)
        nn.init.zeros_(self.widen.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = F.leaky_relu(self.smooth(F.pixel_shuffle(self.widen(x), 2)), 0.2)  # (B, cout, 2H, 2W)
        return self.unit(torch.cat((x, skip), 1))


class PooledConv(nn.Conv2d):
    """3x3 convolution then 2x2 average pooling, (B, C, H, W) -> (B, C', H/2, W/2), as one 4x4 convolution of stride 2.

    The same numbers from 4/9 of the multiplications: pooling averages four shifted copies of the kernel.
    """

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__(cin, cout, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        kernel = F.avg_pool2d(F.pad(self.weight, (1, 1, 1, 1)), 2, stride=1)  # (C', C, 4, 4)
        return F.conv2d(x, kernel, self.bias, stride=2, padding=1)


class ResidualDown(nn.Module):
    """FaceDancer's discriminator block (``networks/discriminator.py``): halves the resolution, no 1/sqrt(2).

    Instance norm -> leaky ReLU -> 3x3 -> average pool -> instance norm -> leaky ReLU -> 3x3, beside 1x1 -> pool.
    """

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.norm1 = InstanceNorm(cin)
        self.conv1 = PooledConv(cin, cout)
        self.norm2 = InstanceNorm(cout)
        self.conv2 = nn.Conv2d(cout, cout, 3, padding=1)
        self.shortcut = nn.Conv2d(cin, cout, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.leaky_relu(self.norm1(x), 0.2))
        y = self.conv2(F.leaky_relu(self.norm2(y), 0.2))
        # Pooling before the 1x1 convolution gives the same numbers for a quarter of the work.
        return y + self.shortcut(F.avg_pool2d(x, 2))
