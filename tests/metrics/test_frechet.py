"""Fréchet and kernel distances by hand, against scipy and torchmetrics, and resampled people against repeated faces."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from scipy.linalg import sqrtm
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from anon.errors import UserError
from anon.metrics import frechet
from anon.metrics.frechet import (
    FrechetDistance,
    KernelDistance,
    frechet_distance,
    frechet_resampled,
    kernel_distance,
    kernel_resampled,
    video_features,
)


def drawn(count: int, seed: int, dim: int = 6) -> torch.Tensor:
    """Features with correlated columns and a mean that is not 0."""
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(count, dim, generator=rng) @ torch.randn(dim, dim, generator=rng) + 3.0


class Flat(nn.Module):
    """What torchmetrics calls an extractor: it hands the features, which come as pictures, through."""

    num_features = 6

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)


def as_pictures(x: torch.Tensor) -> torch.Tensor:
    return x[:, :, None, None]


def test_frechet_by_hand():
    """Axis-aligned Gaussians: (1 - 4)² for the means, (sqrt(2) - sqrt(8))² + (sqrt(18) - 0)² for the deviations."""
    a = torch.tensor([[0.0, -3.0], [2.0, -3.0], [0.0, 3.0], [2.0, 3.0]])  # variances 4/3 and 12
    b = torch.tensor([[2.0, 0.0], [6.0, 0.0], [2.0, 0.0], [6.0, 0.0]])  # 16/3 and none
    expected = 9 + (math.sqrt(4 / 3) - math.sqrt(16 / 3)) ** 2 + 12
    assert float(frechet_distance(a, b)) == pytest.approx(expected, abs=1e-6)
    assert float(frechet_distance(a, a)) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("counts", [(40, 55), (5, 4)])
def test_frechet_is_scipys_and_torchmetrics(counts):
    """With fewer faces than features the covariances are singular, and scipy's root of their product is inexact."""
    a, b = drawn(counts[0], 0), drawn(counts[1], 1)
    one, other = torch.cov(a.T.double()).numpy(), torch.cov(b.T.double()).numpy()
    root = sqrtm(one @ other).real
    gap = float((a.double().mean(0) - b.double().mean(0)).square().sum())
    expected = gap + one.trace() + other.trace() - 2 * root.trace()
    assert float(frechet_distance(a, b)) == pytest.approx(expected, rel=1e-5)
    fid = FrechetInceptionDistance(Flat(), input_img_size=(6, 1, 1)).set_dtype(torch.float64)
    fid.update(as_pictures(a.double()), real=True)
    fid.update(as_pictures(b.double()), real=False)
    assert float(frechet_distance(a, b)) == pytest.approx(float(fid.compute()), rel=1e-5)


def test_kernel_by_hand():
    """D = 1, k(x, y) = (xy + 1)³: within a k(0, 1) = 1, within b k(1, 2) = 27, across 1, 1, 8, 27."""
    a, b = torch.tensor([[0.0], [1.0]]), torch.tensor([[1.0], [2.0]])
    assert float(kernel_distance(a, b)) == pytest.approx(1 + 27 - 2 * (1 + 1 + 8 + 27) / 4)


def test_kernel_is_torchmetrics_on_one_subset_of_all():
    a, b = drawn(50, 2), drawn(50, 3)
    kid = KernelInceptionDistance(Flat(), subsets=1, subset_size=50)
    kid.update(as_pictures(a), real=True)
    kid.update(as_pictures(b), real=False)
    expected = float(kid.compute()[0])
    assert float(kernel_distance(a, b)) == pytest.approx(expected, rel=1e-4)
    assert float(kernel_distance(a, b, block=7)) == pytest.approx(expected, rel=1e-4)


