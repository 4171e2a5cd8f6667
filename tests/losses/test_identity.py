"""Identity losses against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from anon.losses.identity import CounterfactualCosine, cosine_loss, counterfactual_cosine

UP, RIGHT = torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 0.0]])


@pytest.mark.parametrize(("z", "loss"), [(UP, 0.0), (RIGHT, 1.0), (-UP, 2.0)])
def test_cosine_loss(z: torch.Tensor, loss: float) -> None:
    assert cosine_loss(z, UP).item() == pytest.approx(loss)


@pytest.mark.parametrize(
    ("raw", "blended", "loss"), [(UP, UP, 4.0), (-UP, -UP, 0.0), (RIGHT, RIGHT, 2.0), (-UP, RIGHT, 1.0)]
)
def test_counterfactual_cosine_is_equation_4(raw: torch.Tensor, blended: torch.Tensor, loss: float) -> None:
    assert CounterfactualCosine()(UP, raw, blended).item() == pytest.approx(loss)


def test_counterfactual_cosine_is_the_mean_of_the_batch() -> None:
    slanted = torch.tensor([[math.sin(math.radians(60)), 0.5]])  # 60 degrees off: cosine 0.5
    target = torch.cat((UP, UP))
    # faces: 2 + 0.5 + 1 = 3.5 and 2 + 0 - 1 = 1
    loss = counterfactual_cosine(target, torch.cat((slanted, RIGHT)), torch.cat((UP, -UP)))
    assert loss.item() == pytest.approx(2.25)


def test_gradient_pushes_away_from_the_target() -> None:
    z = torch.tensor([[0.6, 0.8]], requires_grad=True)
    counterfactual_cosine(UP, z, UP).backward()
    # d cos / dz = (u - cos·z) / |z| = (0, 1) - 0.8·(0.6, 0.8) = (-0.48, 0.36)
    assert z.grad is not None
    torch.testing.assert_close(z.grad, torch.tensor([[-0.48, 0.36]]))
