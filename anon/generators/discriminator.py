"""The discriminator of FaceDancer (WACV 2023; ``networks/discriminator.py``), which FIVA uses: StarGAN-v2's residual
form with instance norm. At 256 x 256 with ``base=64`` it has the published 23.97 M parameters."""

from __future__ import annotations

import math
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from anon.errors import UserError
from anon.generators.blocks import ResidualDown


class Discriminator(nn.Module):
    """Images (B, 3, size, size) -> logits (B,), positive for real. Unconditional.

    Args:
        size: side of the images, a power of two of at least 16; the blocks halve it down to 4.
        base: width of the first convolution; the widths double from block to block, up to ``8 * base``.
    """

    def __init__(self, size: int = 64, base: int = 64) -> None:
        super().__init__()
        blocks = round(math.log2(size)) - 2
        if size < 16 or size != 4 * 2**blocks:
            raise UserError(f"the discriminator needs images whose side is a power of two of 16 or more, not {size}.")
        widths = [min(base * 2**step, 8 * base) for step in range(blocks + 1)]
        self.stem = nn.Conv2d(3, base, 3, padding=1)
        self.blocks = nn.Sequential(*(ResidualDown(cin, cout) for cin, cout in pairwise(widths)))
        self.join = nn.Conv2d(widths[-1], widths[-1], 4)  # 4 x 4 -> 1 x 1
        self.score = nn.Conv2d(widths[-1], 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        x = self.blocks(self.stem(images))  # (B, widths[-1], 4, 4)
        return self.score(F.leaky_relu(self.join(x), 0.2)).float().flatten()
