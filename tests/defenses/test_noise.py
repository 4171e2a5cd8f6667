"""Noise on pixels against the moments of its distributions, and exact counts."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch

from anon.defenses.contract import DefenseLike, NoDefense
from anon.defenses.noise import GaussianNoise, UniformNoise, pixel_share
from anon.errors import UserError


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


GRAY = torch.zeros(4, 3, 50, 40)


def changed_pixels(out: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """(B, H, W), and a pixel changes in all its channels or in none."""
    differs = out != images
    assert torch.equal(differs.all(1), differs.any(1))
    return differs.all(1)


@pytest.mark.parametrize("share", [Fraction(0), Fraction(1, 10), Fraction(47, 100), Fraction(1)])
@pytest.mark.parametrize("noise", [UniformNoise, GaussianNoise])
def test_the_share_is_exact_in_every_image(noise, share):
    out = noise(0.15, float(share))(GRAY, rng=rng())
    chosen = changed_pixels(out, GRAY)
    assert chosen.flatten(1).sum(1).tolist() == [2000 * share] * 4
    if 0 < share < 1:
        assert not torch.equal(chosen[0], chosen[1])


def test_every_pixel_is_as_likely_as_every_other():
    """400 images of 5 x 5, 10 pixels each: a pixel is hit 160 times, sd sqrt(400·0.4·0.6) = 9.8."""
    hits = pixel_share(torch.zeros(400, 3, 5, 5), 0.4, rng()).sum((0, 1))
    assert hits.sum() == 4000
    assert (hits - 160).abs().max() < 4.5 * 9.8


def test_uniform_noise_has_the_moments_of_u_of_minus_1_and_1():
    """Mean 0, variance ε²/3, kurtosis E x⁴ = ε⁴/5; 24 000 draws."""
    noise = UniformNoise(0.15)(GRAY, rng=rng()).double()
    assert 0.1499 < noise.abs().max() <= 0.15
    assert noise.mean().abs() < 4 * 0.15 / math.sqrt(3 * 24_000)
    assert noise.square().mean().item() == pytest.approx(0.15**2 / 3, rel=0.03)
    assert noise.pow(4).mean().item() == pytest.approx(0.15**4 / 5, rel=0.03)


def test_the_other_reading_is_u_of_0_and_1():
    """Mean ε/2, variance ε²/12."""
    noise = UniformNoise(0.15, positive=True)(GRAY, rng=rng()).double()
    assert 0 <= noise.min() < 1e-4 and 0.1499 < noise.max() <= 0.1500001
    assert noise.mean().item() == pytest.approx(0.075, rel=0.02)
    assert noise.var().item() == pytest.approx(0.15**2 / 12, rel=0.03)


def test_gaussian_noise_has_its_moments():
    """Standard deviation s, E x⁴ = 3s⁴."""
    noise = GaussianNoise(0.1)(GRAY, rng=rng()).double()
    assert noise.mean().abs() < 4 * 0.1 / math.sqrt(24_000)
    assert noise.std().item() == pytest.approx(0.1, rel=0.02)
    assert noise.pow(4).mean().item() == pytest.approx(3 * 0.1**4, rel=0.08)


@pytest.mark.parametrize("noise", [UniformNoise(0.15, 0.47), GaussianNoise(0.1, 0.47)])
def test_draws_come_from_the_generator_alone(noise):
    torch.manual_seed(1)
    first = noise(GRAY, rng=rng(5))
    torch.manual_seed(2)
    untouched = torch.get_rng_state()
    torch.testing.assert_close(noise(GRAY, rng=rng(5)), first, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), untouched)
    assert not torch.equal(noise(GRAY, rng=rng(6)), first)
    with pytest.raises(UserError, match="rng"):
        noise(GRAY)


@pytest.mark.parametrize("noise", [UniformNoise(0.5), GaussianNoise(0.5)])
def test_the_range_is_kept(noise):
    white = torch.ones(2, 3, 8, 8)
    out = noise(white, rng=rng())
    assert out.max() == 1 and (out == 1).float().mean().item() == pytest.approx(0.5, abs=0.15)
    assert noise(-white, rng=rng()).min() == -1
    assert out.dtype == torch.float32 and out.shape == white.shape


def test_no_defense_gives_the_same_faces():
    images = torch.rand(2, 3, 4, 4, generator=rng()) * 2 - 1
    assert torch.equal(NoDefense()(images), images)


def test_the_contract_is_met():
    assert isinstance(NoDefense(), DefenseLike) and isinstance(UniformNoise(0.15), DefenseLike)


@pytest.mark.parametrize("defense", [NoDefense(), UniformNoise(0.1), GaussianNoise(0.1)])
def test_images_of_another_range_are_refused(defense):
    with pytest.raises(ValueError, match="changed"):
        defense(torch.full((1, 3, 4, 4), 255.0), rng=rng())


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: UniformNoise(-0.1), "epsilon"),
        (lambda: UniformNoise(2.1), "epsilon"),
        (lambda: UniformNoise(math.nan), "epsilon"),
        (lambda: UniformNoise(0.1, share=1.1), "share"),
        (lambda: GaussianNoise(-1), "sigma"),
        (lambda: GaussianNoise(math.inf), "sigma"),
        (lambda: GaussianNoise(0.1, share=-0.1), "share"),
    ],
)
def test_bad_arguments_are_named(make, name):
    with pytest.raises(UserError, match=name):
        make()
