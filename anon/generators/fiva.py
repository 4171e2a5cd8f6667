"""FIVA's generator (Rosberg et al., "FIVA: Facial Image and Video Anonymization", ICCVW 2023, section 3.1).

An encoder-decoder after Gafni et al. (ICCV 2019) with four changes: every encoder map goes through a skip connection,
the identity is broadcast and concatenated at the bottleneck, the bottleneck's fully connected layers act on each
position (1x1 convolutions), downsampling is a stride-2 depthwise convolution and upsampling a pixel shuffle. It draws
an image X_a and a one-channel mask m; ``Redrawn.blend`` is X_â = m·X_a + (1 - m)·X_t.

Our choices, as the paper prints none: the widths, group norm, leaky ReLU, and the target itself as the outermost skip.

    python train.py experiment=fiva
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from anon.generators.blocks import ConvUnit, DownBlock, UpBlock
from anon.generators.contract import Redrawn


class FIVA(nn.Module):
    """``forward(target (B, 3, H, W), z (B, z_dim)) -> Redrawn``; H and W are multiples of 2^(len(widths) - 1).

    Args:
        widths: channels at full, half, quarter, ... resolution; the last is the bottleneck's.
        z_dim: size of the identity embedding. It comes with unit norm and is scaled by sqrt(z_dim) inside, so that its
            entries have unit variance like the maps that it is concatenated to.
        bottleneck: number of per-position fully connected layers.
    """

    #: FIVA flees its condition: conditioned on z it draws a face that a recognizer puts far from z.
    steers = -1

    def __init__(self, widths: Sequence[int] = (32, 64, 128, 256), z_dim: int = 256, bottleneck: int = 3) -> None:
        super().__init__()
        widths = tuple(int(width) for width in widths)
        self.z_dim = z_dim
        self.stem = ConvUnit(3, widths[0])
        self.down = nn.ModuleList(DownBlock(cin, cout) for cin, cout in pairwise(widths))
        deep = widths[-1]
        layers = [ConvUnit(deep + z_dim, deep, 1)]
        layers += [ConvUnit(deep, deep, 1) for _ in range(bottleneck - 1)]
        self.bottleneck = nn.Sequential(*layers)
        # The bottleneck's own map is a skip too: its width enters the first decoder block twice.
        inner = [2 * deep, *widths[-2:0:-1]]
        self.up = nn.ModuleList(UpBlock(cin, cout, cout) for cin, cout in zip(inner, widths[-2::-1], strict=True))
        self.refine = ConvUnit(widths[0], widths[0])
        self.head = nn.Conv2d(widths[0] + 3, 4, 3, padding=1)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]
        with torch.no_grad():  # the mask starts at 0.5 everywhere
            self.head.weight[3] *= 0.1

    def attributes(self, target: Tensor) -> list[Tensor]:
        """What is read off the target (B, 3, H, W): itself, the outermost skip, and (B, widths[k], H/2^k, W/2^k)."""
        maps = [target, self.stem(target)]
        for block in self.down:
            maps.append(block(maps[-1]))
        return maps

    def forward(self, target: Tensor, z: Tensor) -> Redrawn:
        _, *maps = self.attributes(target)
        x = maps.pop()  # (B, widths[-1], h, w)
        code = z.to(x.dtype).mul(self.z_dim**0.5)[:, :, None, None].expand(-1, -1, *x.shape[2:])
        x = torch.cat((self.bottleneck(torch.cat((x, code), 1)), x), 1)
        for block in self.up:
            x = block(x, maps.pop())
        drawn = self.head(torch.cat((self.refine(x), target.to(x.dtype)), 1)).float()
        return Redrawn(torch.tanh(drawn[:, :3]), torch.sigmoid(drawn[:, 3:]))
