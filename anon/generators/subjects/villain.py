"""Faceswap's Villain (github.com/deepfakes/faceswap, by VillainGuy): an encoder of many residual blocks.

Published at 128 pixels with ``channels=128``, ``latent=1024`` and 16 blocks; the skip from the first convolution over
the residual blocks stays inside the encoder.

    python train.py experiment=villain
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from anon.errors import UserError
from anon.generators.subjects.blocks import Decoder, Down, Head, Residual, SeparableDown, Up, divisible, ups
from anon.generators.subjects.contract import Switched


class VillainEncoder(nn.Module):
    """(B, 3, S, S) -> code (B, 4c, S/8, S/8)."""

    def __init__(self, size: int, channels: int, latent: int, residuals: int) -> None:
        super().__init__()
        self.bottom = divisible(size, 32, "Villain")
        c = channels
        self.first = nn.Conv2d(3, c, 5, stride=2, padding=2)
        self.blocks = nn.Sequential(*(Residual(c) for _ in range(residuals)))
        self.middle = nn.Sequential(Down(c, c), nn.PixelShuffle(2), Down(c // 4, c), nn.PixelShuffle(2))
        self.downs = nn.Sequential(
            Down(c // 4, c), SeparableDown(c, 2 * c), Down(2 * c, 4 * c), SeparableDown(4 * c, 8 * c)
        )
        self.shrink = nn.Linear(8 * c * self.bottom**2, latent)
        self.widen = nn.Linear(latent, 8 * c * (2 * self.bottom) ** 2)
        self.up = Up(8 * c, 4 * c)

    def forward(self, faces: Tensor) -> Tensor:
        x = self.first(faces)  # (B, c, S/2, S/2)
        x = self.middle(self.blocks(x) + F.leaky_relu(x, 0.1))  # (B, c/4, S/2, S/2)
        x = self.widen(self.shrink(self.downs(x).flatten(1)))
        return self.up(x.unflatten(1, (-1, 2 * self.bottom, 2 * self.bottom)))


def _decoder(channels: int) -> Decoder:
    c = channels
    widths = [4 * c, 2 * c, c]
    picture = nn.Sequential(ups(4 * c, widths, residual=True), Residual(c), Head(c, 3, 5))
    return Decoder(picture, nn.Sequential(ups(4 * c, widths, residual=False), Head(c, 1, 5)))


class Villain(Switched):
    """The network.

    Args:
        size: side of the pictures, a multiple of 32.
        channels: of the residual blocks, a multiple of 4.
        latent: length of the code between the fully connected layers.
        residuals: blocks.

    Raises:
        UserError: a side or a number of channels that does not fit.
    """

    def __init__(self, size: int = 64, channels: int = 16, latent: int = 128, residuals: int = 4) -> None:
        if channels % 4:
            raise UserError(f"Villain's channels are a multiple of 4, for pixels are shuffled, not {channels}.")
        encoder = VillainEncoder(size, channels, latent, residuals)
        super().__init__(size, encoder, (_decoder(channels), _decoder(channels)))
