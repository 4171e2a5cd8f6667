from __future__ import annotations

import math

import pytest
import torch

from anon.errors import UserError
from anon.identity.policies import (
    AnchorSampling,
    AtDistance,
    Negation,
    OwnEmbedding,
    SourceIdentity,
    average,
    sampling_of,
)
from anon.identity.tracking import IdentityTracker


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


def test_both_readings_of_equation_1():
    """z at 0°; the middles of two of four people lie at 60°, 70°, 90°, 90°, 110° and 120°."""
    z, people = at(0), at(40, 80, 100, 140)
    torch.testing.assert_close(AnchorSampling(people, m=0.5)(z), at(60))
    torch.testing.assert_close(AnchorSampling(people, m=-0.5)(z), at(120))
    torch.testing.assert_close(AnchorSampling(people, m=0.0)(z), at(90))
    torch.testing.assert_close(AnchorSampling(people, m=-1.0)(z), at(120))  # none is there: the most extreme
    people = at(100, 140, 5, 15)  # middles at 10°, 52.5°, 57.5°, 72.5°, 77.5° and 120°
    torch.testing.assert_close(AnchorSampling(people, m=0.5, reading="signed", most=2)(z), at(57.5))
    torch.testing.assert_close(AnchorSampling(people, m=0.5, reading="absolute", most=2)(z), at(120))


def test_mirrored_wants_the_negated_anchor_and_the_raw_condition_is_the_anchor():
    """FIVA's raw condition is -z_a: with m = -0.5 it is the anchor at cosine +0.5, the near side."""
    z, people = at(0), at(40, 80, 100, 140)
    wanted = AnchorSampling(people, m=-0.5, mirrored=True)(z)
    torch.testing.assert_close(-wanted, at(60))
    torch.testing.assert_close((wanted * z).sum(1), torch.tensor([-0.5]))


def neighbours(count, cosine=0.3):
    """z and ``count`` people at this cosine to it, who have nothing else in common."""
    z = torch.eye(count + 1)[:1]
    return z, cosine * z + math.sqrt(1 - cosine**2) * torch.eye(count + 1)[1:]


@pytest.mark.parametrize(
    ("m", "mixed", "missed"), [(0.406, 2, False), (0.478, 3, False), (0.532, 4, False), (0.7, 4, True)]
)
def test_people_join_until_the_wanted_cosine_is_reached(m, mixed, missed):
    """A mix of k people at .3 has .3 k / sqrt(k + k (k - 1) .09): .406 of two, .478 of three, .532 of four."""
    z, people = neighbours(4)
    policy = AnchorSampling(people, m=m)
    anchor, count = policy.choose(z)
    reached = 0.3 * mixed / math.sqrt(mixed + mixed * (mixed - 1) * 0.09)
    assert int(count) == mixed and float(anchor @ z.T) == pytest.approx(reached, abs=1e-6)
    assert bool(policy.missed(z)) is missed
    two = AnchorSampling(people, m=m, most=2)
    assert int(two.choose(z)[1]) == 2 and bool(two.missed(z)) is (m > 0.46)


def test_strangers_in_many_dimensions_get_what_is_wanted():
    """Kind: an option whose value real embeddings cannot have, so that it does nothing.

    Strangers' cosines have a spread of about .09 in 128 dimensions, as MobileFaceNet's on LFW (.10). 1,024 mixes of two
    reach -.34 there, all mixes of two -.45, and every face got the most extreme one; all people in mixes of up to eight
    have m = -.5 for everybody, on the near side (FIVA) and on the far side (swappers).
    """
    rng = torch.Generator().manual_seed(0)
    people = torch.nn.functional.normalize(torch.randn(1000, 128, generator=rng))
    z = torch.nn.functional.normalize(torch.randn(50, 128, generator=rng))
    for mirrored in (True, False):
        policy = AnchorSampling(people, m=-0.5, mirrored=mirrored)
        cosine = (policy(z) * z).sum(1)
        assert float((cosine + 0.5).abs().max()) < 0.02 and not bool(policy.missed(z).any())
        two = AnchorSampling(people, m=-0.5, mirrored=mirrored, most=2)
        assert float((two(z) * z).sum(1).mean()) > -0.45 and float(two.missed(z).double().mean()) > 0.9


