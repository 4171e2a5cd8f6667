"""IDeudemon as an anonymizer: a dial, the scale of the noise on the code of who it is.

The paper recommends .2 to .3, compares at .25, finds less than .2 too alike and more than .3 exaggerated (section
7.4.2 of the authors' book). Every picture gets noise of its own, so two pictures of a person become two people.

    python evaluate.py suite=table1 method=ideudemon
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from anon.anonymizers.composed import AnonymizationError
from anon.anonymizers.filters import needed
from anon.errors import UserError
from anon.faces.contract import check_images
from anon.generators.ideudemon import IDeudemon, noise_of
from anon.identity.contract import Draws, Given
from anon.identity.encoder import Encoder


class NoisedCode(nn.Module):
    """A trained network with its dial (:class:`anon.anonymizers.contract.AnonymizerLike`).

    Args:
        network: both steps.
        encoder: the recognizer of its identity loss, which judges it no more.
        scale: standard deviation of the noise, 0 to 1, where 3 deviations of people are 1.
        albedo: whether skin, lips and irises take noise as well; the paper leaves them.

    Raises:
        UserError: a scale outside of its range.
    """

    name = "IDeudemon"

    def __init__(self, network: IDeudemon, encoder: Encoder, scale: float = 0.25, albedo: bool = False) -> None:
        super().__init__()
        if isinstance(scale, bool) or not isinstance(scale, int | float) or not 0 <= scale <= 1:
            raise UserError(f"The scale of IDeudemon's noise must be a number from 0 to 1: {scale!r}.")
        self.network, self.scale, self.albedo = network.eval(), float(scale), bool(albedo)
        self.recognizers = nn.ModuleDict({encoder.name: encoder})  # it conditions nothing

    def forward(
        self, images: Tensor, *, source: Given = None, key: Given = None, track: Given = None, rng: Draws = None
    ) -> Tensor:
        """Faces (B, 3, H, W) in [-1, 1], framed as rendered ones -> changed faces, the same form.

        Raises:
            ValueError: images that break the contract.
            UserError: no ``rng``, or pictures that are no squares which the networks can halve.
            AnonymizationError: the network gave no picture.
        """
        rng = needed(rng, check_images(images))
        scale = torch.full((len(images),), self.scale, device=rng.device)
        drawn = self.network(images, noise_of(scale, rng, self.albedo).to(images))
        if not bool(drawn.isfinite().all()):
            raise AnonymizationError("The network gave no image (NaN or infinite); the face was not changed.")
        return drawn.clamp(-1.0, 1.0)
