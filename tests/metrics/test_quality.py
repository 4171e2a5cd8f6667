"""NIQE: fits against scipy's samples and by hand, contrasts against scipy's filters, order of known damage."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from kornia.filters import gaussian_blur2d
from scipy.ndimage import gaussian_filter
from scipy.special import gamma
from scipy.stats import gennorm

from anon.defenses.processing import jpeg
from anon.errors import UserError
from anon.faces.contract import to_float
from anon.faces.synthetic import parameters
from anon.faces.synthetic.render import render
from anon.metrics.quality import (
    Niqe,
    Pristine,
    asymmetric_gaussian,
    generalized_gaussian,
    niqe,
    niqe_features,
    normalized_contrast,
)


@pytest.fixture(scope="module")
def faces() -> torch.Tensor:
    """One rendered picture of each of 100 people, 64 pixels."""
    who = list(range(100))
    pictures = render(parameters.people(who), parameters.stills(who, [0] * 100, occluders=0.0), 64).images
    return to_float(pictures)


def test_fits_by_hand():
    """Half zeros, half ones: (1/2)² / (1/2) = 1/2 is Laplace's ratio, deviation sqrt(1/2), width sqrt(1/2) / sqrt(2).

    Each side's deviation is that of its own values: 1, so that the width of the asymmetric one is sqrt(1/2).
    """
    x = torch.tensor([[0.0, 0.0, 1.0, -1.0]])
    assert [float(part) for part in generalized_gaussian(x)] == pytest.approx([1.0, 0.5])
    assert [float(part) for part in asymmetric_gaussian(x)] == pytest.approx([1.0, math.sqrt(0.5), math.sqrt(0.5)])


@pytest.mark.parametrize("shape", [0.5, 1.0, 2.0, 4.0])
def test_fit_finds_the_shape_of_scipys_samples(shape):
    drawn = torch.from_numpy(gennorm.rvs(shape, scale=3.0, size=(2, 200_000), random_state=0))
    found, width = generalized_gaussian(drawn)
    assert found.tolist() == pytest.approx([shape] * 2, rel=0.05)
    assert width.tolist() == pytest.approx([3.0] * 2, rel=0.05)


@pytest.mark.parametrize("shape", [0.7, 1.0, 2.0])
def test_asymmetric_fit_finds_both_widths(shape):
    """A side holds a share of the values that is proportional to its width."""
    size = np.abs(gennorm.rvs(shape, size=400_000, random_state=1))
    left = np.random.default_rng(2).random(400_000) < 1 / 4
    drawn = torch.from_numpy(np.where(left, -1.0 * size, 3.0 * size))[None]
    found = [float(part) for part in asymmetric_gaussian(drawn)]
    assert found == pytest.approx([shape, 1.0, 3.0], rel=0.06)


def test_contrasts_are_scipys():
    lightness = 255 * torch.rand(2, 40, 33, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    for ours, picture in zip(normalized_contrast(lightness), lightness.numpy(), strict=True):
        mean = gaussian_filter(picture, 7 / 6, radius=3, mode="nearest")
        deviation = np.sqrt(gaussian_filter(picture**2, 7 / 6, radius=3, mode="nearest") - mean**2)
        np.testing.assert_allclose(ours.numpy(), (picture - mean) / (deviation + 1), rtol=1e-7, atol=1e-9)


def test_features_of_the_first_scale_one_by_one(faces):
    """Y of BT.601, then each product in turn, fitted with numpy as the authors print it."""
    red, green, blue = (faces[0].double().numpy() + 1) * 127.5
    contrast = normalized_contrast(torch.from_numpy(0.299 * red + 0.587 * green + 0.114 * blue)[None])[0].numpy()
    shapes = np.arange(0.2, 10.0005, 0.001)
    ratios = gamma(2 / shapes) ** 2 / (gamma(1 / shapes) * gamma(3 / shapes))

    def fitted(x: np.ndarray) -> list[float]:
        left, right = (np.sqrt(np.mean(x[side] ** 2)) for side in (x < 0, x > 0))
        g = left / right
        ratio = np.mean(np.abs(x)) ** 2 / np.mean(x**2) * (g**3 + 1) * (g + 1) / (g**2 + 1) ** 2
        shape = shapes[np.argmin((ratios - ratio) ** 2)]
        low, high = (side * np.sqrt(gamma(1 / shape) / gamma(3 / shape)) for side in (left, right))
        return [shape, (high - low) * gamma(2 / shape) / gamma(1 / shape), low, high]

    neighbours = ((contrast[:, 1:], contrast[:, :-1]), (contrast[1:], contrast[:-1]))
    diagonals = ((contrast[1:, 1:], contrast[:-1, :-1]), (contrast[1:, :-1], contrast[:-1, 1:]))
    expected = [value for a, b in (*neighbours, *diagonals) for value in fitted((a * b).ravel())]
    found = niqe_features(faces[:1])[0]
    assert found.shape == (36,)
    assert found[2:18].tolist() == pytest.approx(expected, rel=1e-4)
    one_width = generalized_gaussian(torch.from_numpy(contrast.ravel()[None]))
    assert found[:2].tolist() == pytest.approx([float(part) for part in one_width])


def test_distance_by_hand():
    """From (1, 0) to (3, 1): 2·4 - 2·2·1 + 3·1 = 7."""
    pristine = Pristine(torch.tensor([1.0, 0.0]), torch.tensor([[2.0, -1.0], [-1.0, 3.0]]))
    assert niqe(torch.tensor([[3.0, 1.0], [1.0, 0.0]]), pristine).tolist() == pytest.approx([math.sqrt(7), 0.0])


def test_pristine_faces_lie_sqrt_of_the_features_away(faces):
    """Over the fitted faces the mean squared Mahalanobis distance is (N - 1) / N times the 36 features."""
    features = niqe_features(faces)
    scores = niqe(features, Pristine.fit(features))
    assert float(scores.square().mean()) == pytest.approx(36 * 99 / 100, rel=1e-6)


def test_damage_worsens_the_score_step_by_step(faces):
    pristine, held = Pristine.fit(niqe_features(faces[:70])), faces[70:]
    noise = torch.randn(held.shape, generator=torch.Generator().manual_seed(4))
    ladders = {
        "blur": [held, *(gaussian_blur2d(held, (15, 15), (sigma, sigma)) for sigma in (0.7, 1.2, 2.0))],
        "noise": [held, *((held + level * noise).clamp(-1, 1) for level in (0.1, 0.2, 0.4))],
        "jpeg": [held, *(jpeg(held, quality) for quality in (60, 20, 5))],
    }
    for name, ladder in ladders.items():
        scores = [float(niqe(niqe_features(images), pristine).mean()) for images in ladder]
        assert scores == sorted(scores), (name, scores)
        assert scores[-1] > 1.5 * scores[0], (name, scores)


def test_class_leaves_out_pictures_of_one_colour(faces):
    pristine = Pristine.fit(niqe_features(faces))
    metric = Niqe(pristine)
    metric.update(torch.cat([faces[:2], torch.zeros(1, 3, 64, 64)]))
    metric.update(faces[2:5])
    assert int(metric.faces) == 5
    assert float(metric.compute()) == pytest.approx(float(niqe(niqe_features(faces[:5]), pristine).mean()), rel=1e-6)


def test_what_cannot_be_scored_is_refused():
    with pytest.raises(UserError, match=r"got \(31, 64\)"):
        niqe_features(torch.zeros(1, 3, 31, 64))
    features = torch.cat([torch.randn(36, 36), torch.full((5, 36), math.nan)])
    with pytest.raises(UserError, match="36 pristine faces"):
        Pristine.fit(features)