def test_every_pair_is_tried_and_blocks_do_not_matter(monkeypatch):
    torch.manual_seed(0)
    people = torch.nn.functional.normalize(torch.randn(30, 8))
    z = torch.nn.functional.normalize(torch.randn(20, 8))
    policy = AnchorSampling(people, m=0.2, most=2)
    whole = policy(z)
    pairs = torch.combinations(torch.arange(30))
    middles = torch.nn.functional.normalize(people[pairs[:, 0]] + people[pairs[:, 1]])
    best = ((middles @ z.T) - 0.2).abs().min(0).values
    torch.testing.assert_close(((whole * z).sum(1) - 0.2).abs(), best, atol=1e-6, rtol=0)
    monkeypatch.setattr("anon.identity.policies.BLOCK", 70)
    torch.testing.assert_close(policy(z), whole)


def test_the_sampling_of_a_policy():
    sampling = AnchorSampling(at(0, 90))
    assert sampling_of(IdentityTracker(sampling, 0.3)) is sampling_of(AtDistance(sampling, 1.0)) is sampling
    assert sampling_of(IdentityTracker(Negation(), 0.3)) is sampling_of(None) is None


@pytest.mark.parametrize("options", [{"reading": "printed"}, {"m": 1.5}, {"m": -0.5, "reading": "absolute"}])
def test_refuses_what_cannot_be(options):
    with pytest.raises(UserError):
        AnchorSampling(at(0, 90), **options)
    with pytest.raises(UserError, match="2 or more"):
        AnchorSampling(at(0))
    with pytest.raises(UserError, match="would be somebody"):
        AnchorSampling(at(0, 90), most=1)


def test_average_is_the_normalized_mean():
    z, names = average(at(0, 90, 200), torch.tensor([5, 5, 2]))
    assert names.tolist() == [2, 5]
    torch.testing.assert_close(z, at(200, 45))


@pytest.mark.parametrize("distance", [0.0, 0.3, 1.0, 1.7, 2.0])
def test_the_dial_is_a_distance(distance):
    z, fake = at(0, 90), at(40, 200)
    found = AtDistance(SourceIdentity(), distance)(z, source=fake)
    torch.testing.assert_close(1 - (found * z).sum(1), torch.full((2,), distance), atol=1e-6, rtol=0)


def test_the_degree_goes_from_the_own_identity_to_the_fake_one():
    """On the great circle: a quarter of 80° is 20°, and of -120° it is -30°; with a distance of 1 it ends at 90°."""
    z, fake = at(0, 0), at(80, -120)
    for degree in (0.0, 0.25, 0.5, 1.0):
        found = AtDistance(SourceIdentity(), degree=degree)(z, source=fake)
        torch.testing.assert_close(found, at(80 * degree, -120 * degree), atol=1e-6, rtol=0)
        found = AtDistance(SourceIdentity(), 1.0, degree)(z, source=fake)
        torch.testing.assert_close(found, at(90 * degree, -90 * degree), atol=1e-6, rtol=0)


@pytest.mark.parametrize("distance", [None, 0.4, 2.0])
def test_the_distance_grows_with_the_degree(distance):
    rng = torch.Generator().manual_seed(0)
    z, fake = (torch.nn.functional.normalize(torch.randn(50, 16, generator=rng)) for _ in range(2))
    steps = [AtDistance(SourceIdentity(), distance, degree / 10)(z, source=fake) for degree in range(11)]
    far = torch.stack([1 - (step * z).sum(1) for step in steps])
    assert bool((far.diff(dim=0) > 0).all()) and float(far[0].abs().max()) < 1e-6
    if distance is None:
        torch.testing.assert_close(steps[-1], fake, atol=1e-6, rtol=0)


def test_the_way_to_the_opposite_identity():
    """Kind: a direction that is lost. The opposite of z has no part perpendicular to it; any way there is as good."""
    z = torch.nn.functional.normalize(torch.randn(20, 8, generator=torch.Generator().manual_seed(0)))
    for degree, cosine in ((0.5, 0.0), (1.0, -1.0)):
        found = AtDistance(Negation(), degree=degree)(z)
        torch.testing.assert_close((found * z).sum(1), torch.full((20,), cosine), atol=1e-5, rtol=0)
        torch.testing.assert_close(found.norm(dim=1), torch.ones(20))
    stranger = AtDistance(Negation(), 1.0)(z)
    torch.testing.assert_close(stranger.norm(dim=1), torch.ones(20))
    torch.testing.assert_close(AtDistance(OwnEmbedding())(z), z, atol=1e-6, rtol=0)


@pytest.mark.parametrize("options", [{"distance": 2.1}, {"distance": -0.1}, {"degree": 1.1}, {"degree": -0.1}])
def test_no_such_dial(options):
    with pytest.raises(UserError):
        AtDistance(Negation(), **options)
