"""FATM, the facial attribute transfer model: a face becomes one of a few donors (Li & Lyu, arXiv:1902.04202).

One encoder for everybody, a decoder for each donor. Any face is encoded, and the decoder of one donor draws the code:
that donor, with the face's pose and expression. What is drawn is laid over the face within a mask from the brows to the
lower lip, whose edge is a Gaussian. There is one decoder more, of everybody else: training alone uses it, so that the
encoder learns to read strangers.

    image = D_i(E(X))        X_c = m image + (1 - m) X        i = argmax of the first n numbers of z

z says nothing of anybody (``steers`` is 0): the policy draws it at random, one for a face, a track or, with the tracker
(ITM), a person, who so keeps one donor. All donors are equally likely.

    python train.py experiment=fatm
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from kornia.filters import gaussian_blur2d
from torch import Tensor, nn

from anon.attributes.contract import Estimator
from anon.errors import UserError
from anon.faces.regions import LIP, inside_face
from anon.generators.contract import Redrawn
from anon.generators.inpainting.contract import FivePoints
from anon.generators.subjects.blocks import divisible
from anon.generators.subjects.contract import Switched
from anon.generators.subjects.saehd import Inter, SAEHDEncoder, picture_decoder

EVERYBODY = "everybody"  # who is no donor


class FATM(Switched):
    """The network, which is a generator too: ``forward(target (B, 3, S, S), z (B, D)) -> Redrawn``.

    Args:
        size: side of the pictures, a multiple of 16.
        landmarks: estimator of the five points, on which the mask is laid.
        donors: how many; the paper has 2 or 3.
        channels: of the encoder's first convolution.
        decoder_channels: an eighth of those of a decoder's first step.
        latent: length of the code.
        edge: deviation of the mask's Gaussian, as a share of the side of the aligned face.

    Raises:
        UserError: a side that is no multiple of 16, or no donor.
    """

    #: It neither becomes nor flees a condition: z only chooses the donor.
    steers = 0

    def __init__(
        self,
        size: int,
        landmarks: Estimator,
        donors: int = 4,
        channels: int = 16,
        decoder_channels: int = 8,
        latent: int = 128,
        edge: float = 0.03,
    ) -> None:
        if donors < 1:
            raise UserError(f"FATM needs a donor or more, not {donors}.")
        bottom, width = divisible(size, 16, "FATM"), 8 * decoder_channels
        encoder = nn.Sequential(
            SAEHDEncoder(channels, normalized=True), Inter(8 * channels * bottom**2, latent, bottom, width)
        )
        super().__init__(size, encoder, [picture_decoder(width, decoder_channels) for _ in range(donors + 1)])
        self.donors, self.edge, self.points = donors, edge, FivePoints(landmarks)
        self.people = (*(f"donor_{number + 1}" for number in range(donors)), EVERYBODY)

    def own(self, faces: Tensor, person: int) -> Redrawn:
        """Faces (B, 3, S, S) drawn by one decoder, a donor's or everybody's, without a mask."""
        return Redrawn(self._decoded(self._encoded(faces), person), None)

    def donor(self, z: Tensor) -> Tensor:
        """Which donor z (B, D) means: (B,) int64.

        Raises:
            UserError: z has fewer numbers than there are donors.
        """
        if z.shape[1] < self.donors:
            raise UserError(
                f"{self.donors} donors are told apart by as many numbers, and the encoder gives {z.shape[1]}."
            )
        return z[:, : self.donors].argmax(1)

    def drawn(self, faces: Tensor, persons: Iterable[int]) -> list[Tensor]:
        """Faces (B, 3, S, S) as each of the persons, (B, 3, S, S) each; they are encoded once."""
        code = self._encoded(faces)
        return [self._decoded(code, person) for person in persons]

    def forward(self, target: Tensor, z: Tensor) -> Redrawn:
        code, donor = self._encoded(target), self.donor(z)
        image = torch.empty_like(target)
        for number in donor.unique().tolist():
            rows = donor == number
            image[rows] = self._decoded(code[rows], number).to(image)
        return Redrawn(image, self.hull(target))

    def hull(self, faces: Tensor) -> Tensor:
        """What of faces (B, 3, S, S) is covered, (B, 1, S, S) in [0, 1]: brows to lower lip, with a Gaussian edge."""
        side = faces.shape[-1]
        inside = inside_face(self.points(faces), side, side, lowest=LIP).to(faces)
        deviation = self.edge * side
        reach = 2 * math.ceil(3 * deviation) + 1
        return gaussian_blur2d(inside, (reach, reach), (deviation, deviation), border_type="constant")

    def _encoded(self, faces: Tensor) -> Tensor:
        return self.encoder(faces.add(1.0).div(2.0))

    def _decoded(self, code: Tensor, person: int) -> Tensor:
        return self.decoders[person](code).mul(2.0).sub(1.0)
