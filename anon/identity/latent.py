"""Who a face shall seem to be, drawn at random, whoever it is: what generators that inpaint are conditioned on."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anon.errors import UserError
from anon.identity.contract import Draws, Given


class RandomIdentity(nn.Module):
    """``z_a`` uniform on the sphere, whatever z is; times sqrt(D) nearly the normal latent of DeepPrivacy and its kin.

    With ``track`` one draw a track of a video, a function of ``seed`` and the track's number alone (DeepPrivacy2: the
    seed of a track's latent is drawn once; its code's ``--track``). Without, one for each face. Within the tracker
    (:class:`anon.identity.tracking.IdentityTracker`) one for each person.

    Args:
        seed: of the tracks' latents.
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.seed = seed

    def forward(
        self, z: Tensor, *, source: Given = None, key: Given = None, track: Given = None, rng: Draws = None
    ) -> Tensor:
        """z (B, D), of which nothing but its form is read -> (B, D) unit vectors.

        Raises:
            UserError: neither tracks nor an ``rng``.
        """
        if track is not None:
            return torch.stack([self._of_track(int(number), z) for number in track.tolist()])
        if rng is None:
            raise UserError("The policy 'random' needs rng, a torch.Generator, or the faces' tracks.")
        return F.normalize(torch.randn(z.shape, generator=rng, device=rng.device).to(z))

    def _of_track(self, number: int, z: Tensor) -> Tensor:
        drawn = np.random.default_rng((self.seed, number % 2**63)).standard_normal(z.shape[1])
        return F.normalize(torch.from_numpy(drawn), dim=0).to(z)
