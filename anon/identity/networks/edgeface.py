"""EdgeFace (George et al., IEEE T-BIOM 2024): EdgeNeXt x-small (Maaz et al., ECCVW 2022) with a 512-d head, 2.24 M.

Input 112 x 112 RGB in [-1, 1]. The names equal timm's ``edgenext_x_small`` (without the ``model.`` that EdgeFace's
files put before each), so those files load without renaming. Four stages: convolutional blocks (depthwise, layer norm,
inverted bottleneck), and at the end of stages 2-4 one split-depthwise transpose attention block.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EPS = 1e-6


class LayerNorm2d(nn.LayerNorm):
    """Layer norm over the channels of (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=EPS)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Mlp(nn.Module):
    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class ConvBlock(nn.Module):
    """x + gamma * mlp(norm(depthwise(x)))."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.conv_dw = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=EPS)
        self.mlp = Mlp(channels, 4 * channels)
        self.gamma = nn.Parameter(torch.full((channels,), 1e-6))

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv_dw(x).permute(0, 2, 3, 1)  # (B, H, W, C)
        return x + (self.gamma * self.mlp(self.norm(y))).permute(0, 3, 1, 2)


class FourierPosition(nn.Module):
    """Sines and cosines of the row and column numbers, projected to the channels: (1, C, H, W)."""

    def __init__(self, channels: int, hidden: int = 32, temperature: float = 10000.0) -> None:
        super().__init__()
        self.hidden, self.temperature = hidden, temperature
        self.token_projection = nn.Conv2d(2 * hidden, channels, 1)

    def forward(self, height: int, width: int) -> Tensor:
        weight = self.token_projection.weight
        rates = torch.arange(self.hidden, device=weight.device).div(2, rounding_mode="floor") * (2 / self.hidden)
        rates = self.temperature**rates

        def waves(count: int) -> Tensor:  # (count, hidden): sin, cos, sin, cos, ...
            position = torch.arange(1, count + 1, device=weight.device) / (count + EPS) * (2 * math.pi)
            phase = position[:, None] / rates
            return torch.stack([phase[:, 0::2].sin(), phase[:, 1::2].cos()], dim=2).flatten(1)

        rows = waves(height)[:, None].expand(height, width, self.hidden)
        columns = waves(width)[None].expand(height, width, self.hidden)
        return self.token_projection(torch.cat([rows, columns], dim=2).permute(2, 0, 1)[None].to(weight.dtype))


class CrossCovarianceAttention(nn.Module):
    """Attention between channels, not places (XCiT): the cost is linear in the number of places."""

    def __init__(self, channels: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        batch, places, channels = x.shape
        qkv = self.qkv(x).reshape(batch, places, 3, self.heads, -1).permute(2, 0, 3, 4, 1)
        q, k, v = qkv.unbind(0)  # (B, heads, C / heads, N)
        weights = (F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1) * self.temperature).softmax(-1)
        return self.proj((weights @ v).permute(0, 3, 1, 2).reshape(batch, places, channels))


class SplitTransposeBlock(nn.Module):
    """Depthwise convolutions on a cascade of channel groups, cross-covariance attention, inverted bottleneck."""

    def __init__(self, channels: int, scales: int, position: bool) -> None:
        super().__init__()
        width = math.ceil(channels / scales)
        self.scales = scales
        self.convs = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1, groups=width) for _ in range(scales - 1))
        self.pos_embd = FourierPosition(channels) if position else None
        self.norm_xca = nn.LayerNorm(channels, eps=EPS)
        self.gamma_xca = nn.Parameter(torch.full((channels,), 1e-6))
        self.xca = CrossCovarianceAttention(channels)
        self.norm = nn.LayerNorm(channels, eps=EPS)
        self.mlp = Mlp(channels, 4 * channels)
        self.gamma = nn.Parameter(torch.full((channels,), 1e-6))

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        groups = x.chunk(self.scales, dim=1)
        done, part = [], groups[0]
        for number, conv in enumerate(self.convs):
            part = conv(part if number == 0 else part + groups[number])
            done.append(part)
        y = torch.cat([*done, groups[-1]], dim=1)
        if self.pos_embd is not None:
            y = y + self.pos_embd(height, width)
        y = y.flatten(2).transpose(1, 2)  # (B, N, C)
        y = y + self.gamma_xca * self.xca(self.norm_xca(y))
        y = self.gamma * self.mlp(self.norm(y))
        return x + y.transpose(1, 2).reshape(batch, channels, height, width)


class Stage(nn.Module):
    def __init__(
        self, cin: int, cout: int, depth: int, kernel: int, scales: int, attention: bool, position: bool
    ) -> None:
        super().__init__()
        self.downsample = (
            nn.Identity() if cin == cout else nn.Sequential(LayerNorm2d(cin), nn.Conv2d(cin, cout, 2, stride=2))
        )
        blocks: list[nn.Module] = [ConvBlock(cout, kernel) for _ in range(depth - attention)]
        if attention:
            blocks.append(SplitTransposeBlock(cout, scales, position))
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.downsample(x))


class Head(nn.Module):
    """Mean over the places, layer norm, projection to the embedding."""

    def __init__(self, channels: int, dim: int) -> None:
        super().__init__()
        self.norm = LayerNorm2d(channels)
        self.fc = nn.Linear(channels, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.norm(x.mean((2, 3), keepdim=True)).flatten(1))


class EdgeFace(nn.Module):
    """``(B, 3, 112, 112)`` in [-1, 1] -> raw embedding (B, dim). Stages at 28, 14, 7 and 3 pixels.

    The defaults are EdgeNeXt x-small.
    """

    def __init__(
        self, widths: Sequence[int] = (32, 64, 100, 192), depths: Sequence[int] = (3, 3, 9, 3), dim: int = 512
    ) -> None:
        super().__init__()
        self.dim = dim
        self.stem = nn.Sequential(nn.Conv2d(3, widths[0], 4, stride=4), LayerNorm2d(widths[0]))
        stages, cin = [], widths[0]
        for number, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            kernel, scales = 3 + 2 * number, (2, 2, 3, 4)[number]
            stages.append(Stage(cin, width, depth, kernel, scales, attention=number > 0, position=number == 1))
            cin = width
        self.stages = nn.Sequential(*stages)
        self.head = Head(cin, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stages(self.stem(x)))
