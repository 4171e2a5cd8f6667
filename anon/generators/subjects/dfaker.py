"""DFaker (github.com/dfaker/df): the encoder sees faces at half the side, each decoder draws the whole and a mask.

Published at 64 -> 128 pixels with ``channels=128`` and ``latent=1024``. Its code has four encoder convolutions;
Borghetto (MSc thesis, Milano 2020, table 1) prints three blocks and a latent of 512.

    python train.py experiment=dfaker
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from anon.generators.subjects.blocks import Decoder, Down, Head, Up, divisible, ups
from anon.generators.subjects.contract import Switched


class DFakerEncoder(nn.Module):
    """(B, 3, S, S) -> code (B, 4c, S/16, S/16): half the side, four convolutions, two linear layers, one step up."""

    def __init__(self, size: int, channels: int, latent: int) -> None:
        super().__init__()
        self.bottom = divisible(size, 32, "DFaker")
        c = channels
        self.downs = nn.Sequential(Down(3, c), Down(c, 2 * c), Down(2 * c, 4 * c), Down(4 * c, 8 * c))
        self.shrink = nn.Linear(8 * c * self.bottom**2, latent)
        self.widen = nn.Linear(latent, 8 * c * self.bottom**2)
        self.up = Up(8 * c, 4 * c)

    def forward(self, faces: Tensor) -> Tensor:
        x = self.downs(F.avg_pool2d(faces, 2))  # (B, 8c, S/32, S/32)
        x = self.widen(self.shrink(x.flatten(1)))
        return self.up(x.unflatten(1, (-1, self.bottom, self.bottom)))


def _decoder(channels: int) -> Decoder:
    c = channels
    widths = [4 * c, 2 * c, c, max(c // 2, 1)]
    picture = nn.Sequential(ups(4 * c, widths, residual=True), Head(widths[-1], 3, 5))
    return Decoder(picture, nn.Sequential(ups(4 * c, widths, residual=False), Head(widths[-1], 1, 5)))


class DFaker(Switched):
    """The network.

    Args:
        size: side of the pictures, a multiple of 32; the encoder sees them at half of it.
        channels: of the first convolution; each of the four doubles them.
        latent: length of the code between the fully connected layers.

    Raises:
        UserError: a side that is no multiple of 32.
    """

    def __init__(self, size: int = 64, channels: int = 16, latent: int = 128) -> None:
        super().__init__(size, DFakerEncoder(size, channels, latent), (_decoder(channels), _decoder(channels)))
