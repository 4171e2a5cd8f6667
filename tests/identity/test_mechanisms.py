"""Private identities: the noise that the theorems ask for, against scipy and numbers by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import integrate, special, stats
from torch.nn import functional as F

from anon.errors import UserError
from anon.identity.mechanisms import IdentityDP, VonMisesFisher, cosines, largest_distance


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def directions(count: int, dim: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(count, dim, generator=seeded(seed)))


def test_the_noise_is_laplace_with_the_bounded_scale() -> None:
    """D = 64: the sensitivity is 2 sqrt(64) = 16, at epsilon 8 the scale 2. Kolmogorov-Smirnov, 64,000 numbers."""
    z = directions(1000, 64)
    noise = IdentityDP(8.0, "bounded").noisy(z, seeded()) - z
    assert stats.kstest(noise.flatten().double().numpy(), stats.laplace(scale=2.0).cdf).pvalue > 0.001
    assert stats.kstest(noise.flatten().double().numpy(), stats.laplace(scale=2.1).cdf).pvalue < 0.001  # it can fail


def test_measured_is_the_largest_l1_distance() -> None:
    """(1, 0), (0, 1) and (-.6, -.8): 2, 2.4 and 2.4 apart; of the corners of a square 2 sqrt(2), the bound."""
    people = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-0.6, -0.8]])
    assert IdentityDP(4.0, strangers=lambda: people).scale(2) == pytest.approx(2.4 / 4)
    corner = torch.tensor([[1.0, 1.0], [-1.0, -1.0]]) / math.sqrt(2)
    assert (
        largest_distance(corner)
        == pytest.approx(2 * math.sqrt(2))
        == pytest.approx(IdentityDP(1.0, "bounded").scale(2))
    )
    many = directions(2500, 4)
    whole = (many[:, None] - many[None, :]).abs().sum(-1).max()  # in blocks it is the same
    assert largest_distance(many) == pytest.approx(float(whole), abs=1e-5)


def test_published_budgets_give_a_random_direction() -> None:
    """D = 512 with a sensitivity of 28, what ArcFace's strangers have: 1 / sqrt(1 + 2 D (28 / epsilon)²) is .007 at the
    published 6, .111 at 100, .408 at 400, .666 at 800.
    """
    z = directions(4000, 512)
    apart = torch.zeros(2, 512)
    apart[0, :] = 28.0 / 512  # two vectors whose L1 distance is 28
    for epsilon, expected in ((6.0, 0.007), (100.0, 0.111), (400.0, 0.408), (800.0, 0.666)):
        wanted = IdentityDP(epsilon, strangers=lambda: apart)(z, rng=seeded())
        torch.testing.assert_close(wanted.norm(dim=1), torch.ones(len(z)))
        assert float((wanted * z).sum(1).mean()) == pytest.approx(expected, abs=0.004), epsilon


@pytest.mark.parametrize("epsilon", [0.5, 2.0])
def test_no_set_of_noisy_vectors_is_more_than_exp_epsilon_as_likely(epsilon: float) -> None:
    """The guarantee itself, counted: opposite vectors, which the bound is for, and eight sets, signs of axes."""
    z = torch.tensor([[1.0, 1.0, 1.0], [-1.0, -1.0, -1.0]]) / math.sqrt(3)
    for mechanism in (IdentityDP(epsilon, "bounded"), VonMisesFisher(epsilon)):
        counts = []
        for one in z:
            wanted = mechanism(one.expand(200_000, 3), rng=seeded())
            counts.append(torch.bincount(((wanted > 0) * torch.tensor([1, 2, 4])).sum(1), minlength=8).double())
        ratio = (counts[0] / counts[1]).log().abs()
        assert float(ratio.max()) <= epsilon + 0.1, mechanism  # 0.1: of counting
        assert float(ratio.max()) > 0.4 * epsilon, mechanism  # and it spends what it has


@pytest.mark.parametrize(("kappa", "dim"), [(0.05, 3), (5.0, 3), (20.0, 64), (500.0, 512)])
def test_draws_of_the_sphere_have_the_density_of_von_mises_fisher(kappa: float, dim: int) -> None:
    """Of the cosine w: exp(kappa w) (1 - w²)^((dim - 3) / 2), but for a constant; its mean is of Bessel functions."""
    found = cosines(kappa, 20_000, dim, seeded()).numpy()
    ratio = special.ive(dim / 2, kappa) / special.ive(dim / 2 - 1, kappa)
    assert float(found.mean()) == pytest.approx(ratio, abs=4 * found.std() / math.sqrt(len(found)))
    grid = np.linspace(-1 + 1e-9, 1 - 1e-9, 20_001)
    log = kappa * grid + (dim - 3) / 2 * np.log1p(-(grid**2))
    below = integrate.cumulative_trapezoid(np.exp(log - log.max()), grid, initial=0)
    cdf = lambda w: np.interp(w, grid, below / below[-1])  # noqa: E731
    assert stats.kstest(found, cdf).pvalue > 0.001
    assert stats.kstest(cosines(1.3 * kappa + 0.3, 20_000, dim, seeded()).numpy(), cdf).pvalue < 0.001


def test_draws_lie_on_the_sphere_and_spread_evenly_about_the_mean() -> None:
    z = torch.eye(5)[:1].expand(20_000, 5)
    wanted = VonMisesFisher(6.0)(z, rng=seeded())
    torch.testing.assert_close(wanted.norm(dim=1), torch.ones(20_000))
    assert float(wanted[:, 1:].mean(0).abs().max()) < 0.02  # no side is preferred
    spread = wanted[:, 1:].square().mean(0)
    assert float(spread.max() - spread.min()) < 0.02


def test_the_sphere_keeps_more_at_a_small_budget_and_laplace_at_a_large_one() -> None:
    """D = 128, for all pairs of faces: to first order in epsilon the cosine is eps / 2D against eps / (2 sqrt(2) D)."""
    z = directions(3000, 128)

    def kept(mechanism: torch.nn.Module) -> float:
        return float((mechanism(z, rng=seeded()) * z).sum(1).mean())

    assert kept(VonMisesFisher(30.0)) == pytest.approx(30 / 256, abs=0.01)
    assert kept(IdentityDP(30.0, "bounded")) == pytest.approx(30 / (256 * math.sqrt(2)), abs=0.01)
    assert kept(VonMisesFisher(1000.0)) < kept(IdentityDP(1000.0, "bounded"))


@pytest.mark.parametrize("kind", [lambda epsilon: IdentityDP(epsilon, "bounded"), VonMisesFisher])
def test_draws_come_from_rng_and_are_new_for_every_face(kind) -> None:
    z = directions(1, 16).expand(3, 16)
    mechanism = kind(10.0)
    one = mechanism(z, rng=seeded())
    assert torch.equal(one, mechanism(z, rng=seeded())) and not torch.equal(one, mechanism(z, rng=seeded(1)))
    assert not torch.equal(one[0], one[1])
    with pytest.raises(UserError, match="needs rng"):
        mechanism(z)
    for epsilon in (0, -1.0, math.inf, math.nan, True):
        with pytest.raises(UserError, match="above 0"):
            kind(epsilon)


def test_what_cannot_be_measured() -> None:
    with pytest.raises(UserError, match="two background faces"):
        IdentityDP(1.0)
    with pytest.raises(UserError, match="two background faces"):
        IdentityDP(1.0, strangers=lambda: torch.eye(3)[:1])
    with pytest.raises(UserError, match="measured or bounded"):
        IdentityDP(1.0, "assumed")  # type: ignore[arg-type]
