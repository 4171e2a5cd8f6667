"""The attractor, the repeller and the losses on edges against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from anon.errors import UserError
from anon.losses.attractor import Attraction, Repulsion, attraction, repulsion
from anon.losses.edges import EdgeL1, Roughness, edge_l1, roughness


def test_maps_are_attracted_by_their_mean_differences() -> None:
    target = [torch.zeros(2, 1, 2, 2), torch.ones(2, 3, 1, 1)]
    changed = [torch.full((2, 1, 2, 2), 3.0), torch.full((2, 3, 1, 1), 0.5)]
    assert attraction(target, changed).item() == 3.5  # 3 + 1/2
    assert Attraction()(target, changed, target).item() == 3.5  # the second picture drawn is the target itself


def test_descriptors_are_repelled() -> None:
    """In four dimensions: the same one, one at a right angle, |1| + |1| over 2, and the opposite one, |2| over 2."""
    one, other = torch.eye(4)[:1], torch.eye(4)[1:2]
    assert [repulsion(one, z).item() for z in (one, other, -one)] == [2.0, 1.0, 1.0]
    assert repulsion(one.expand(2, 4), torch.cat((one, other)), reach=1.5).item() == 1.0  # (1.5 + 0.5) / 2
    assert Repulsion(1.0)(one, other, one).item() == 1.0  # at its reach the first repels no more


def test_the_distance_is_at_most_two_and_people_are_thirteen_twelfths_apart() -> None:
    rng = torch.Generator().manual_seed(0)
    z, other = (F.normalize(torch.randn(2000, 256, generator=rng)) for _ in range(2))
    assert 2.0 - repulsion(z, other).item() == pytest.approx(math.sqrt(2) * math.sqrt(2 / math.pi), abs=0.01)  # 1.128
    flat = torch.full((1, 256), 1 / 16)
    assert repulsion(flat, -flat).item() == 0.0


def test_it_pushes_away_and_ends_at_its_reach() -> None:
    z = F.normalize(torch.randn(1, 8, generator=torch.Generator().manual_seed(1)))
    near = (z + 0.01 * torch.ones(1, 8)).requires_grad_()
    repulsion(z, near).backward()
    assert bool((near.grad * (near - z) < 0).all())  # descending goes further away
    far = (-z).requires_grad_()
    repulsion(z, far, reach=0.5).backward()
    assert float(far.grad.abs().sum()) == 0.0


@pytest.mark.parametrize("reach", [0.0, -1.0, 2.1])
def test_a_reach_that_cannot_be(reach: float) -> None:
    with pytest.raises(UserError, match="above 0 and at most 2"):
        Repulsion(reach)


def test_edges() -> None:
    """Two rows 0, 1, 3: across 1 and 2, mean 1.5; down nothing. Against its double the same again."""
    ramp = torch.tensor([[[[0.0, 1.0, 3.0], [0.0, 1.0, 3.0]]]])
    assert roughness(ramp).item() == 1.5 and Roughness()(ramp).item() == 1.5
    assert edge_l1(2 * ramp, ramp).item() == 1.5 and edge_l1(ramp + 5.0, ramp).item() == 0.0
    assert EdgeL1()(ramp, 2 * ramp, ramp, 3 * ramp).item() == 4.5  # 1.5 + 0 + 3
