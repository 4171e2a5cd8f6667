"""POS and CHROM on colours whose pulse is known, and their single steps worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from anon.attributes.pulse import chrom, heart_rate, passed, pos, signal_to_noise, skin_means
from anon.errors import UserError

SKIN, BEATS = torch.tensor([0.6, 0.4, 0.3]), torch.tensor([0.33, 0.77, 0.53])


def beating(
    rate: float, amplitude: float, fps: float, seconds: float, noise: float = 0.0, light: float = 0.0
) -> Tensor:
    """Colours (n, 3) of skin that beats, under a light that flickers twice a second, with noise of the sensor."""
    time = torch.arange(round(fps * seconds), dtype=torch.float64)[:, None] / fps
    beat = (2 * math.pi * rate / 60 * time).sin()
    flicker = 1 + light * (2 * math.pi * 2.0 * time).sin()
    rng = torch.Generator().manual_seed(0)
    drawn = noise * torch.randn(len(time), 3, generator=rng, dtype=torch.float64)
    return SKIN * (1 + amplitude * beat * BEATS) * flicker + drawn


@pytest.mark.parametrize("read", [pos, chrom])
@pytest.mark.parametrize(("rate", "fps"), [(55.0, 25.0), (72.0, 30.0), (118.0, 20.0)])
def test_a_known_pulse_is_read(read, rate, fps) -> None:  # type: ignore[no-untyped-def]
    signal = passed(read(beating(rate, 0.01, fps, 12, noise=0.0005), fps), fps)
    assert heart_rate(signal, fps) == pytest.approx(rate, abs=1.5)
    assert signal_to_noise(signal, fps, rate) > 6 > signal_to_noise(signal, fps, rate + 25)


@pytest.mark.parametrize("read", [pos, chrom])
def test_a_flickering_light_is_no_pulse(read) -> None:  # type: ignore[no-untyped-def]
    """Ten times as strong as the beats, and of all colours alike: what both are made for."""
    signal = passed(read(beating(66.0, 0.01, 25.0, 12, light=0.1), 25.0), 25.0)
    assert heart_rate(signal, 25.0) == pytest.approx(66.0, abs=1.5)


def test_pos_of_one_window_by_hand() -> None:
    """Four frames are one window of 1.6 s at 2.5 a second: ``S1 + std(S1)/std(S2) S2`` less its mean."""
    green = torch.tensor([0.1, -0.1, 0.1, -0.1])
    colours = torch.stack((torch.ones(4), 1 + green, torch.ones(4)), 1)
    # S1 = G - B = green; S2 = G + B - 2 R = green; the ratio of their deviations is 1: twice green.
    assert pos(colours, 2.5).tolist() == pytest.approx([0.2, -0.2, 0.2, -0.2])


def test_chrom_of_one_window_by_hand() -> None:
    """X = -2 green, Y = green, so S = X - 2 Y = -4 green, under Hann's window of 4: 0, 1/2, 1, 1/2."""
    green = torch.tensor([0.1, -0.1, 0.1, -0.1])
    colours = torch.stack((torch.ones(4), 1 + green, torch.ones(4)), 1)
    assert chrom(colours, 2.5).tolist() == pytest.approx([0.0, 0.2, -0.4, 0.2])


def test_brightness_moves_neither() -> None:
    grey = SKIN * (1 + 0.2 * torch.rand(60, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64))
    assert float(pos(grey, 25.0).abs().max()) < 1e-9 and float(chrom(grey, 25.0).abs().max()) < 0.3
    still = SKIN.expand(60, 3)
    assert math.isnan(heart_rate(pos(still, 25.0), 25.0)) and math.isnan(signal_to_noise(pos(still, 25.0), 25.0, 60.0))


def test_signal_to_noise_of_two_tones() -> None:
    """A tone of 1 at the rate and one of a tenth elsewhere: 100 to 1 in power, 20 dB."""
    time = torch.arange(1000) / 25.0
    signal = (2 * math.pi * 1.2 * time).sin() + 0.1 * (2 * math.pi * 3.1 * time).sin()
    assert signal_to_noise(signal, 25.0, 72.0) == pytest.approx(20.0, abs=0.3)
    assert signal_to_noise(signal, 25.0, 36.0) == pytest.approx(20.0, abs=0.3)  # twice the rate belongs to it


def test_the_band_is_passed_and_nothing_else() -> None:
    time = torch.arange(1500) / 25.0
    tones = {rate: (2 * math.pi * rate * time).sin() for rate in (0.2, 1.5, 8.0)}
    left = {rate: float(passed(tone, 25.0)[200:-200].std() / tone.std()) for rate, tone in tones.items()}
    assert left[0.2] < 0.02 and left[1.5] == pytest.approx(1.0, abs=0.02) and left[8.0] < 0.05


def test_too_short_a_clip_is_one_sentence() -> None:
    with pytest.raises(UserError, match=r"1\.6 seconds"):
        pos(SKIN.expand(20, 3), 25.0)


def test_the_inner_face() -> None:
    """The middle half of the width, from 40 to 80 percent of the height: 10 x 4 of 20 x 10 pixels, half of it white."""
    images = torch.full((1, 3, 10, 20), -1.0)
    images[:, :, 4:6, 5:15] = 1.0
    assert skin_means(images).tolist() == [[0.5, 0.5, 0.5]]
