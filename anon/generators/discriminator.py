"""The discriminator of FaceDancer (WACV 2023; ``networks/discriminator.py``), which FIVA uses: StarGAN-v2's residual
form with instance norm. At 256 x 256 with ``base=64`` it has the published 23.97 M parameters."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from anon.generators.blocks import ResidualDown, halvings


class Discriminator(nn.Module):
    """Images (B, 3, size, size) -> logits (B,), positive for real. Unconditional.

    Args:
        size: side of the images; the blocks halve it at least twice, down to 4 where it is a power of two, else to the
            odd or small side that is left, such as 7 of 112 px, 6 of 96 px and 5 of 160 px.
        base: width of the first convolution; the widths double from block to block, up to ``8 * base``.

    Raises:
        UserError: a size that leaves a side below 4 or above 15.
    """

    def __init__(self, size: int = 64, base: int = 64) -> None:
        super().__init__()
        blocks, side = halvings(size, 4, 2, 10, "the discriminator judges")
        widths = [min(base * 2**step, 8 * base) for step in range(blocks + 1)]
        self.stem = nn.Conv2d(3, base, 3, padding=1)
        self.blocks = nn.Sequential(*(ResidualDown(cin, cout) for cin, cout in pairwise(widths)))
        self.join = nn.Conv2d(widths[-1], widths[-1], side)  # side x side -> 1 x 1
        self.score = nn.Conv2d(widths[-1], 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        x = self.blocks(self.stem(images))  # (B, widths[-1], side, side)
        return self.score(F.leaky_relu(self.join(x), 0.2)).float().flatten()
