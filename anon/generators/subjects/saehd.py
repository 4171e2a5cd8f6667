"""DeepFaceLab's SAEHD, with the wiring ``df`` or ``liae`` (Perov et al., arXiv:2005.05535, section 3.3; its code).

``df`` has a decoder for each person. ``liae`` has one decoder behind two codes, AB of both people and B of the original
alone, one after the other:

    donor [AB, AB]        original [B, AB]        swapped [AB of the original's face, AB of the same]

Published ``channels`` of encoder and decoder are 64, of the mask 22 and of the code 256, at 64 to 640 pixels.

    python train.py experiment=saehd_df
    python train.py experiment=saehd_liae
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from anon.generators.contract import Redrawn
from anon.generators.subjects.blocks import Decoder, Down, Head, Residual, Up, divisible, ups
from anon.generators.subjects.contract import DONOR, ORIGINAL, PEOPLE, SubjectSwapper, Switched, drawn


class SAEHDEncoder(nn.Module):
    """(B, 3, S, S) -> (B, 8e·(S/16)²), of mean square 1 over its numbers where ``normalized`` (the option ``u``)."""

    def __init__(self, channels: int, normalized: bool) -> None:
        super().__init__()
        e = channels
        self.downs = nn.Sequential(Down(3, e), Down(e, 2 * e), Down(2 * e, 4 * e), Down(4 * e, 8 * e))
        self.normalized = normalized

    def forward(self, faces: Tensor) -> Tensor:
        code = self.downs(faces).flatten(1)
        return code * (code.square().mean(1, keepdim=True) + 1e-6).rsqrt() if self.normalized else code


class Inter(nn.Module):
    """Two fully connected layers and one step up: (B, N) -> (B, cout, S/8, S/8)."""

    def __init__(self, cin: int, latent: int, bottom: int, cout: int) -> None:
        super().__init__()
        self.bottom = bottom
        self.shrink, self.widen = nn.Linear(cin, latent), nn.Linear(latent, bottom**2 * cout)
        self.up = Up(cout, cout)

    def forward(self, code: Tensor) -> Tensor:
        return self.up(self.widen(self.shrink(code)).unflatten(1, (-1, self.bottom, self.bottom)))


def picture_decoder(cin: int, channels: int) -> nn.Sequential:
    """Code (B, cin, S/8, S/8) -> picture (B, 3, S, S) in [0, 1]."""
    widths = [8 * channels, 4 * channels, 2 * channels]
    return nn.Sequential(ups(cin, widths, residual=True), Residual(widths[-1]), Head(widths[-1], 3, 1))


def _decoder(cin: int, channels: int, mask_channels: int) -> Decoder:
    mask = [8 * mask_channels, 4 * mask_channels, 2 * mask_channels]
    drawn_mask = nn.Sequential(ups(cin, mask, residual=False), Head(mask[-1], 1, 1))
    return Decoder(picture_decoder(cin, channels), drawn_mask)


class SAEHD(Switched):
    """The wiring ``df``.

    Args:
        size: side of the pictures, a multiple of 16.
        channels: of the encoder's first convolution.
        decoder_channels, mask_channels: an eighth of those of the decoders' first step, for the picture and the mask.
        latent: length and width of the code.
        normalized: scale the encoder's numbers to a mean square of 1.

    Raises:
        UserError: a side that is no multiple of 16.
    """

    def __init__(
        self,
        size: int = 64,
        channels: int = 16,
        decoder_channels: int = 8,
        mask_channels: int = 4,
        latent: int = 64,
        normalized: bool = True,
    ) -> None:
        bottom = divisible(size, 16, "SAEHD")
        inter = Inter(8 * channels * bottom**2, latent, bottom, latent)
        donor, original = (_decoder(latent, decoder_channels, mask_channels) for _ in PEOPLE)
        super().__init__(size, nn.Sequential(SAEHDEncoder(channels, normalized), inter), (donor, original))


class SAEHDLiae(SubjectSwapper):
    """The wiring ``liae``; what is given is as of :class:`SAEHD`, and each code is twice as wide.

    ``inter_ab`` is what both people share; a training may hold it (:attr:`shared`).
    """

    def __init__(
        self,
        size: int = 64,
        channels: int = 16,
        decoder_channels: int = 8,
        mask_channels: int = 4,
        latent: int = 64,
        normalized: bool = True,
    ) -> None:
        super().__init__()
        bottom, self.size = divisible(size, 16, "SAEHD"), size
        self.encoder = SAEHDEncoder(channels, normalized)
        flat = 8 * channels * bottom**2
        self.inter_ab, self.inter_b = (Inter(flat, latent, bottom, 2 * latent) for _ in range(2))
        self.decoder = _decoder(4 * latent, decoder_channels, mask_channels)

    @property
    def shared(self) -> nn.Module:
        """What DeepFaceLab holds while nothing is warped: the code of both."""
        return self.inter_ab

    def own(self, faces: Tensor, person: int) -> Redrawn:
        code = self.encoder(faces.add(1.0).div(2.0))
        both = self.inter_ab(code)
        return drawn(*self.decoder(torch.cat((self.inter_b(code) if person == ORIGINAL else both, both), 1)))

    def swap(self, faces: Tensor) -> Redrawn:
        return self.own(faces, DONOR)
