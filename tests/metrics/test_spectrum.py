"""The share of fine detail: pictures whose frequencies are known, and noise, which has all of them alike."""

from __future__ import annotations

import math

import pytest
import torch

from anon.metrics.spectrum import (
    HighFrequencyShare,
    band_power,
    change_power,
    change_share,
    high_frequency_share,
)


def grating(turns_x: float, turns_y: float, height: int = 64, width: int = 64) -> torch.Tensor:
    """A cosine of that many cycles a pixel each way, (1, 3, height, width)."""
    y, x = torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing="ij")
    return (0.3 * torch.cos(2 * math.pi * (turns_x * x + turns_y * y))).expand(1, 3, height, width)


@pytest.mark.parametrize(
    ("turns", "share"),
    [
        ((0.5, 0.5), 1.0),  # a checkerboard
        ((0.5, 0.0), 1.0),  # lines
        ((0.0, 0.375), 1.0),
        # Below .25 each way, along the diagonal .265 and .243. Hann's window spreads a grating by one step, 1/64, with
        # 2/3 of the power staying and 1/6 on either side, each way: (11, 11) of 64 is below, (11, 12), (12, 12) above.
        ((0.1875, 0.1875), 1 - 1 / 36),
        ((0.171875, 0.171875), 2 * (2 / 3 * 1 / 6) + 1 / 36),
        ((0.0625, 0.03125), 0.0),
    ],
)
def test_gratings_lie_on_either_side(turns, share) -> None:
    assert float(high_frequency_share(grating(*turns))) == pytest.approx(share, abs=1e-4)


def test_a_smooth_blob_has_next_to_nothing() -> None:
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    blob = torch.exp(-((x - 30) ** 2 + (y - 35) ** 2) / (2 * 8.0**2)).expand(1, 3, 64, 64)
    assert float(high_frequency_share(blob)) < 1e-6
    assert float(high_frequency_share(blob + 0.7)) == pytest.approx(float(high_frequency_share(blob)), abs=1e-6)


def test_white_noise_has_the_area_of_the_plane() -> None:
    """The plane of frequencies is a square of side 1; what is coarse lies in a circle of radius .25."""
    noise = torch.randn(64, 3, 64, 48, generator=torch.Generator().manual_seed(0))
    assert float(high_frequency_share(noise).mean()) == pytest.approx(1 - math.pi / 16, abs=0.005)
    power = band_power(noise)[:, 1]  # luma: .299² + .587² + .114² of the variance
    assert float(power.mean()) == pytest.approx(0.299**2 + 0.587**2 + 0.114**2, rel=0.01)


def test_half_a_checker_on_half_a_blob() -> None:
    """Powers add up: a checker of mean square .09 and a slow cosine of .045, whose share is two thirds."""
    checker, slow = grating(0.5, 0.5), grating(0.03125, 0.0)
    assert float(high_frequency_share(checker + slow)) == pytest.approx(2 / 3, abs=0.01)


def test_a_change_without_power_has_none() -> None:
    faces = grating(0.1, 0.2).repeat(2, 1, 1, 1)
    changed = torch.cat([faces[:1] + grating(0.5, 0.5), faces[:1]])
    found = change_share(changed, faces)
    assert float(found[0]) == pytest.approx(1.0, abs=1e-4) and bool(found[1].isnan())
    assert change_power(changed, faces)[1].tolist() == [0.0, 0.0]
    metric = HighFrequencyShare()
    metric.update(changed, faces)
    assert float(metric.compute()) == pytest.approx(1.0, abs=1e-4) and int(metric.faces) == 1
    assert bool(high_frequency_share(torch.full((1, 3, 8, 8), 0.4)).isnan())  # one colour
