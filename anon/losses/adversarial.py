"""The non-saturating GAN loss (Goodfellow et al., 2014), the hinge loss (Lim and Ye, 2017) and the R1 penalty
(Mescheder et al., ICML 2018, eq. 9); the Wasserstein critic's loss and gradient penalty (Gulrajani et al., NeurIPS
2017, eq. 3), with DeepPrivacy's variants.

Logits are (B,), or (B, N) for N patches, positive for real.
"""

from __future__ import annotations

from collections.abc import Callable

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


def wasserstein_critic(real: Tensor, fake: Tensor, drift: float = 0.0) -> Tensor:
    """Mean of D(fake) minus mean of D(real), plus ``drift`` times that of D(real)² (Karras et al., ICLR 2018).

    >>> wasserstein_critic(torch.tensor([2.0, 0.0]), torch.tensor([-3.0, 0.5]), drift=0.5).item()
    -1.25
    """
    return fake.mean() - real.mean() + drift * real.square().mean()


def gradient_penalty(
    critic: Callable[[Tensor], Tensor],
    real: Tensor,
    fake: Tensor,
    share: Tensor,
    hole: Tensor | None = None,
    one_sided: bool = False,
) -> Tensor:
    """``E (||∇_x D(x)|| - 1)²`` between real and fake, differentiable in the critic's weights.

    A linear critic with weights w has the penalty ``(||w|| - 1)²``.

    Args:
        critic: images (B, 3, H, W) -> logits.
        real, fake: images of one form.
        share: (B,) in [0, 1], how far from ``real`` to ``fake`` x is.
        hole: (1 or B, 1, H, W): only there the gradient counts (DeepPrivacy's code); None: everywhere.
        one_sided: ``relu(||∇|| - 1)`` in the place of the square (DeepPrivacy's code; Petzka et al., ICLR 2018).
    """
    x = torch.lerp(real.detach(), fake.detach(), share[:, None, None, None]).requires_grad_(True)
    (slope,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    slope = slope.float() if hole is None else slope.float() * hole
    over = (slope.square().flatten(1).sum(1) + 1e-12).sqrt() - 1.0
    return (F.relu(over) if one_sided else over.square()).mean()


class NonSaturating(nn.Module):
    """:func:`generator_loss`, the mean over all the logits that it is given."""

    def forward(self, *fake: Tensor) -> Tensor:
        return generator_loss(torch.cat(fake))


class LeastSquares(nn.Module):
    """The generator's side of LSGAN: mean of (D(fake) - 1)² over all logits."""

    def forward(self, *fake: Tensor) -> Tensor:
        return (torch.cat(fake) - 1.0).square().mean()


class LeastSquaresCritic(nn.Module):
    """Mean of (D(real) - 1)² plus mean of D(fake)² (Mao et al., ICCV 2017, eq. 9 with a = 0, b = c = 1)."""

    def forward(self, real: Tensor, fake: Tensor) -> Tensor:
        return (real - 1.0).square().mean() + fake.square().mean()


class Hinge(nn.Module):
    """The generator's side of the hinge loss: minus the mean of all logits."""

    def forward(self, *fake: Tensor) -> Tensor:
        return -torch.cat(fake).mean()


class HingeCritic(nn.Module):
    """:func:`hinge_critic`."""

    def forward(self, real: Tensor, fake: Tensor) -> Tensor:
        return hinge_critic(real, fake)


class DriftingCritic(nn.Module):
    """:func:`discriminator_loss` plus ``drift`` times the mean of D(real)², as DeepPrivacy2: logits stay near 0."""

    def __init__(self, drift: float = 0.001) -> None:
        super().__init__()
        self.drift = drift

    def forward(self, real: Tensor, fake: Tensor) -> Tensor:
        return discriminator_loss(real, fake) + self.drift * real.square().mean()


class WassersteinCritic(nn.Module):
    """:func:`wasserstein_critic`; its generator's side is :class:`Hinge`'s, minus the mean."""

    def __init__(self, drift: float = 0.001) -> None:
        super().__init__()
        self.drift = drift

    def forward(self, real: Tensor, fake: Tensor) -> Tensor:
        return wasserstein_critic(real, fake, self.drift)


class GradientPenalty(nn.Module):
    """:func:`gradient_penalty` times ``weight``."""

    def __init__(self, weight: float = 10.0, one_sided: bool = False) -> None:
        super().__init__()
        self.weight, self.one_sided = weight, one_sided

    def forward(
        self,
        critic: Callable[[Tensor], Tensor],
        real: Tensor,
        fake: Tensor,
        share: Tensor,
        hole: Tensor | None = None,
    ) -> Tensor:
        return self.weight * gradient_penalty(critic, real, fake, share, hole, self.one_sided)
