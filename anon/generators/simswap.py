"""SimSwap's generator (Chen et al., ACM MM 2020, section 3.2; ``models/fs_networks_fix.py`` of its code).

Encoder, nine identity-injection blocks, decoder. A block is a residual pair of convolutions, each followed by a
parameter-free instance norm that z scales and shifts. Pictures are normalized as ImageNet's inside and put back to
[-1, 1] at the end.

    python train.py experiment=simswap
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anon.generators.contract import Redrawn
from anon.generators.instance_norm import instance_norm

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet, of images in [0, 1]


class Style(nn.Module):
    """``x·(s(z) + 1) + b(z)`` on a parameter-free instance norm; (B, C, H, W) and (B, z_dim) -> (B, C, H, W)."""

    def __init__(self, channels: int, z_dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(z_dim, 2 * channels)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        scale, shift = self.linear(z).chunk(2, 1)
        return instance_norm(x, scale + 1, shift, eps=1e-8)


class InjectionBlock(nn.Module):
    """(B, C, H, W) and z (B, z_dim) -> (B, C, H, W); 3x3 convolutions with mirrored borders."""

    def __init__(self, channels: int, z_dim: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect")
        self.style1 = Style(channels, z_dim)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect")
        self.style2 = Style(channels, z_dim)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        y = F.relu(self.style1(self.conv1(x), z))
        return x + self.style2(self.conv2(y), z)


class ToPicture(nn.Conv2d):
    """The last convolution, (B, C, H, W) -> (B, 3, H, W) with mirrored borders.

    On a CPU the kernel's rows are output channels of a convolution of one row, and what they give is summed: the same
    products, but three output channels fill no vector register and 3 x 7 do.
    """

    def __init__(self, cin: int, kernel: int) -> None:
        super().__init__(cin, 3, kernel, padding=kernel // 2, padding_mode="reflect")

    def forward(self, x: Tensor) -> Tensor:
        if not x.is_cpu or torch.compiler.is_compiling():
            return super().forward(x)
        side = self.kernel_size[0]
        x = F.pad(x, (side // 2,) * 4, mode="reflect")
        rows = F.conv2d(x, self.weight.permute(2, 0, 1, 3).flatten(0, 1)[:, :, None])  # (B, side·3, H + side - 1, W)
        return _SumOfRows.apply(rows, side) + cast(Tensor, self.bias)[:, None, None]


class _SumOfRows(torch.autograd.Function):
    """(B, N·C, H + N - 1, W) -> (B, C, H, W), the sum over n of channels n·C ... at rows n ... of it.

    Autograd's own way would add N gradients of the whole input.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, count: int) -> Tensor:
        ctx.count = count
        height = rows.shape[2] - count + 1
        first, *others = (part[:, :, n : n + height] for n, part in enumerate(rows.chunk(count, 1)))
        total = first.clone()
        for other in others:
            total += other
        return total

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        last = ctx.count - 1
        return torch.cat([F.pad(g, (0, 0, n, last - n)) for n in range(ctx.count)], 1), None


class SimSwap(nn.Module):
    """``forward(target (B, 3, H, W), z (B, z_dim)) -> Redrawn`` without a mask; it becomes its condition.

    H and W are multiples of ``2 ** downs``. The published output is linear; in evaluation mode it is clamped to the
    [-1, 1] of the image contract.

    Args:
        base: width at full resolution, doubled by each of the ``downs`` halvings up to ``8 * base``; 64 is published.
        downs: 3 for 224 x 224; 4 is the published ``deep`` network for 512 x 512.
        blocks: identity-injection blocks at the lowest resolution.
        z_dim: size of the identity embedding, which enters with unit norm times sqrt(z_dim).
    """

    steers = +1
    mean: Tensor
    std: Tensor

    def __init__(self, base: int = 64, downs: int = 3, blocks: int = 9, z_dim: int = 512) -> None:
        super().__init__()
        self.z_dim = z_dim
        widths = [min(base * 2**step, 8 * base) for step in range(downs + 1)]
        self.register_buffer("mean", torch.tensor(_MEAN).mul(2).sub(1).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).mul(2).view(3, 1, 1), persistent=False)
        self.stem = nn.Sequential(
            nn.Conv2d(3, base, 7, padding=3, padding_mode="reflect"), nn.BatchNorm2d(base), nn.ReLU(inplace=True)
        )
        self.down = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(cin, cout, 3, stride=2, padding=1), nn.BatchNorm2d(cout), nn.ReLU(inplace=True))
                for cin, cout in pairwise(widths)
            )
        )
        self.blocks = nn.ModuleList(InjectionBlock(widths[-1], z_dim) for _ in range(blocks))
        self.up = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
                    nn.Conv2d(cin, cout, 3, padding=1),
                    nn.BatchNorm2d(cout),
                    nn.ReLU(inplace=True),
                )
                for cin, cout in pairwise(widths[::-1])
            )
        )
        self.head = ToPicture(base, 7)

    def attributes(self, target: Tensor) -> list[Tensor]:
        """What is read off the target (B, 3, H, W): one map (B, 8·base, H/8, W/8)."""
        return [self.down(self.stem((target - self.mean) / self.std))]

    def forward(self, target: Tensor, z: Tensor) -> Redrawn:
        (x,) = self.attributes(target)
        code = z.to(self.head.weight.dtype).mul(self.z_dim**0.5)
        for block in self.blocks:
            x = block(x, code)
        image = self.head(self.up(x)).float() * self.std + self.mean
        return Redrawn(image if self.training else image.clamp(-1, 1), None)
