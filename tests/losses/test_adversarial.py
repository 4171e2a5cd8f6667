"""GAN losses and R1 by hand."""

from __future__ import annotations

import math

import pytest
import torch

from anon.losses.adversarial import (
    DriftingCritic,
    GradientPenalty,
    LeastSquares,
    LeastSquaresCritic,
    NonSaturating,
    WassersteinCritic,
    discriminator_loss,
    generator_loss,
    gradient_penalty,
    r1_penalty,
)


def test_undecided() -> None:
    zeros = torch.zeros(3)
    assert generator_loss(zeros).item() == pytest.approx(math.log(2))
    assert discriminator_loss(zeros, zeros).item() == pytest.approx(2 * math.log(2))


def test_logits_of_log_three() -> None:
    logit = torch.tensor([math.log(3.0)])  # sigmoid 3/4
    assert generator_loss(logit).item() == pytest.approx(math.log(4 / 3))
    assert discriminator_loss(logit, -logit).item() == pytest.approx(2 * math.log(4 / 3))
    assert discriminator_loss(-logit, logit).item() == pytest.approx(2 * math.log(4))


def test_non_saturating_is_the_mean_of_all_pictures() -> None:
    logit = torch.tensor([math.log(3.0)])
    assert NonSaturating()(logit, -logit).item() == pytest.approx((math.log(4 / 3) + math.log(4)) / 2)


@pytest.mark.parametrize("gamma", [1.0, 10.0])
def test_r1_of_a_linear_critic(gamma: float) -> None:
    weight = torch.tensor([1.0, -2.0, 0.5] * 4).view(1, 3, 2, 2).requires_grad_()
    real = torch.randn(5, 3, 2, 2).requires_grad_()
    penalty = r1_penalty((real * weight).flatten(1).sum(1), real, gamma)
    assert penalty.item() == pytest.approx(gamma / 2 * 4 * (1 + 4 + 0.25))
    penalty.backward()
    torch.testing.assert_close(weight.grad, gamma * weight.detach())


def test_r1_of_a_square_critic() -> None:
    real = torch.tensor([[1.0], [3.0]]).view(2, 1, 1, 1).requires_grad_()
    # D(x) = x², slope 2x: mean of 4 and 36 is 20
    assert r1_penalty(real.square().flatten(1).sum(1), real, 2.0).item() == pytest.approx(20.0)


def test_least_squares_by_hand() -> None:
    real, fake = torch.tensor([3.0, 1.0]), torch.tensor([0.0, -2.0])
    assert LeastSquaresCritic()(real, fake).item() == pytest.approx((4 + 0) / 2 + (0 + 4) / 2)
    assert LeastSquares()(fake).item() == pytest.approx((1 + 9) / 2)


def test_wasserstein_by_hand() -> None:
    real, fake = torch.tensor([3.0, 1.0]), torch.tensor([0.0, -2.0])
    assert WassersteinCritic(drift=0.0)(real, fake).item() == pytest.approx(-1.0 - 2.0)
    assert WassersteinCritic(drift=0.1)(real, fake).item() == pytest.approx(-3.0 + 0.1 * 5.0)
    assert DriftingCritic(drift=0.1)(real, -real).item() == pytest.approx(
        discriminator_loss(real, -real).item() + 0.5, abs=1e-6
    )


@pytest.mark.parametrize(("one_sided", "wanted"), [(False, (3.0 - 1) ** 2), (True, 3.0 - 1)])
def test_gradient_penalty_of_a_linear_critic(one_sided: bool, wanted: float) -> None:
    """The slope (2, 2, 1) of three values is 3 long, wherever it is taken."""
    weight = torch.tensor([2.0, 2.0, 1.0]).view(1, 3, 1, 1).requires_grad_()
    real, fake, share = torch.randn(4, 3, 1, 1), torch.randn(4, 3, 1, 1), torch.rand(4)
    penalty = GradientPenalty(10.0, one_sided)(lambda x: (x * weight).flatten(1).sum(1), real, fake, share)
    assert penalty.item() == pytest.approx(10 * wanted)
    penalty.backward()
    slope = weight.detach() / 3.0 * (1.0 if one_sided else 2.0 * (3.0 - 1.0))
    torch.testing.assert_close(weight.grad, 10 * slope)


def test_gradient_penalty_between_real_and_fake_and_in_the_hole() -> None:
    """D(x) = x²/2 has the slope x: a quarter of the way from 0 to 8 it is 2; only the first pixel counts."""
    real, fake, share = torch.zeros(1, 1, 1, 2), torch.full((1, 1, 1, 2), 8.0), torch.tensor([0.25])
    hole = torch.tensor([True, False]).view(1, 1, 1, 2)
    found = gradient_penalty(lambda x: 0.5 * x.square().flatten(1).sum(1), real, fake, share, hole)
    assert found.item() == pytest.approx((2 - 1) ** 2)
    flat = gradient_penalty(lambda x: 0.1 * x.flatten(1).sum(1), real, fake, share, hole, one_sided=True)
    assert flat.item() == 0.0  # a slope below 1 is no fault
