"""Intervals of thresholds and equal error rates, against resamples written out pair by pair."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.nn import functional as F

from anon.evaluation.bootstrap import Bootstrap
from anon.evaluation.protocol import calibrate
from anon.evaluation.thresholds import calibrated
from anon.identity.verification import equal_error_rate, threshold_at_far


def people(count: int, pictures: int, spread: float) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(4)
    centres = torch.randn(count, 8, generator=rng)
    labels = torch.arange(count).repeat_interleave(pictures)
    return F.normalize(centres[labels] + spread * torch.randn(len(labels), 8, generator=rng)), labels


def test_intervals_are_those_of_resamples_written_out() -> None:
    z, labels = people(15, 4, 0.7)
    far, resamples, seed = 0.05, 60, 2
    found = calibrated(z, labels, far, "the judge", resamples, seed)
    exact = calibrate(z, labels, far, "the judge")
    assert found.found[:4] == exact[:4]
    assert (found.threshold.value, found.eer.value) == (exact.threshold, exact.eer)

    rates, limits = [], []
    for weights in Bootstrap(labels, resamples, seed).weights.long().tolist():
        genuine, impostor = [], []
        for i, j in itertools.combinations(range(len(z)), 2):
            one, other = int(labels[i]), int(labels[j])
            times = weights[one] if one == other else weights[one] * weights[other]
            (genuine if one == other else impostor).extend([1.0 - float(z[i] @ z[j])] * times)
        rates.append(equal_error_rate(torch.tensor(genuine), torch.tensor(impostor))[0])
        limits.append(threshold_at_far(torch.tensor(impostor), far)[0])
    for figure, values, within in ((found.eer, rates, 0.01), (found.threshold, limits, 0.02)):
        low, high = Bootstrap.interval(torch.tensor(values, dtype=torch.float64))
        assert figure.low == pytest.approx(low, abs=within) and figure.high == pytest.approx(high, abs=within)
        assert figure.low < figure.value < figure.high


def test_nobody_mistaken_is_no_certainty() -> None:
    """Ten people far apart: an EER of 0, at most 1 - .025^(1/10) = .308 by Clopper and Pearson."""
    z, labels = people(10, 3, 0.01)
    eer = calibrated(z, labels, 0.01, "the judge", resamples=50).eer
    assert (eer.value, eer.low) == (0.0, 0.0) and eer.high == pytest.approx(0.3085, abs=1e-4)
