from __future__ import annotations

import math

import pytest
import torch

from anon.errors import UserError
from anon.identity.policies import (
    AnchorSampling,
    Negation,
    OwnEmbedding,
    SourceIdentity,
    anchor_space,
    average,
    slerp,
)


def at(*degrees: float) -> torch.Tensor:
    """Unit vectors of the plane at these angles."""
    angle = torch.deg2rad(torch.tensor(degrees))
    return torch.stack([angle.cos(), angle.sin()], 1)


def test_own_negation_and_source():
    z, source = at(0, 90), at(45)
    assert torch.equal(OwnEmbedding()(z), z)
    assert torch.equal(Negation()(z), -z)
    assert torch.equal(SourceIdentity()(z, source=source), source.repeat(2, 1))
    with pytest.raises(UserError, match="source images"):
        SourceIdentity()(z)


@pytest.mark.parametrize(("t", "degrees"), [(0.0, 10.0), (0.5, 40.0), (0.25, 25.0), (1.0, 70.0)])
def test_slerp_moves_at_constant_speed(t, degrees):
    torch.testing.assert_close(slerp(at(10), at(70), t), at(degrees))


def test_slerp_of_parallel_and_opposite_vectors():
    a = at(30)
    torch.testing.assert_close(slerp(a, a, 0.3), a)
    torch.testing.assert_close(slerp(a, -a, 1.0), -a)
    middle = slerp(a, -a, 0.5)
    assert abs(float((middle * a).sum())) < 1e-6
    assert math.isclose(float(middle.norm()), 1.0, rel_tol=1e-6)


def test_slerp_of_almost_parallel_vectors_keeps_precision():
    a, b = at(0).double(), torch.tensor([[math.cos(1e-5), math.sin(1e-5)]], dtype=torch.float64)
    torch.testing.assert_close(slerp(a, b, 0.5)[0, 1], torch.tensor(math.sin(5e-6), dtype=torch.float64))


def test_both_readings_of_equation_1():
    """z at 0°; anchors at 60° (cos .5), 120° (-.5), 90° (0), 30° (.87)."""
    z, anchors = at(0), at(60, 120, 90, 30)
    assert int(AnchorSampling(anchors, m=0.5).choose(z)) == 0
    assert int(AnchorSampling(anchors, m=-0.5).choose(z)) == 1
    assert int(AnchorSampling(anchors, m=0.0).choose(z)) == 2
    assert int(AnchorSampling(anchors, m=-1.0).choose(z)) == 1  # none is there: the most extreme
    only_far = at(120, 10)
    assert int(AnchorSampling(only_far, m=0.5, reading="signed").choose(z)) == 1  # .98 is .48 away, -.5 is 1 away
    assert int(AnchorSampling(only_far, m=0.5, reading="absolute").choose(z)) == 0


def test_mirrored_wants_the_negated_anchor_and_the_raw_condition_is_the_anchor():
    """FIVA's raw condition is -z_a: with m = -0.5 it is the anchor at cosine +0.5, the near side."""
    z, anchors = at(0), at(60, 120)
    wanted = AnchorSampling(anchors, m=-0.5, mirrored=True)(z)
    torch.testing.assert_close(-wanted, at(60))
    torch.testing.assert_close((wanted * z).sum(1), torch.tensor([-0.5]))


def test_of_equal_anchors_the_first_and_blocks_do_not_matter(monkeypatch):
    torch.manual_seed(0)
    anchors = torch.nn.functional.normalize(torch.randn(50, 8))
    anchors = torch.cat([anchors, anchors])
    z = torch.nn.functional.normalize(torch.randn(20, 8))
    policy = AnchorSampling(anchors, m=0.2)
    whole = policy.choose(z)
    assert int(whole.max()) < 50
    assert torch.equal(whole, ((anchors @ z.T) - 0.2).abs().argmin(0))
    monkeypatch.setattr("anon.identity.policies.BLOCK", 7)
    assert torch.equal(policy.choose(z), whole)


@pytest.mark.parametrize("options", [{"reading": "printed"}, {"m": 1.5}, {"m": -0.5, "reading": "absolute"}])
def test_refuses_what_cannot_be(options):
    with pytest.raises(UserError):
        AnchorSampling(at(0), **options)
    with pytest.raises(UserError, match="anchors"):
        AnchorSampling(torch.empty(0, 2))


def test_average_is_the_normalized_mean():
    z, names = average(at(0, 90, 200), torch.tensor([5, 5, 2]))
    assert names.tolist() == [2, 5]
    torch.testing.assert_close(z, at(200, 45))


def test_anchor_space_mixes_pairs():
    """People at 0°, 40°, 100°: pairs 0-40, 40-100, 100-0 have their middles at 20°, 70°, 50°."""
    space = anchor_space(at(0, 40, 100), torch.tensor([0, 1, 2]), 3)
    torch.testing.assert_close(space, at(20, 70, 50))
    with pytest.raises(UserError, match="at most 3"):
        anchor_space(at(0, 40, 100), torch.tensor([0, 1, 2]), 4)


def test_anchor_space_takes_every_pair_once():
    people = torch.eye(6)
    space = anchor_space(people, torch.arange(6), 15, torch.Generator().manual_seed(1))
    pairs = {tuple(row.nonzero()[:, 0].tolist()) for row in space > 0.1}
    assert len(pairs) == 15 and all(len(pair) == 2 for pair in pairs)
    again = anchor_space(people, torch.arange(6), 15, torch.Generator().manual_seed(1))
    assert torch.equal(space, again)
