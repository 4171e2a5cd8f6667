"""One mask for everybody: the feature iterative universal perturbation (FI-UAP; Zhong & Deng, IEEE TPAMI 2022, OPOM).

    d <- clip(d + a sign(mean over i of grad of sum over m of 1 - cos(f_m(x_i + d), f_m(x_i))), -epsilon, epsilon)

It is fitted once, on training people, and added to whomever: no gradient is needed where a picture is cloaked.

    python evaluate.py method=cloak_universal
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from anon.anonymizers.cloaks.base import AT_ONCE, Cloak, slope
from anon.anonymizers.cloaks.photos import some
from anon.anonymizers.filters import check_count, check_positive
from anon.faces.contract import People
from anon.identity.encoder import Encoder


class Universal(Cloak):
    """The mask of training people's pictures, on every picture.

    Args:
        recognizers, epsilon: see :class:`anon.anonymizers.cloaks.base.Cloak`.
        data: whose training people it is fitted on.
        people: how many of them.
        photos: of each, at most.
        rounds: through all pictures, in batches of 64, a step each.
        step: length of each, as a share of epsilon.
    """

    _handles = ("_mask",)  # follows from the faces

    def __init__(
        self,
        recognizers: Mapping[str, Encoder | None],
        data: object,
        epsilon: float,
        people: int = 128,
        photos: int = 2,
        rounds: int = 4,
        step: float = 0.125,
    ) -> None:
        super().__init__(recognizers, epsilon)
        self.rounds = check_count(rounds, "The number of rounds")
        self.step = check_positive(step, "The length of a step, a share of epsilon,", 2.0)
        chosen = (check_count(people, "The number of people"), check_count(photos, "The number of photos of a person"))
        known = some(cast(People, data).faces("train"), *chosen)
        self.register_buffer("faces", known.images, persistent=False)
        self.register_buffer("labels", known.labels, persistent=False)
        self._mask: Tensor | None = None

    def __deepcopy__(self, memo: dict[int, object]) -> Universal:
        """It remembers nobody whom it changes; the mask is fitted once."""
        return self

    def fit(self, images: Tensor, identities: Tensor | None = None) -> Tensor:
        """The mask (3, H, W) of pictures (N, 3, H, W); whose they are does not matter to it."""
        with torch.inference_mode(False), torch.no_grad():
            draw = torch.rand(images.shape[1:], generator=torch.Generator().manual_seed(0)).to(images)
            mask = self.epsilon * torch.where(draw < 0.5, -1.0, 1.0)
            parts = images.clone().split(AT_ONCE)
            own = [self.identities(part) for part in parts]
            for _ in range(self.rounds):
                for part, z in zip(parts, own, strict=True):
                    uphill = slope(self.moved, (part + mask).clamp(-1, 1), z).mean(0)
                    mask = (mask + self.step * self.epsilon * uphill.sign()).clamp(-self.epsilon, self.epsilon)
        return mask

    def cloaked(self, images: Tensor, rng: torch.Generator | None) -> Tensor:
        if self._mask is None:
            self._mask = self.fit(cast(Tensor, self.faces))
        mask = self._mask.to(images)[None]
        if mask.shape[-2:] != images.shape[-2:]:
            mask = F.interpolate(mask, images.shape[-2:], mode="bilinear", align_corners=False)
        return images + self.within(images, mask.expand_as(images))
