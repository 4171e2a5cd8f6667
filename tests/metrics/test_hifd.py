"""HiFD's scores by hand, and against the package where it is installed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from anon.metrics.hifd import (
    PARTS,
    PROFILES,
    age_score,
    composite,
    covered,
    directions,
    distribution_score,
    gaze_score,
    landmark_score,
    privacy_score,
    quality_score,
)


def of(**parts):
    return {name: torch.tensor(value, dtype=torch.float64) for name, value in parts.items()}


def test_scores_by_hand():
    assert privacy_score(torch.tensor([0.2, -0.2])).tolist() == pytest.approx([0.4, 0.6])
    # (1 - .25) / 2 + (5 - 3) / 5 / 2; beyond the ends both are clipped
    assert quality_score(torch.tensor([0.25, 2.0]), torch.tensor([3.0, 9.0])).tolist() == pytest.approx([0.575, 0.0])
    assert age_score(torch.tensor([20.0]), torch.tensor([50.0])).tolist() == pytest.approx([0.7])
    before, after = torch.tensor([[0.5, 0.5, 0.0]]), torch.tensor([[0.25, 0.5, 0.25]])
    assert distribution_score(before, after).tolist() == [0.75]
    # eyes 20 apart; a mean distance of (1 + 0) / 2 is a fortieth of it
    points = torch.tensor([[[0.0, 0.0], [20.0, 0.0]]])
    moved = points + torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    assert landmark_score(points, moved, points[:, 0], points[:, 1]).tolist() == pytest.approx([0.75])
    angles = torch.tensor([[0.0, 0.0], [0.0, 0.0], [30.0, 0.0]])
    looked = torch.tensor([[0.0, 18.0], [120.0, 0.0], [30.0, 0.0]])
    assert gaze_score(angles, looked).tolist() == pytest.approx([0.8, 0.0, 1.0], abs=1e-4)
    assert directions(torch.tensor([[0.0, 90.0]]))[0].tolist() == pytest.approx([0.0, 1.0, 0.0])


def test_composites_by_hand():
    parts = of(P=0.5, Q=1.0, U1=1.0, U2=1.0, U3=1.0)
    assert float(composite(parts, "privacy_first")) == pytest.approx(1 / (0.5 / 0.5 + 4 * 0.125))
    assert float(composite(parts, "balanced")) == pytest.approx(1 / (0.2 / 0.5 + 4 * 0.2))
    assert float(composite(parts, "clinical")) == pytest.approx(1 / (0.15 / 0.5 + 3 * 0.15 + 0.4))
    # without Q and U3: the weights .15, .15 and .15 become thirds
    rest = of(P=0.5, U1=0.25, U2=1.0)
    assert float(composite(rest, "clinical")) == pytest.approx(3 / (2 + 4 + 1))
    assert covered(rest, "clinical") == 0.45 and covered(rest, "privacy_first") == 0.75
    assert float(composite(of(P=0.0, Q=1.0), "balanced")) == 0.0


def test_raw_niqe_is_no_quality():
    """What the package's pipeline takes for Q, 4.2, raises the composite; its own formula, with LPIPS .1, gives .53."""
    rest = of(P=0.5, U1=0.8, U2=0.8)
    raw, right = rest | of(Q=4.2), rest | of(Q=0.53)
    assert float(quality_score(torch.tensor([0.1]), torch.tensor([4.2]))) == pytest.approx(0.53)
    assert float(composite(raw, "balanced")) == pytest.approx(4 / (2 + 1.25 + 1.25 + 1 / 4.2))
    assert float(composite(right, "balanced")) == pytest.approx(4 / (2 + 1.25 + 1.25 + 1 / 0.53))
    assert composite(raw, "balanced") > composite(right, "balanced")


def test_the_package_says_the_same():
    hifd = pytest.importorskip("hifd", reason="the package hifd is not installed")
    assert {name: dict(weights) for name, weights in hifd.DEFAULT_PROFILES.items()} == {
        name: dict(weights) for name, weights in PROFILES.items()
    }
    rng = torch.Generator().manual_seed(0)
    a, b = (torch.nn.functional.normalize(torch.randn(9, 6, generator=rng).double()) for _ in range(2))
    theirs = hifd.batch_privacy_score(a.numpy(), b.numpy())
    np.testing.assert_allclose(privacy_score((a * b).sum(1)).numpy(), theirs, atol=1e-9)
    lpips, niqe = torch.rand(9, generator=rng) * 1.5, torch.rand(9, generator=rng) * 8
    np.testing.assert_allclose(quality_score(lpips, niqe), hifd.batch_quality_score(lpips.numpy(), niqe.numpy()), 1e-5)
    p, q = (torch.rand(9, 4, generator=rng).softmax(1) for _ in range(2))
    np.testing.assert_allclose(distribution_score(p, q), hifd.batch_score_categorical(p.numpy(), q.numpy()), 1e-5)
    points, moved = torch.rand(9, 5, 2, generator=rng) * 60, torch.rand(9, 5, 2, generator=rng)
    own = landmark_score(points, points + moved, points[:, 0], points[:, 1])
    found = [hifd.score_landmark(x, x + y, x[0], x[1]) for x, y in zip(points.numpy(), moved.numpy(), strict=True)]
    np.testing.assert_allclose(own, found, atol=1e-4)
    looks = [torch.randn(9, 2, generator=rng) * 20 for _ in range(2)]
    pairs = zip(*(directions(each).numpy() for each in looks), strict=True)
    np.testing.assert_allclose(gaze_score(*looks), [hifd.score_gaze(*pair) for pair in pairs], atol=1e-5)
    scores = dict(zip(PARTS, [0.45, 0.6, 0.9, 0.8, None], strict=True))
    ours = {name: float(composite(of(P=0.45, Q=0.6, U1=0.9, U2=0.8), name)) for name in PROFILES}
    assert ours == pytest.approx(hifd.compose_profiles(**scores), abs=1e-5)
