"""Losses of first-order motion: of detectors whose answer is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from anon.generators.first_order.keypoints import Keypoints, grid_of
from anon.losses.motion import equivariance, jacobian_equivariance, landmark_flow, pyramid
from anon.training.deformations import Deformation


def blobs(place: tuple[float, float], side: int = 33) -> Tensor:
    """A soft white spot at x, y, (1, 1, side, side)."""
    apart = grid_of(side, side, torch.zeros(())) - torch.tensor(place)
    return (-apart.square().sum(-1) / 0.02).exp()[None, None]


def brightest(images: Tensor) -> Tensor:
    """The mean place of what is bright, (B, 1, 2): a detector that a shift moves as the picture."""
    grid = grid_of(*images.shape[-2:], images)
    weight = images[:, 0] / images.sum((1, 2, 3))[:, None, None]
    return (weight[..., None] * grid).sum((1, 2))[:, None]


def shifted(by: tuple[float, float]) -> Deformation:
    theta = torch.eye(2, 3)[None].clone()
    theta[0, :, 2] = torch.tensor(by)
    return Deformation(theta, torch.zeros(1, 2), torch.zeros(1, 1, 2))


def test_equivariance_is_nothing_for_a_detector_that_is_and_the_shift_for_one_that_is_not() -> None:
    picture, deformation = blobs((0.2, -0.1)), shifted((0.1, 0.3))
    own, deformed = brightest(picture), brightest(deformation.picture(picture))
    torch.testing.assert_close(own - deformed, torch.tensor([[[0.1, 0.3]]]), atol=1e-3, rtol=0)
    assert float(equivariance(own, deformation.at(deformed))) < 1e-3
    still = torch.zeros(1, 1, 2)  # a detector that says the same of every picture
    assert float(equivariance(still, deformation.at(still))) == pytest.approx(0.2)


def test_jacobians_that_turn_with_the_picture_cost_nothing() -> None:
    rng = torch.Generator().manual_seed(0)
    deformation = Deformation.drawn(2, rng, 0.2, 0.01)
    deformed = Keypoints(
        torch.rand(2, 3, 2, generator=rng) - 0.5, torch.eye(2) + 0.1 * torch.randn(2, 3, 2, 2, generator=rng)
    )
    turn = deformation.turn(deformed.value)
    right = Keypoints(deformation.at(deformed.value), turn @ deformed.jacobian)
    assert float(jacobian_equivariance(right, deformed, turn)) < 1e-5
    assert float(jacobian_equivariance(deformed, deformed, turn)) > 0.02
    twice = Keypoints(right.value, right.jacobian / 2)  # 1 - 2: the diagonal is off by one
    assert float(jacobian_equivariance(twice, deformed, turn)) == pytest.approx(0.5, abs=1e-4)


def test_a_pyramid_sees_coarse_differences_at_every_size_and_fine_ones_at_one() -> None:
    truth = torch.zeros(1, 3, 8, 8)
    checks = ((torch.arange(8)[:, None] + torch.arange(8)) % 2 * 2 - 1).float().expand(1, 3, 8, 8)
    assert float(pyramid(truth + 0.5, truth, 4)) == pytest.approx(2.0)
    assert float(pyramid(checks, truth, 4)) == pytest.approx(1.0)  # a mean of 0 at a half and below


def test_a_flow_that_takes_points_where_they_were_misses_nothing() -> None:
    """The result shows at z what the source had at z + (.5, 0): a point that was at .5 is at 0."""
    flow = (grid_of(9, 9, torch.zeros(())) + torch.tensor([0.5, 0.0]))[None]
    after = torch.tensor([[[0.0, 0.0], [-0.3, 0.4]]])
    before = after + torch.tensor([0.5, 0.0])
    torch.testing.assert_close(landmark_flow(flow, before, after), torch.zeros(1, 2), atol=1e-5, rtol=0)
    missed = landmark_flow(flow, before + torch.tensor([0.3, 0.4]), after)
    torch.testing.assert_close(missed, torch.full((1, 2), 0.5))
