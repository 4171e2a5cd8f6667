"""Intervals of thresholds and equal error rates, against resamples written out pair by pair."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.nn import functional as F

from anon.errors import UserError
from anon.evaluation.intervals.bootstrap import Bootstrap
from anon.evaluation.intervals.shares import spread_ends
from anon.evaluation.judges.thresholds import LEVELS, calibrated, calibrated_probes
from anon.evaluation.protocol import Calibrating, calibrate
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
    rates, limits = (torch.tensor(values, dtype=torch.float64) for values in (rates, limits))
    wanted = spread_ends(found.eer.value, rates, 15), Bootstrap.interval(limits)
    for figure, (low, high), within in ((found.eer, wanted[0], 0.01), (found.threshold, wanted[1], 0.02)):
        assert figure.low == pytest.approx(low, abs=within) and figure.high == pytest.approx(high, abs=within)
        assert figure.low < figure.value < figure.high


def test_nobody_mistaken_is_no_certainty() -> None:
    """Ten people far apart: an EER of 0, at most 1 - .025^(1/10) = .308 by Clopper and Pearson."""
    z, labels = people(10, 3, 0.01)
    eer = calibrated(z, labels, 0.01, "the judge", resamples=50).eer
    assert (eer.value, eer.low) == (0.0, 0.0) and eer.high == pytest.approx(0.3085, abs=1e-4)


def test_probes_are_calibrated_as_they_are_compared() -> None:
    """Kind: a threshold taken of one comparison and used for another. Averages are nearer to strangers than pictures.

    Also had by the encoder's ID, adversaries with a recognizer of their own, the ladder, transfer and noise_share. 40
    people of 12 pictures, 6 enrolled: at the threshold of pictures, strangers' averages are accepted too often.
    """
    rng = torch.Generator().manual_seed(4)
    labels = torch.arange(40).repeat_interleave(12)
    centres = F.pad(torch.randn(40, 8, generator=rng), (0, 56))  # what a single picture adds is elsewhere for the most
    z = F.normalize(centres[labels] + 0.5 * torch.randn(len(labels), 64, generator=rng))
    alone = torch.full_like(labels, -1)
    turn = torch.arange(len(z)) % 12
    roles = Calibrating(torch.arange(len(z)), *((turn < 6).nonzero()[:, 0], (turn >= 6).nonzero()[:, 0]))
    found = calibrated_probes(z, labels, alone, roles, 0.01, "the judge", resamples=200)
    averages = torch.stack([F.normalize(z[(labels == who) & (turn < 6)].sum(0), dim=0) for who in range(40)])
    apart = 1.0 - z[roles.probe] @ averages.T
    strangers = apart[labels[roles.probe][:, None] != torch.arange(40)[None]]
    assert found.found.impostor_pairs == len(strangers) == 240 * 39
    assert found.found.threshold == pytest.approx(float(strangers.sort().values[93]))  # 1 % of 9,360 are below it
    assert float((strangers < found.found.threshold).double().mean()) <= 0.01
    pictures = calibrated(z, labels, 0.01, "the judge", resamples=200)
    assert float((strangers < pictures.found.threshold).double().mean()) > 0.02
    low, high, levels = found.found.low, found.found.high, found.found.levels
    assert low < found.found.threshold < high and list(levels) == sorted(levels) and len(levels) == LEVELS
    assert low < levels[0] < levels[-1] < high and found.threshold.low == low
    assert found.found.interval() == {"threshold_low": low, "threshold_high": high}


def test_probes_against_averages_must_tell_the_rate() -> None:
    """20 people with 2 probes each against 19 others: 760 comparisons are enough for .002 and not for .001."""
    z, labels = people(20, 4, 0.7)
    alone, turn = torch.full_like(labels, -1), torch.arange(80) % 4
    roles = Calibrating(torch.arange(80), (turn < 2).nonzero()[:, 0], (turn >= 2).nonzero()[:, 0])
    assert calibrated_probes(z, labels, alone, roles, 0.002, "the judge", resamples=20).found.impostor_pairs == 760
    with pytest.raises(UserError, match="760 impostor"):
        calibrated_probes(z, labels, alone, roles, 0.001, "the judge", resamples=20)