def test_kernel_has_no_bias_and_frechet_has():
    """Halves of one population, 200 times: the kernel's mean lies within three standard errors of 0."""
    x = torch.randn(200, 40, 4, generator=torch.Generator().manual_seed(4))
    kernels = torch.stack([kernel_distance(part[:20], part[20:]) for part in x])
    assert abs(float(kernels.mean())) < 3 * float(kernels.std()) / math.sqrt(200)
    assert min(float(frechet_distance(part[:20], part[20:])) for part in x) > 0.05


@pytest.mark.parametrize(
    ("resampled", "plain"),
    [(frechet_resampled, frechet_distance), (partial(kernel_resampled, block=4), kernel_distance)],
)
@pytest.mark.parametrize("block", [1, 4 * 3**2, 1 << 22])  # of Fréchet's: one, three or all at a time
def test_weights_are_repetitions(monkeypatch, resampled, plain, block):
    monkeypatch.setattr(frechet, "BLOCK", block)
    a, b, people = drawn(30, 5), drawn(30, 6), torch.arange(30) % 7
    weights = torch.randint(4, (6, 7), generator=torch.Generator().manual_seed(7)).double()
    weights[0] = 1.0
    weights[1] = 0.0
    found = resampled(a, b, people, weights)
    assert math.isnan(float(found[1]))  # nobody was drawn
    for row in (0, 2, 3, 4, 5):
        again = weights[row].long()[people]
        expected = plain(a.repeat_interleave(again, 0), b.repeat_interleave(again, 0))
        assert float(found[row]) == pytest.approx(float(expected), rel=1e-7)
    assert float(found[0]) == pytest.approx(float(plain(a, b)), rel=1e-9)


def test_one_face_is_no_resample():
    """The second person has one face; drawn once she makes no set, drawn twice one without spread."""
    a, people = torch.tensor([[0.0], [2.0], [1.0]]), torch.tensor([0, 0, 1])
    weights = torch.tensor([[0.0, 1.0], [0.0, 2.0]])
    assert frechet_resampled(a, a + 3, people, weights).tolist() == pytest.approx([math.nan, 9.0], nan_ok=True)
    # twice 1 before, twice 4 after: 8 + 17³ - 2 · 5³
    assert kernel_resampled(a, a + 3, people, weights).tolist() == pytest.approx([math.nan, 4671.0], nan_ok=True)


def test_video_features_by_hand():
    """Two clips of three frames: 0 3 0 moves by 3 each time, 1 1 1 stands; both have mean 1."""
    z = torch.tensor([[0.0, 3.0, 0.0], [1.0, 1.0, 1.0]])[..., None]
    assert video_features(z).tolist() == [[1.0, 3.0], [1.0, 0.0]]
    with pytest.raises(UserError, match=r"\(2, 1, 1\)"):
        video_features(z[:, :1])


def test_classes_over_batches():
    a, b = drawn(20, 8), drawn(25, 9)
    for metric, plain in ((FrechetDistance(dim=6), frechet_distance), (KernelDistance(), kernel_distance)):
        for features, real in ((a, True), (b, False)):
            for part in features.split(9):
                metric.update(part, real=real)
        assert float(metric.compute()) == pytest.approx(float(plain(a, b)), rel=1e-6)


def test_sets_that_cannot_be_are_refused():
    a = drawn(4, 10)
    for distance in (frechet_distance, kernel_distance):
        with pytest.raises(UserError, match=r"two faces, got \(1, 6\)"):
            distance(a, a[:1])
        with pytest.raises(UserError, match="NaN or infinite"):
            distance(a, torch.full((2, 6), math.nan))
    frechet, kernel = FrechetDistance(dim=6), KernelDistance()
    for metric in (frechet, kernel):
        metric.update(a, real=True)
    with pytest.raises(UserError, match="4 real and 0 changed"):
        frechet.compute()
    with pytest.raises(UserError, match="no changed ones"):
        kernel.compute()
    frechet.update(torch.full((2, 6), math.inf), real=False)
    with pytest.raises(UserError, match="NaN or infinite"):
        frechet.compute()
