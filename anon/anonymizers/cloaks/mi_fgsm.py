"""Gradient steps with momentum, which carry over to other recognizers better (Dong et al., CVPR 2018, eqs. 6 and 7).

g <- mu g + grad / mean |grad|        d <- clip(d + a sign(g), -epsilon, epsilon)

python evaluate.py method=cloak_mi_fgsm
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from anon.anonymizers.cloaks.pgd import PGD
from anon.anonymizers.filters import check_positive
from anon.identity.encoder import Encoder


class MIFGSM(PGD):
    """PGD's steps along the running sum of gradients of equal size.

    Args:
        recognizers, epsilon, steps, step: see :class:`anon.anonymizers.cloaks.pgd.PGD`.
        momentum: mu, what is left of the sum at each step.
    """

    def __init__(
        self,
        recognizers: Mapping[str, Encoder | None],
        epsilon: float,
        steps: int = 10,
        step: float = 0.1,
        momentum: float = 1.0,
    ) -> None:
        super().__init__(recognizers, epsilon, steps, step)
        self.momentum = check_positive(momentum, "The momentum", 1.0)

    def follow(self, way: Tensor, gradient: Tensor) -> Tensor:
        size = gradient.abs().mean((1, 2, 3), keepdim=True).clamp_min(1e-12)  # of each picture
        return self.momentum * way + gradient / size
