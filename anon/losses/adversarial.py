"""The non-saturating GAN loss (Goodfellow et al., 2014), the hinge loss (Lim and Ye, 2017) and the R1 penalty
(Mescheder et al., ICML 2018, eq. 9).

Logits are (B,), or (B, N) for N patches, positive for real.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def generator_loss(fake: Tensor) -> Tensor:
    """Mean of ``-log sigmoid(D(fake))``; log 2 for an undecided discriminator."""
    return F.softplus(-fake).mean()


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Mean of ``-log sigmoid(D(real))`` plus mean of ``-log(1 - sigmoid(D(fake)))``."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def hinge_critic(real: Tensor, fake: Tensor) -> Tensor:
    """The discriminator's hinge loss, mean of ``relu(1 - D(real))`` plus mean of ``relu(1 + D(fake))``.

    >>> hinge_critic(torch.tensor([2.0, 0.0]), torch.tensor([-3.0, 0.5])).item()
    1.25
    """
    return F.relu(1.0 - real).mean() + F.relu(1.0 + fake).mean()


def r1_penalty(logits: Tensor, real: Tensor, gamma: float) -> Tensor:
    """``gamma / 2 · E ||∇_x D(x)||²``, differentiable in the discriminator's weights.

    A linear critic with weights w has the penalty ``gamma / 2 · ||w||²``.

    Args:
        logits: D(real) (B,), so that the pass serves the adversarial loss too.
        real: real images (B, 3, H, W) that require a gradient.
    """
    (slope,) = torch.autograd.grad(logits.sum(), real, create_graph=True)
    return 0.5 * gamma * slope.float().square().flatten(1).sum(1).mean()


class NonSaturating(nn.Module):
    """:func:`generator_loss`, the mean over all the logits that it is given."""

    def forward(self, *fake: Tensor) -> Tensor:
        return generator_loss(torch.cat(fake))


class Hinge(nn.Module):
    """The generator's side of the hinge loss: minus the mean of all logits."""

    def forward(self, *fake: Tensor) -> Tensor:
        return -torch.cat(fake).mean()


class HingeCritic(nn.Module):
    """:func:`hinge_critic`."""

    def forward(self, real: Tensor, fake: Tensor) -> Tensor:
        return hinge_critic(real, fake)
