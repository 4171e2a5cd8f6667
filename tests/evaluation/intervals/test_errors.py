"""Error rates of resampled people: those of the pairs themselves, and of pairs that are written several times."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from anon.evaluation.intervals.bootstrap import Bootstrap
from anon.evaluation.intervals.errors import resampled_errors
from anon.identity.verification import equal_error_rate, threshold_at_far

ONCE, LIMITS = torch.ones(1, 12, dtype=torch.float64), torch.tensor([0.3])


def pairs(noise=0.35, people=12, strangers=3, seed=1):
    rng = torch.Generator().manual_seed(seed)
    gallery = F.normalize(torch.randn(people + strangers, 8, generator=rng), dim=1)
    labels = torch.arange(people * 5) % people
    z = F.normalize(gallery[labels] + noise * torch.randn(len(labels), 8, generator=rng), dim=1)
    entries = torch.arange(people + strangers)
    return 1.0 - z @ gallery.T, labels[:, None] == entries[None], labels, entries.where(entries < people, -1)


def test_resampled_errors_without_resampling_are_the_errors():
    distance, own, people, entries = pairs()
    found = resampled_errors(distance, own, people, entries, ONCE, (0.05,), LIMITS, levels=400)
    genuine, impostor = distance[own], distance[~own]
    tar = (genuine < threshold_at_far(impostor, 0.05)[0]).double().mean()
    assert float(found.eer) == pytest.approx(equal_error_rate(genuine, impostor)[0], abs=0.01)
    assert float(found.tar) == pytest.approx(float(tar), abs=0.02)
    assert 0.01 < float(found.eer) < 0.3 and 0.1 < float(found.tar) < 1.0


def test_a_resample_is_pairs_written_several_times():
    """Person i's pairs with himself w_i times, with j w_i w_j times, with a stranger who never probes w_i times."""
    distance, own, people, entries = pairs()
    weights = torch.tensor([[2, 0, 1, 3, 1, 1, 0, 1, 2, 1, 0, 0]], dtype=torch.float64)
    found = resampled_errors(distance, own, people, entries, weights, (0.05,), LIMITS, levels=400)
    mine, other = weights[0][people], torch.where(entries < 0, 1.0, weights[0][entries.clamp_min(0)])
    genuine = distance[own].repeat_interleave(mine.long())
    times = (mine[:, None] * other[None]).long()
    impostor = distance[~own].repeat_interleave(times[~own])
    tar = (genuine < threshold_at_far(impostor, 0.05)[0]).double().mean()
    assert float(found.eer) == pytest.approx(equal_error_rate(genuine, impostor)[0], abs=0.01)
    assert float(found.tar) == pytest.approx(float(tar), abs=0.03)


def test_intervals_of_errors_hold_the_errors():
    distance, own, people, entries = pairs(people=40)
    draws = resampled_errors(distance, own, people, entries, Bootstrap(people, 300).weights, (0.01,), LIMITS)
    genuine, impostor = distance[own], distance[~own]
    tar = float((genuine < threshold_at_far(impostor, 0.01)[0]).double().mean())
    for value, found in ((equal_error_rate(genuine, impostor)[0], draws.eer), (tar, draws.tar[0])):
        low, high = Bootstrap.interval(found)
        assert low < value < high and 0.0 < high - low < 0.4


def test_areas_and_accuracies_by_hand():
    """Two people at one own distance each, .25 and .5, and at .375 and 1 from each other: two pairs of each kind.

    Three of the four comparisons are right (.25 before both, .5 before 1). Below .3 one of two is accepted rightly and
    none wrongly; below .75 both, and one of two wrongly.
    """
    distance = torch.tensor([[0.25, 0.375], [1.0, 0.5]])
    own, people = torch.eye(2).bool(), torch.tensor([0, 1])
    weights = torch.ones(2, 2, dtype=torch.float64)
    limits = torch.tensor([0.3, 0.75])  # of the first and of the second resample
    found = resampled_errors(distance, own, people, people, weights, (0.5, 0.9), limits, levels=2000)
    assert found.auc.tolist() == pytest.approx([0.75, 0.75], abs=1e-3)
    assert found.accuracy.tolist() == [0.75, 0.75]
    assert found.best.tolist() == [0.75, 0.75]
    assert found.tar[:, 0].tolist() == [1.0, 1.0]
    # the first person twice: own pairs .25, .25, .5; pairs of two people 2 x 1 times each, as before
    found = resampled_errors(distance, own, people, people, torch.tensor([[2.0, 1.0]]).double(), (0.5,), limits)
    assert float(found.accuracy) == pytest.approx((2 / 3 + 1) / 2)


def test_many_pairs_are_counted_in_steps():
    """What is added step by step is what lies below: the last row accepts all, and rates never fall."""
    distance, own, people, entries = pairs(people=30)
    weights = Bootstrap(people, 20).weights
    rates = [
        resampled_errors(distance, own, people, entries, weights, (far,), LIMITS).tar[0] for far in (0.01, 0.1, 0.5)
    ]
    assert bool((rates[0] <= rates[1]).all() and (rates[1] <= rates[2]).all() and (rates[2] <= 1.0).all())
