"""Random deformations: their derivative, and what they do to a picture."""

from __future__ import annotations

import torch

from anon.training.deformations import Deformation


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_the_derivative_is_that_of_differences() -> None:
    made = Deformation(*(each.double() for each in Deformation.drawn(3, rng(), 0.1, 0.02)))
    points = torch.rand(3, 7, 2, generator=rng(), dtype=torch.float64) * 2 - 1
    step = 1e-6 * torch.eye(2, dtype=torch.float64)
    columns = [(made.at(points + each) - made.at(points - each)) / 2e-6 for each in step]
    torch.testing.assert_close(made.turn(points), torch.stack(columns, -1), atol=1e-7, rtol=0)


def test_without_deviations_nothing_is_deformed_and_draws_are_the_generators() -> None:
    images = torch.rand(2, 3, 8, 8, generator=rng())
    torch.testing.assert_close(Deformation.drawn(2, rng(), 0.0, 0.0).picture(images), images)
    first, again = (Deformation.drawn(2, rng(), 0.1, 0.1) for _ in range(2))
    assert torch.equal(first.affine, again.affine) and torch.equal(first.weights, again.weights)
    assert not torch.equal(first.affine[0], first.affine[1])


def test_a_picture_shows_what_was_where_the_deformation_goes() -> None:
    """A step of two pixels of nine to the right: the columns come two to the left."""
    images = torch.arange(9.0).expand(1, 1, 9, 9)
    theta = torch.tensor([[[1.0, 0.0, 0.5], [0.0, 1.0, 0.0]]])
    shown = Deformation(theta, torch.zeros(1, 2), torch.zeros(1, 1, 2)).picture(images)
    torch.testing.assert_close(shown[0, 0, 0], torch.tensor([2.0, 3, 4, 5, 6, 7, 8, 8, 8]))
