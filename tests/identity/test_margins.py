"""Margin heads against logits worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from anon.identity.margins import ArcFace, CosFace, arcface_logits, cosface_logits


def test_arcface_adds_the_margin_to_the_own_angle_only():
    # cos 60 degrees with a margin of 30 degrees becomes cos 90 degrees = 0; the other classes keep their cosine.
    cosine = torch.tensor([[0.5, 0.2, -0.3]])
    logits = arcface_logits(cosine, torch.tensor([0]), s=10.0, m=math.radians(30))
    torch.testing.assert_close(logits, torch.tensor([[0.0, 2.0, -3.0]]), atol=1e-5, rtol=0)


def test_arcface_keeps_falling_past_pi():
    # m = 90 degrees: past 90 degrees theta + m passes pi, and cos(theta) - m sin(pi - m) = cos(theta) - pi / 2 follows.
    cosine = torch.tensor([[-0.5], [-1.0]])
    logits = arcface_logits(cosine, torch.tensor([0, 0]), s=1.0, m=math.pi / 2)
    torch.testing.assert_close(logits, torch.tensor([[-0.5 - math.pi / 2], [-1.0 - math.pi / 2]]))


def test_cosface_subtracts_the_margin_from_the_own_cosine_only():
    cosine = torch.tensor([[0.5, 0.2], [0.1, 0.9]])
    logits = cosface_logits(cosine, torch.tensor([0, 1]), s=10.0, m=0.4)
    torch.testing.assert_close(logits, torch.tensor([[1.0, 2.0], [1.0, 5.0]]))


@pytest.mark.parametrize("build", [ArcFace, CosFace])
def test_heads_ignore_lengths_and_learn(build):
    head = build(2, 2, s=1.0, m=0.0)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[3.0, 0.0], [0.0, 0.2]]))
    z = torch.tensor([[6.0, 8.0]], requires_grad=True)  # cosines .6 and .8 whatever the lengths
    logits = head(z, torch.tensor([0]))
    torch.testing.assert_close(logits, torch.tensor([[0.6, 0.8]]), atol=1e-5, rtol=0)
    logits.sum().backward()
    assert bool(torch.isfinite(z.grad).all()) and head.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("cosine", [1.0, -1.0])
def test_arcface_has_a_finite_gradient_at_the_poles(cosine):
    x = torch.tensor([[cosine]], requires_grad=True)
    arcface_logits(x, torch.tensor([0])).sum().backward()
    assert bool(torch.isfinite(x.grad).all())
