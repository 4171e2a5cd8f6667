from __future__ import annotations

import math

import pytest
import torch

from anon.metrics.retrieval import FalseIdentification, RetrievalRate, nearest, nearest_stranger, retrieval_hits
from anon.metrics.temporal import TemporalConsistency, temporal_consistency


def at(*degrees: float) -> torch.Tensor:
    angle = torch.deg2rad(torch.tensor(degrees))
    return torch.stack([angle.cos(), angle.sin()], 1)


GALLERY, PEOPLE = at(0, 90, 180), torch.tensor([10, 11, 12])


def test_hit_needs_the_own_identity_nearest_and_below_the_threshold():
    probes, labels = at(20, 60, 20, 80), torch.tensor([10, 10, 11, 11])
    hits = retrieval_hits(probes, labels, GALLERY, PEOPLE, threshold=1 - math.cos(math.radians(15)))
    assert hits.tolist() == [False, False, False, True]  # too far, nearest is 11, nearest is 10, hit at 10°
    assert retrieval_hits(probes, labels, GALLERY, PEOPLE).tolist() == [True, False, False, True]


def test_negated_probe_finds_the_person():
    probes, labels = at(180, 0), torch.tensor([10, 10])
    assert retrieval_hits(probes, labels, GALLERY, PEOPLE, 0.1, negate=True).tolist() == [True, False]


def test_threshold_is_strict():
    probe, gallery = torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 0.0]])  # distance exactly 1
    assert retrieval_hits(probe, torch.tensor([0]), gallery, torch.tensor([0]), 1.0).tolist() == [False]
    assert retrieval_hits(probe, torch.tensor([0]), gallery, torch.tensor([0]), 1.0001).tolist() == [True]


def test_blocks_do_not_matter_and_ties_go_to_the_first():
    z = torch.nn.functional.normalize(torch.randn(30, 5, generator=torch.Generator().manual_seed(0)))
    gallery = torch.cat([z[:10], z[:10]])
    distance, place = nearest(z, gallery, block=7)
    full = 1 - z @ gallery.T
    torch.testing.assert_close(distance, full.min(1).values)
    assert place[:10].tolist() == list(range(10))


def test_no_probes_is_no_hit():
    assert len(retrieval_hits(torch.empty(0, 2), torch.empty(0), GALLERY, PEOPLE)) == 0


def test_rate_over_several_batches():
    rate = RetrievalRate(GALLERY, PEOPLE, threshold=0.1)
    rate.update(at(1, 2), torch.tensor([10, 10]))
    rate.update(at(100), torch.tensor([10]))
    assert float(rate.compute()) == pytest.approx(2 / 3)


def test_two_frames_at_distance_d():
    """D = [[0, d], [d, 0]]: mean d/2, every entry d/2 away from it."""
    mu, sigma = temporal_consistency(at(0, 60)[None])
    torch.testing.assert_close(mu, torch.tensor([0.25]))
    torch.testing.assert_close(sigma, torch.tensor([0.25]))


def test_three_frames_by_hand():
    """0°, 60°, 90°: distances .5, 1, 1 - cos 30° = .13397; nine entries, each twice and three zeros."""
    mu, sigma = temporal_consistency(at(0, 60, 90)[None])
    near = 1 - math.cos(math.radians(30))
    entries = [0.5, 1.0, near] * 2 + [0.0] * 3
    mean = sum(entries) / 9
    assert float(mu) == pytest.approx(mean, abs=1e-6)
    assert float(sigma) == pytest.approx(math.sqrt(sum((entry - mean) ** 2 for entry in entries) / 9), abs=1e-6)


def test_class_averages_clips():
    metric = TemporalConsistency()
    metric.update(at(0, 60)[None])
    metric.update(at(0, 0)[None])
    assert float(metric.compute()["mu"]) == pytest.approx(0.125)


def test_who_is_taken_for_another_while_not_enrolled():
    """Enrolled at 0, 60 and 150 degrees; the nearest strangers of 0, 30 and 90 are 60, 30 and 30 degrees away."""
    gallery = at(0, 60, 150)  # of people 0, 1 and 2
    probes, labels = at(0, 30, 90), torch.tensor([0, 0, 2])
    found = nearest_stranger(probes, labels, gallery, torch.arange(3))
    expected = [1 - math.cos(math.radians(angle)) for angle in (60, 30, 30)]
    assert found.tolist() == pytest.approx(expected, abs=1e-6)
    rate = FalseIdentification(gallery, torch.arange(3), threshold=0.3)
    rate.update(probes, labels)
    assert float(rate.compute()) == pytest.approx(2 / 3)
    alone = nearest_stranger(probes, torch.zeros(3), gallery[:1], torch.zeros(1))
    assert alone.tolist() == [math.inf] * 3
