"""The reconstruction attack (FIVA, ICCVW 2023, eqs. 5 and 6): a network that learned to undo an anonymizer from pairs.

It is a black box attack: the adversary runs the anonymizer on photographs of its own and keeps the pairs (X_t, X_c).
The network is a U-Net of FIVA's blocks with a skip at every resolution and no identity input; it sees X_c alone.

    python train.py experiment=reconstruction method=fiva
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from anon.attacks.contract import Attack
from anon.attacks.victim import Record
from anon.faces.contract import check_images
from anon.generators.blocks import ConvUnit, DownBlock, UpBlock
from anon.identity.encoder import Encoder


class ReconstructionNet(nn.Module):
    """R: changed faces (B, 3, H, W) -> reconstructed ones, the same form; H and W multiples of 2^(len(widths) - 1).

    The paper prints no widths. The changed face enters the last convolution too, so that what the anonymizer kept need
    not pass through the network.

    Args:
        widths: channels at full, half, quarter, ... resolution.
        deep: residual 3x3 units at the lowest resolution.
    """

    def __init__(self, widths: Sequence[int] = (32, 64, 128, 256), deep: int = 1) -> None:
        super().__init__()
        widths = tuple(int(width) for width in widths)
        self.stem = ConvUnit(3, widths[0])
        self.down = nn.ModuleList(DownBlock(cin, cout) for cin, cout in pairwise(widths))
        self.deep = nn.ModuleList(ConvUnit(widths[-1], widths[-1]) for _ in range(deep))
        inner = widths[::-1]
        self.up = nn.ModuleList(UpBlock(cin, cout, cout) for cin, cout in pairwise(inner))
        self.refine = ConvUnit(widths[0], widths[0])
        self.head = nn.Conv2d(widths[0] + 3, 3, 3, padding=1)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(self, changed: Tensor) -> Tensor:
        maps = [self.stem(changed)]  # (B, widths[0], H, W)
        for block in self.down:
            maps.append(block(maps[-1]))
        x = maps.pop()  # (B, widths[-1], h, w)
        for unit in self.deep:
            x = x + unit(x)
        for block in self.up:
            x = block(x, maps.pop())
        return torch.tanh(self.head(torch.cat((self.refine(x), changed.to(x.dtype)), 1)).float())


class Reconstruction(Attack):
    """The adversary with a trained R: what is published is reconstructed before it is recognized.

    Args:
        network: images -> images, trained by ``experiment=reconstruction``.
        encoder: the recognizer of its loss: it must not judge, and a white-box defense needs it.
        learned_on: whom it learned, see :mod:`anon.attacks.victim`; None: nobody wrote it down.
    """

    def __init__(self, network: nn.Module, encoder: Encoder | None = None, learned_on: Record | None = None) -> None:
        super().__init__()
        self.network, self.encoder, self.learned_on = network, encoder, learned_on

    @torch.no_grad()
    def images(self, changed: Tensor) -> Tensor:
        """R(X_c), (B, 3, H, W) in [-1, 1]."""
        rows = check_images(changed, "changed").contiguous(memory_format=torch.channels_last)
        return self.network(rows).contiguous().clamp(-1.0, 1.0)
