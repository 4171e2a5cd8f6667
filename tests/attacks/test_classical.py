"""Textbook recovery: does it undo its filter, by how much, and at any size."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch

from anon.anonymizers.filters import GaussianBlur, Pixelate, PixelNoise
from anon.attacks.classical import Depixelate, NonLocalMeans, Wiener
from anon.errors import UserError
from anon.faces.contract import to_float, to_uint8


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def psnr(one: torch.Tensor, other: torch.Tensor) -> float:
    """Decibels; the range [-1, 1] is 2 wide."""
    return 10 * math.log10(4 / float((one - other).square().mean()))


def scene(height: int, width: int) -> torch.Tensor:
    """A wave, a disc and a slanted edge, one a channel, (1, 3, height, width)."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    disc, edge = (x**2 + y**2 < 0.5).float() - 0.5, (x > 0.3 * y).float() * 0.8 - 0.4
    return torch.stack([0.6 * torch.sin(6 * x) * torch.cos(5 * y), disc, edge])[None]


ATTACKS = (
    Wiener(0.1, 1e-3),
    Depixelate(4, "bicubic"),
    Depixelate(4, "bilinear"),
    NonLocalMeans(0.2),
)


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("size", [(1, 1), (2, 9), (16, 16), (21, 34)])
def test_form_is_kept_at_any_size(attack, size):
    changed = (torch.rand(2, 3, *size, generator=seeded()) - 0.5).sign()
    before = changed.clone()
    for dtype in (torch.float32, torch.float64):
        found = attack.images(changed.to(dtype))
        assert found.shape == changed.shape and found.dtype == dtype
        assert found.isfinite().all() and float(found.abs().max()) <= 1.0
    assert torch.equal(changed, before)
    torch.testing.assert_close(attack.images(changed[1:]), attack.images(changed)[1:])  # no picture sees another
    with pytest.raises(ValueError, match=r"\[-1, 1\]"):
        attack.images(changed * 255)


@pytest.mark.parametrize("sigma", [0.02, 0.05, 0.1])
@pytest.mark.parametrize("size", [(64, 64), (48, 75)])
def test_wiener_recovers_three_decibels_of_an_8_bit_blurred_picture(sigma, size):
    images = scene(*size)
    blurred = to_float(to_uint8(GaussianBlur(sigma)(images)))
    assert psnr(Wiener(sigma, 1e-3).images(blurred), images) > psnr(blurred, images) + 3.0


def test_wiener_undoes_a_mild_blur_up_to_the_border():
    """Sigma 0.8 pixels and hardly any noise; within 4 pixels of the border it is as good as elsewhere."""
    images = scene(40, 52)
    found = Wiener(0.02, 1e-7).images(GaussianBlur(0.02)(images))
    assert psnr(GaussianBlur(0.02)(images), images) < 35
    assert psnr(found, images) > 60
    assert psnr(found[..., :4], images[..., :4]) > 60 and psnr(found[..., -4:, :], images[..., -4:, :]) > 60


@pytest.mark.parametrize("along", [-1, -2])
def test_wiener_by_hand_on_one_wave(along):
    """cos(2 pi 4 x / 64) over x = 0..32 is periodic when mirrored: sigma 2 px passes h = exp(-(2 pi 4 / 64 * 2)^2 / 2).

    So h = exp(-0.30843) = 0.73460 and with noise 0.1 the factor h / (h^2 + 0.1) = 1.14838; the mean 0.2 stays.
    """
    wave = torch.cos(2 * torch.pi * 4 * torch.arange(33) / 64).expand(33, 33)
    images = (0.5 * (wave if along == -1 else wave.T)).expand(1, 3, 33, 33)
    found = Wiener(2 / 33, 0.1).images(images + 0.2)
    torch.testing.assert_close(found, 1.14838 * images + 0.2, atol=2e-4, rtol=0)


def test_depixelation_of_a_ramp_is_the_ramp_between_the_outer_centres():
    """32 columns, 4 blocks: a block's mean is the ramp at its centre, so interpolation is exact from 4 to 28."""
    ramp = ((torch.arange(32) + 0.5) / 16 - 1).expand(1, 3, 24, 32)
    found = Depixelate(4, "bilinear").images(Pixelate(4)(ramp))
    torch.testing.assert_close(found[..., 4:28], ramp[..., 4:28])
    assert found[0, 0, 0, [0, 31]].tolist() == pytest.approx([-0.75, 0.75])  # beyond, the outer means


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(32, 32), (45, 50)])  # the second has blocks of unlike sizes
def test_depixelation_halves_the_error_of_a_smooth_picture(mode, size):
    """One wave a side, flat at the borders, where nothing lies beyond the outer centres."""
    rows, columns = (torch.cos(2 * torch.pi * (torch.arange(side) + 0.5) / side) for side in size)
    images = torch.outer(rows, columns).expand(1, 3, *size)
    mosaic = Pixelate(8)(images)
    assert psnr(Depixelate(8, mode).images(mosaic), images) > psnr(mosaic, images) + 6.0


def test_non_local_means_removes_noise_and_keeps_the_edge():
    """Two flat halves, 0.8 apart, noise of sigma 0.1: a fifth of the variance is left, the halves keep their means."""
    images = torch.full((2, 3, 32, 32), -0.4)
    images[..., 16:] = 0.4
    noisy = PixelNoise(0.1)(images, rng=seeded())
    found = NonLocalMeans(0.1).images(noisy)
    assert float((found - images).var()) < float((noisy - images).var()) / 5
    assert float(found[..., 15].mean()) == pytest.approx(-0.4, abs=0.05)
    assert float(found[..., 16].mean()) == pytest.approx(0.4, abs=0.05)


def test_non_local_means_is_opencvs_on_bgr():
    """Strength 0.2 of [-1, 1] is 25.5 of 255. OpenCV denoises lightness and hue apart: the order of colours counts."""
    noisy = PixelNoise(0.2)(scene(24, 30), rng=seeded())
    bgr = np.ascontiguousarray(to_uint8(noisy)[0].numpy()[..., ::-1])
    expected = cv2.fastNlMeansDenoisingColored(bgr, None, 25.5, 25.5, 5, 11)[..., ::-1]
    found = to_uint8(NonLocalMeans(0.2, 5, 11).images(noisy))[0].numpy()
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (Wiener, (0.0, 0.01)),
        (Wiener, (3.0, 0.01)),  # pixels
        (Wiener, (0.1, 0.0)),
        (Depixelate, (0,)),
        (Depixelate, (8, "nearest")),
        (NonLocalMeans, (-0.1,)),
        (NonLocalMeans, (0.1, 6)),
        (NonLocalMeans, (0.1, 7, 20)),
    ],
)
def test_arguments_that_cannot_be(kind, arguments):
    with pytest.raises(UserError):
        kind(*arguments)
