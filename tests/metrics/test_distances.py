from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial import distance as scipy_distance
from scipy.stats import norm
from torch.nn.functional import normalize

from anon.errors import UserError
from anon.metrics.distances import (
    CONVENTIONS,
    DeidentificationRate,
    DistanceDistributions,
    IdentityDistances,
    crossing_threshold,
    identity_distances,
    intersection_area,
)


def drawn(count: int, seed: int, dim: int = 8) -> torch.Tensor:
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))


def test_four_conventions_are_scipys():
    a, b = drawn(6, 0), drawn(6, 1)
    found = identity_distances(a, b)
    names = {"cosine": "cosine", "l2": "euclidean", "squared_l2": "sqeuclidean", "l1": "cityblock"}
    for ours, theirs in names.items():
        expected = [getattr(scipy_distance, theirs)(x, y) for x, y in zip(a.numpy(), b.numpy(), strict=True)]
        np.testing.assert_allclose(found[ours].numpy(), expected, rtol=1e-5)
    unit = identity_distances(normalize(a), normalize(b))
    torch.testing.assert_close(unit["squared_l2"], 2 * unit["cosine"])
    metric = IdentityDistances()
    metric.update(a[:2], b[:2])
    metric.update(a[2:], b[2:])
    assert {name: float(value) for name, value in metric.compute().items()} == pytest.approx(
        {name: float(values.mean()) for name, values in found.items()}
    )


def test_deidentification_rate_over_batches():
    """Book, eq. 6.23: 1 - 2/5; the distance that equals the threshold still verifies."""
    rate = DeidentificationRate(threshold=0.5)
    rate.update(torch.tensor([0.25, 0.5]))
    rate.update(torch.tensor([0.75, 1.0, 2.0]))
    assert float(rate.compute()) == pytest.approx(3 / 5)


def test_intersection_area_by_hand():
    """Four bins of [0, 4]: shares 1/2 1/4 1/4 0 and 0 1/4 1/4 1/2; the largest value falls into the last bin."""
    first, second = torch.tensor([0.0, 0.5, 1.5, 2.5]), torch.tensor([1.5, 2.5, 3.5, 4.0])
    assert intersection_area(first, second, bins=4) == 0.5
    assert intersection_area(first, first, bins=4) == 1.0
    assert intersection_area(first, first + 10, bins=4) == 0.0
    assert intersection_area(torch.ones(3), torch.ones(2)) == 1.0


def test_intersection_area_of_two_gaussians():
    """Equal deviations, means d apart: 2 Φ(-d / 2), and the densities cross halfway."""
    first, second = drawn(100_000, 0, 1)[:, 0], drawn(100_000, 1, 1)[:, 0] + 2
    assert intersection_area(first, second) == pytest.approx(2 * norm.cdf(-1), abs=0.01)
    assert crossing_threshold(first, second) == pytest.approx(1.0, abs=0.1)
    edges = np.histogram_bin_edges(torch.cat([first, second]).double().numpy(), 50)
    parts = [np.histogram(values.double().numpy(), edges)[0] / 100_000 for values in (first, second)]
    assert intersection_area(first, second, bins=50) == pytest.approx(np.minimum(*parts).sum(), abs=1e-4)


def test_areas_that_cannot_be_are_refused():
    with pytest.raises(UserError, match="0 values"):
        intersection_area(torch.ones(1), torch.empty(0))
    with pytest.raises(UserError, match="NaN"):
        intersection_area(torch.ones(1), torch.tensor([math.nan]))
    with pytest.raises(UserError, match="got none"):
        DistanceDistributions().compute()


def test_three_distributions_of_a_swap():
    """Changed faces that are the source but for one in two, who stay the target."""
    target, source = torch.tensor([[1.0, 0.0]] * 4), torch.tensor([[0.0, 1.0]] * 4)
    changed = torch.stack([source[0], target[0]] * 2)
    metric = DistanceDistributions(bins=10)
    metric.update(target[:1], source[:1], changed[:1])
    metric.update(target[1:], source[1:], changed[1:])
    found = metric.compute()
    assert tuple(found) == CONVENTIONS
    for name, apart in (("cosine", 1.0), ("l2", math.sqrt(2)), ("squared_l2", 2.0), ("l1", 2.0)):
        assert tuple(found[name]) == pytest.approx((apart, apart / 2, apart / 2, 0.5, 0.5, 1.0)), name
