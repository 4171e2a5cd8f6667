"""Face Anonymization Made Simple as an anonymizer: each face is its own source, which the degree d takes away.

As in the authors' public code: where d > 0 a given source is ignored, and the source is the face itself; d = 0 with a
source is a swap. At d = 1 the source is nobody, so nothing but the driving picture is left of the person, and guidance
changes nothing; above, the face leaves what its source would have made of it. That code draws 200 steps of DDPM
(``sampler: ddpm``); DDIM with few is ours.

    python evaluate.py suite=made_simple_degree
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from anon.anonymizers.composed import AnonymizationError
from anon.anonymizers.filters import check_count, needed
from anon.errors import UserError
from anon.faces.contract import check_images
from anon.generators.made_simple.network import MadeSimple
from anon.identity.contract import Draws, Given

SAMPLERS = DDIM, DDPM = "ddim", "ddpm"


class DegreeAnonymizer(nn.Module):
    """A trained network with its dial (:class:`anon.anonymizers.contract.AnonymizerLike`).

    Args:
        network: the three networks.
        degree: d, from 0, all of the source, by way of 1, nobody, to 3.
        guidance: g, from 0 to 30; 1 is none.
        steps: of the way from noise to a picture.
        sampler: ddim or ddpm.

    Raises:
        UserError: a number outside its range, or another sampler.
    """

    name = "Made Simple"

    def __init__(
        self, network: MadeSimple, degree: float = 1.25, guidance: float = 4.0, steps: int = 10, sampler: str = DDIM
    ) -> None:
        super().__init__()
        for what, value, most in (("degree d", degree, 3), ("guidance g", guidance, 30)):
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
                raise UserError(f"The {what} of Made Simple must be a number from 0 to {most}: {value!r}.")
        if sampler not in SAMPLERS:
            raise UserError(f"sampler={sampler} is none of {', '.join(SAMPLERS)}.")
        self.network, self.degree, self.guidance = network, float(degree), float(guidance)
        self.steps, self.sampler = check_count(steps, "The number of steps of Made Simple"), sampler

    def forward(
        self, images: Tensor, *, source: Given = None, key: Given = None, track: Given = None, rng: Draws = None
    ) -> Tensor:
        """Faces (B, 3, H, W) in [-1, 1] -> changed faces, the same form.

        Args:
            source: images of other people, the same form or a batch of 1, whom the faces become at degree 0.

        Raises:
            ValueError: images that break the contract.
            UserError: no ``rng``, or sides that the networks cannot halve.
            AnonymizationError: the network gave no picture.
        """
        rng = needed(rng, check_images(images))
        noise = torch.randn(images.shape, generator=rng, dtype=images.dtype, device=images.device)
        who = images if source is None or self.degree > 0 else source.expand_as(images)
        ancestral = rng if self.sampler == DDPM else None
        drawn = self.network.draw(images, who, noise, self.degree, self.guidance, self.steps, ancestral)
        if not bool(drawn.isfinite().all()):
            raise AnonymizationError("The network gave no image (NaN or infinite); the face was not changed.")
        return drawn
