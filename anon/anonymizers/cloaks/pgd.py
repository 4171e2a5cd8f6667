"""Projected gradient steps away from the own identity (Madry et al., ICLR 2018, section 2.1).

d <- clip(d + a sign(grad of sum over m of 1 - cos(f_m(x + d), f_m(x))), -epsilon, epsilon)

python evaluate.py method=cloak_pgd
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from anon.anonymizers.cloaks.base import Cloak, Identities, slope
from anon.anonymizers.filters import check_count, check_positive
from anon.identity.encoder import Encoder


class PGD(Cloak):
    """Steps from a random point of the ball; the last one is taken. Kinds of it see the picture or follow otherwise.

    Args:
        recognizers, epsilon: see :class:`anon.anonymizers.cloaks.base.Cloak`.
        steps: how many.
        step: length of each, as a share of epsilon.
    """

    def __init__(
        self, recognizers: Mapping[str, Encoder | None], epsilon: float, steps: int = 10, step: float = 0.1
    ) -> None:
        super().__init__(recognizers, epsilon)
        self.steps = check_count(steps, "The number of steps")
        self.step = check_positive(step, "The length of a step, a share of epsilon,", 2.0)

    def cloaked(self, images: Tensor, rng: torch.Generator | None) -> Tensor:
        own, change = self.identities(images), self.start(images, rng)
        way = torch.zeros_like(images)
        for _ in range(self.steps):
            way = self.follow(way, slope(self.gain, images + change, own, rng))
            change = self.within(images, change + self.step * self.epsilon * way.sign())
        return images + change

    def gain(self, images: Tensor, own: Identities, rng: torch.Generator | None) -> Tensor:
        """What is ascended, (B,): how far the pictures (B, 3, H, W) are from their own identities."""
        return self.moved(images, own)

    def follow(self, way: Tensor, gradient: Tensor) -> Tensor:
        """The way (B, 3, H, W) of the next step, by the last one's and the gradient: here the gradient alone."""
        return gradient
