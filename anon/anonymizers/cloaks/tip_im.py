"""Steps towards whichever of a few other people is soonest taken for the face: TIP-IM (Yang et al., ICCV 2021).

    for each target t   g_t <- mu g + grad of sum over m of |f_m(x + d) - z_m|^2 - |f_m(x + d) - z_mt|^2
                        d_t <- clip(d + a sqrt(D) g_t / |g_t|)
    keep the d_t of the largest gain, max over j of |f(x + d_t) - z|^2 - |f(x + d_t) - z_j|^2

The logarithm of the paper's gain changes no maximum. Its term of naturalness (a discrepancy between the batch and
unchanged pictures, weight gamma) is left out, as in its rows of gamma = 0: the budget bounds the change here, and no
picture depends on the batch that it is in.

    python evaluate.py method=cloak_tip_im
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor

from anon.anonymizers.cloaks.base import Cloak, Identities, slope
from anon.anonymizers.cloaks.photos import some
from anon.anonymizers.filters import check_count, check_positive
from anon.faces.contract import People
from anon.identity.encoder import Encoder
from anon.identity.policies import average

PHOTOS = 4  # of a target, whose average it is


class TIPIM(Cloak):
    """Targeted steps with momentum, the best of several targets at each.

    Args:
        recognizers, epsilon: see :class:`anon.anonymizers.cloaks.base.Cloak`.
        data: whose training people are the targets.
        steps: how many.
        step: length of each, as a share of epsilon over the steps; its L2 norm is that of such a change at every pixel.
        momentum: mu.
        targets: people; each costs a gradient and a pass a step.
    """

    _handles = ("_wanted",)  # follows from the faces and the recognizers

    def __init__(
        self,
        recognizers: Mapping[str, Encoder | None],
        data: object,
        epsilon: float,
        steps: int = 10,
        step: float = 1.5,
        momentum: float = 1.0,
        targets: int = 3,
    ) -> None:
        super().__init__(recognizers, epsilon)
        self.steps = check_count(steps, "The number of steps")
        self.step = check_positive(step, "The length of a step, a share of epsilon over the steps,")
        self.momentum = check_positive(momentum, "The momentum", 1.0)
        known = some(cast(People, data).faces("train"), check_count(targets, "The number of targets"), PHOTOS)
        self.register_buffer("faces", known.images, persistent=False)  # (T * 4, 3, H, W)
        self.register_buffer("people", known.labels, persistent=False)
        self._wanted: Identities | None = None

    def wanted(self) -> Identities:
        """The targets' identities (T, D) by every recognizer."""
        if self._wanted is None:
            found = self.identities(cast(Tensor, self.faces))
            self._wanted = tuple(average(z, cast(Tensor, self.people))[0] for z in found)
        return self._wanted

    def cloaked(self, images: Tensor, rng: torch.Generator | None) -> Tensor:
        own, wanted = self.identities(images), self.wanted()
        change = self.start(images, rng)
        way, best = torch.zeros_like(images), change
        length = self.step * self.epsilon / self.steps * images[0].numel() ** 0.5
        for _ in range(self.steps):
            most = images.new_full((len(images),), -torch.inf)
            last, here = way, images + change
            for target in range(len(wanted[0])):
                towards = tuple(z[target].expand_as(kept) for z, kept in zip(wanted, own, strict=True))
                gradient = slope(self.nearer, here, own, towards)
                found = self.momentum * last + gradient / gradient.abs().mean((1, 2, 3), keepdim=True).clamp_min(1e-12)
                norm = found.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1, 1)
                tried = self.within(images, change + length * found / norm)
                gain = self.gain(images + tried, own, wanted)
                better = (gain > most).view(-1, 1, 1, 1)
                most = torch.maximum(most, gain)
                way, best = torch.where(better, found, way), torch.where(better, tried, best)
            change = best
        return images + change

    def nearer(self, images: Tensor, own: Identities, towards: Identities) -> Tensor:
        """How much nearer to other identities than to their own the pictures (B, 3, H, W) are, (B,)."""
        return self.moved(images, own) - self.moved(images, towards)

    def gain(self, images: Tensor, own: Identities, wanted: Identities) -> Tensor:
        """How much nearer to the nearest target than to themselves the pictures (B, 3, H, W) are, (B,)."""
        gains = []
        for z, kept, others in zip(self.identities(images), own, wanted, strict=True):
            gains.append((z @ others.T) - (z * kept).sum(1, keepdim=True))  # half the difference of squared distances
        return torch.stack(gains).sum(0).amax(1)
