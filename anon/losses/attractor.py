"""The attractor and the repeller of Gafni, Wolf and Taigman (ICCV 2019): a perceptual loss with two signs.

A recognizer's low and middle maps of what is drawn are pulled to those of the target, its descriptor is pushed away
from the target's:

    L = sum over l of mean |f_l(X_c) - f_l(X_t)|  -  λ |I(X_c) - I(X_t)|_1

λ rises from 0 while the network learns to draw (``rise`` of :class:`anon.training.objective.Term`). Descriptors here
have unit norm, so that the second part has a least value and the training cannot run away from it; ``reach`` ends it
earlier.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anon.errors import UserError


def attraction(target: Sequence[Tensor], changed: Sequence[Tensor]) -> Tensor:
    """``sum over l of mean |f_l(X_c) - f_l(X_t)|`` of L pairs of maps (B, C_l, H_l, W_l).

    >>> attraction([torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 1, 1)], [torch.ones(1, 1, 2, 2), torch.ones(1, 1, 1, 1)])
    tensor(2.)
    """
    return torch.stack([F.l1_loss(c.float(), t.float()) for t, c in zip(target, changed, strict=True)]).sum()


def repulsion(z_target: Tensor, z: Tensor, reach: float = 2.0) -> Tensor:
    """Mean of ``relu(reach - |z - z_target|_1 / sqrt(D))`` over embeddings (B, D) of unit norm, in [0, reach].

    The distance is at most 2 (Cauchy and Schwarz), so that 2 is never reached: then it is -λ times the distance, as
    published, and a constant. Two people's embeddings, which are about orthogonal, are about 1.13 apart, the opposite
    one about 1.6: fleeing further than other people are leads to where negation finds the person again.

    >>> z = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    >>> repulsion(z, z).item(), repulsion(z, -z).item(), repulsion(z, -z, reach=0.5).item()  # |2| / sqrt(4) = 1
    (2.0, 1.0, 0.0)
    """
    return F.relu(reach - (z - z_target).abs().sum(1) / z.shape[1] ** 0.5).mean()


class Attraction(nn.Module):
    """:func:`attraction`, summed over what is drawn: the raw picture, the blended one, or both."""

    def forward(self, target: Sequence[Tensor], *changed: Sequence[Tensor]) -> Tensor:
        return torch.stack([attraction(target, maps) for maps in changed]).sum()


class Repulsion(nn.Module):
    """:func:`repulsion`, summed over what is drawn: the raw picture, the blended one, or both.

    Raises:
        UserError: ``reach`` is not above 0 and at most 2.
    """

    def __init__(self, reach: float = 2.0) -> None:
        super().__init__()
        if not 0.0 < reach <= 2.0:
            raise UserError(f"reach, the distance from which nothing repels, is above 0 and at most 2, not {reach}.")
        self.reach = float(reach)

    def forward(self, z_target: Tensor, *drawn: Tensor) -> Tensor:
        return torch.stack([repulsion(z_target, z, self.reach) for z in drawn]).sum()
