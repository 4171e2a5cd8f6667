"""The identity-disentanglement network of FaceShifter's kind (Li et al., CVPR 2020, AEI-Net, section 3.1).

A U-Net reads n attribute maps off the target; AAD residual blocks (adaptive attentional denormalization) draw a face
from them and z, from 2 x 2 up (7 x 7 at 112 px). At each position an AAD layer lets a mask choose between attributes
and identity:

    A = scale_att·norm(h) + shift_att,  I = scale_id·norm(h) + shift_id,  M = sigmoid(conv(norm(h)))
    out = (1 - M)·A + M·I

The same network carries identity-changing and reversible anonymizers, which edit z alone; that is why the attribute
maps can be asked for and given back. Only trained on pairs of different people does it listen to z: rebuilding one face
from itself, the attribute maps carry all. Widths are those of the public re-implementations, times ``width``.

    python train.py experiment=faceshifter
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anon.errors import Failed
from anon.generators.blocks import halvings
from anon.generators.contract import Redrawn
from anon.generators.instance_norm import InstanceNorm

_ENCODER = (32, 64, 128, 256, 512, 1024, 1024)  # 128 x 128 down to 2 x 2 of a 256 x 256 image
_DRAWN = (1024, 1024, 1024, 1024, 512, 256, 128, 64)  # what enters the blocks, 2 x 2 first


class AttributeEncoder(nn.Module):
    """Target (B, 3, size, size) -> n attribute maps, (B, C_k, b·2^k, b·2^k) for k = 0 .. n - 1, the last of ``size``.

    ``side`` is b, what the halvings leave: 2 of a power of two. ``channels`` lists the C_k. All maps but the first and
    the last are a decoder map beside the encoder's.
    """

    def __init__(self, size: int, width: float) -> None:
        super().__init__()
        depth, self.side = halvings(size, 2, 4, len(_ENCODER), "FaceShifter draws")
        down = [3, *(_scaled(channels, width) for channels in _ENCODER[:depth])]
        # 256 x 256: 1024 -> 1024, 512, 256, 128, 64, 32, each beside the encoder map of its size.
        up = down[-2:0:-1]
        inner = [down[-1], *(2 * channels for channels in up)]
        self.down = nn.ModuleList(_Unit(nn.Conv2d(i, o, 4, 2, 1, bias=False), o) for i, o in pairwise(down))
        self.up = nn.ModuleList(
            _Unit(nn.ConvTranspose2d(i, o, 4, 2, 1, bias=False), o) for i, o in zip(inner[:-1], up, strict=True)
        )
        self.channels = (*inner, inner[-1])

    def forward(self, target: Tensor) -> list[Tensor]:
        skips: list[Tensor] = []
        x = target
        for block in self.down:
            x = block(x)
            skips.append(x)
        maps = [skips.pop()]  # (B, C_0, b, b)
        for block in self.up:
            maps.append(torch.cat((block(maps[-1]), skips.pop()), 1))
        maps.append(F.interpolate(maps[-1], scale_factor=2, mode="bilinear", align_corners=False))
        return maps


class AAD(nn.Module):
    """One layer: h (B, C, H, W), attribute map (B, A, H, W), z (B, z_dim) -> (B, C, H, W)."""

    def __init__(self, channels: int, attributes: int, z_dim: int) -> None:
        super().__init__()
        self.norm = InstanceNorm(channels)
        self.attributes = nn.Conv2d(attributes, 2 * channels, 3, padding=1)
        self.identity = nn.Linear(z_dim, 2 * channels)
        self.mask = nn.Conv2d(channels, 1, 3, padding=1)
        with torch.no_grad():  # both scales start around 1
            self.attributes.bias[:channels] = 1.0  # type: ignore[index]
            self.identity.bias[:channels] = 1.0

    def forward(self, h: Tensor, attributes: Tensor, z: Tensor) -> Tensor:
        h = self.norm(h)
        gamma, beta = self.attributes(attributes).chunk(2, 1)
        gamma_id, beta_id = self.identity(z)[:, :, None, None].chunk(2, 1)
        a, i = gamma * h + beta, gamma_id * h + beta_id
        return a + torch.sigmoid(self.mask(h)) * (i - a)


class AADBlock(nn.Module):
    """(AAD -> ReLU -> 3x3) twice, beside the input; beside AAD -> ReLU -> 3x3 of it where the width changes."""

    def __init__(self, cin: int, cout: int, attributes: int, z_dim: int) -> None:
        super().__init__()
        self.aad1, self.conv1 = AAD(cin, attributes, z_dim), nn.Conv2d(cin, cin, 3, padding=1)
        self.aad2, self.conv2 = AAD(cin, attributes, z_dim), nn.Conv2d(cin, cout, 3, padding=1)
        self.aad3 = AAD(cin, attributes, z_dim) if cin != cout else None
        self.conv3 = nn.Conv2d(cin, cout, 3, padding=1) if cin != cout else None

    def forward(self, h: Tensor, attributes: Tensor, z: Tensor) -> Tensor:
        y = self.conv1(F.relu(self.aad1(h, attributes, z)))
        y = self.conv2(F.relu(self.aad2(y, attributes, z)))
        if self.aad3 is not None and self.conv3 is not None:
            h = self.conv3(F.relu(self.aad3(h, attributes, z)))
        return h + y


class FaceShifter(nn.Module):
    """``forward(target (B, 3, size, size), z (B, z_dim)) -> Redrawn`` without a mask; it becomes its condition.

    Args:
        size: side of the images; they are halved four to seven times, down to 2 pixels where it is a power of two, else
            to the 3 to 15 that are left, such as 7 of 112 px, 3 of 96 px and 5 of 160 px. 256 has the published eight
            attribute maps.
        width: factor on all widths; 1 is 350 million parameters.
        z_dim: size of the identity embedding, which enters with unit norm times sqrt(z_dim).
    """

    steers = +1

    def __init__(self, size: int = 256, width: float = 1.0, z_dim: int = 512) -> None:
        super().__init__()
        self.size, self.z_dim = size, z_dim
        self.attributes = AttributeEncoder(size, width)
        drawn = [*(_scaled(channels, width) for channels in _DRAWN[-len(self.attributes.channels) :]), 3]
        self.start = nn.ConvTranspose2d(z_dim, drawn[0], self.attributes.side)  # 1 x 1 -> b x b
        self.blocks = nn.ModuleList(
            AADBlock(cin, cout, channels, z_dim)
            for (cin, cout), channels in zip(pairwise(drawn), self.attributes.channels, strict=True)
        )

    def forward(self, target: Tensor, z: Tensor) -> Redrawn:
        """
        Raises:
            Failed: pictures of another side than it was built for, whose coarsest map its start does not fit.
        """
        if target.shape[-2:] != (self.size, self.size):
            sides = " x ".join(map(str, target.shape[-2:]))
            raise Failed(
                f"This FaceShifter draws {self.size} x {self.size} pixels, not {sides}; set data.size={self.size}."
            )
        return self.fuse(self.attributes(target), z)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """torch.compile, in place, for the two halves, because training calls them one by one."""
        self.attributes.compile(*args, **kwargs)
        self.fuse = torch.compile(self.fuse, *args, **kwargs)  # type: ignore[method-assign]

    def fuse(self, maps: Sequence[Tensor], z: Tensor) -> Redrawn:
        """Draw from attribute maps, as ``attributes(target)`` gives them, and an identity."""
        code = z.to(self.start.weight.dtype).mul(self.z_dim**0.5)
        h = self.start(code[:, :, None, None])  # (B, C, b, b)
        for block, attributes in zip(self.blocks[:-1], maps[:-1], strict=True):
            h = F.interpolate(block(h, attributes, code), scale_factor=2, mode="bilinear", align_corners=False)
        return Redrawn(torch.tanh(self.blocks[-1](h, maps[-1], code).float()), None)


class _Unit(nn.Sequential):
    """A convolution, batch norm, leaky ReLU 0.1."""

    def __init__(self, conv: nn.Module, channels: int) -> None:
        super().__init__(conv, nn.BatchNorm2d(channels), nn.LeakyReLU(0.1))


def _scaled(channels: int, width: float) -> int:
    return max(8, round(channels * width))
