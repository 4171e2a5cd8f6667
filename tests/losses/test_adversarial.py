"""GAN losses and R1 by hand."""

from __future__ import annotations

import math

import pytest
import torch

from anon.losses.adversarial import NonSaturating, discriminator_loss, generator_loss, r1_penalty


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
