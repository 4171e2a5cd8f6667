"""Faceswap-GAN 2.2 (github.com/shaoanlu/faceswap-GAN): instance norms, self-attention, and a mask m in the decoder.

The picture that a person sees is ``m · drawn + (1 - m) · what was given``; its critics, one for each person, are told
what was given (:class:`Critic`). Published with ``channels=64`` and ``latent=1024`` at 64, 128 or 256 pixels.

    python train.py experiment=faceswap_gan
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from anon.errors import UserError
from anon.generators.contract import Redrawn
from anon.generators.instance_norm import InstanceNorm
from anon.generators.subjects.blocks import Attention, Residual, Up, divisible
from anon.generators.subjects.contract import DONOR, PEOPLE, SubjectSwapper

BOTTOM = 4  # side at the bottom of the encoder


def _halvings(size: int) -> int:
    """How often the side is halved until 4 pixels are left.

    Raises:
        UserError: a side that is no power of two from 64 on.
    """
    divisible(size, 64, "Faceswap-GAN")
    times = size.bit_length() - BOTTOM.bit_length()
    if size != BOTTOM << times:
        raise UserError(f"Faceswap-GAN halves the side to 4 pixels: it is a power of two from 64 on, not {size}.")
    return times


class _Down(nn.Sequential):
    """3x3 convolution of stride 2, ReLU, instance norm."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__(nn.Conv2d(cin, cout, 3, stride=2, padding=1), nn.ReLU(), InstanceNorm(cout))


class GANEncoder(nn.Module):
    """(B, 3, S, S) in [-1, 1] -> code (B, 8c, 8, 8); attention behind 4c and 8c channels, 16c at most."""

    def __init__(self, size: int, channels: int, latent: int) -> None:
        super().__init__()
        c, width = channels, channels
        layers: list[nn.Module] = [nn.Conv2d(3, c, 5, padding=2), nn.ReLU()]
        for place in range(_halvings(size)):
            cout = min(2 * width, 16 * c)
            layers.append(_Down(width, cout))
            if place in (1, 2):
                layers.append(Attention(cout))
            width = cout
        self.downs = nn.Sequential(*layers)
        self.shrink = nn.Linear(width * BOTTOM**2, latent)
        self.widen = nn.Linear(latent, 16 * c * BOTTOM**2)
        self.up = Up(16 * c, 8 * c)

    def forward(self, faces: Tensor) -> Tensor:
        x = self.widen(self.shrink(self.downs(faces).flatten(1)))
        return self.up(x.unflatten(1, (-1, BOTTOM, BOTTOM)))


class GANDecoder(nn.Module):
    """Code (B, 8c, 8, 8) -> picture (B, 3, S, S) in [-1, 1] and mask (B, 1, S, S) in [0, 1].

    Args:
        attention: in the decoder, too, at 32 pixels.
    """

    def __init__(self, size: int, channels: int, attention: bool) -> None:
        super().__init__()
        c, cin = channels, 8 * channels
        layers: list[nn.Module] = []
        for place in range(_halvings(size) - 1):
            cout = max(4 * c >> place, c)
            layers.append(Up(cin, cout))
            if attention and place == 1:
                layers.append(Attention(cout))
            cin = cout
        self.ups = nn.Sequential(*layers, Residual(cin))
        self.picture = nn.Conv2d(cin, 3, 5, padding=2)
        self.mask = nn.Conv2d(cin, 1, 5, padding=2)

    def forward(self, code: Tensor) -> Redrawn:
        x = self.ups(code)
        return Redrawn(self.picture(x).tanh(), self.mask(x).sigmoid())


class FaceswapGAN(SubjectSwapper):
    """The network.

    Args:
        size: side of the pictures, a power of two from 64 on.
        channels: of the encoder's first convolution.
        latent: length of the code between the fully connected layers.
        attention: in the decoders, too; its memory grows with the fourth power of 32 pixels and the batch.

    Raises:
        UserError: another side.
    """

    def __init__(self, size: int = 64, channels: int = 16, latent: int = 128, attention: bool = False) -> None:
        super().__init__()
        self.size, self.encoder = size, GANEncoder(size, channels, latent)
        self.decoders = nn.ModuleList(GANDecoder(size, channels, attention) for _ in PEOPLE)

    def own(self, faces: Tensor, person: int) -> Redrawn:
        return self.decoders[person](self.encoder(faces))

    def swap(self, faces: Tensor) -> Redrawn:
        return self.own(faces, DONOR)


class Critic(nn.Module):
    """A picture beside what the generator was given, (B, 6, S, S) -> logits (B, 1, n, n).

    4x4 convolutions of stride 2 to c, 2c, 4c channels, and on with 4c to 8 pixels; attention; one 4x4 convolution.
    """

    def __init__(self, size: int, channels: int) -> None:
        super().__init__()
        layers, cin = list[nn.Module](), 6
        for place in range(_halvings(size) - 1):
            cout = min(channels << place, 4 * channels)
            layers += [nn.Conv2d(cin, cout, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
            cin = cout
        self.layers = nn.Sequential(*layers, Attention(cin), nn.Conv2d(cin, 1, 4, padding=1))

    def forward(self, picture: Tensor, given: Tensor) -> Tensor:
        return self.layers(torch.cat((picture, given), 1))


class Critics(nn.Module):
    """One critic for each person.

    Args:
        size, channels: see :class:`Critic`.
    """

    def __init__(self, size: int = 64, channels: int = 16) -> None:
        super().__init__()
        self.of = nn.ModuleList(Critic(size, channels) for _ in PEOPLE)

    def forward(self, picture: Tensor, given: Tensor, person: int) -> Tensor:
        return self.of[person](picture, given)
