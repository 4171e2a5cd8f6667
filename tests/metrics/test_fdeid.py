"""FDeID-Toolbox's definitions on hand-made cases, beside ours: where both say the same, where a name is two figures.

Theirs are written out here as the toolbox's scripts compute them, on similarities and pictures in [0, 1].
"""

from __future__ import annotations

import math

import pytest
import torch
from torchmetrics.functional.image import structural_similarity_index_measure

from anon.metrics.preservation import psnr, ssim
from anon.metrics.verification import ProtectionSuccess, balanced_accuracy, best_accuracy

BEFORE = torch.tensor([0.9, 0.8, 0.7, 0.3])  # similarities of four genuine pairs, unchanged
AFTER = torch.tensor([0.2, 0.75, 0.1, 0.2])  # the same, changed
IMPOSTOR = torch.tensor([0.1, 0.2, 0.4, 0.5])


def toolbox_threshold(genuine, impostor):
    """The similarity at which most pairs are judged rightly; of equals the highest."""
    scores = torch.cat([genuine, impostor]).sort(descending=True).values
    right = [float((genuine >= each).float().sum() + (impostor < each).float().sum()) for each in scores]
    return float(scores[right.index(max(right))])


def toolbox_psr(before, after, threshold):
    """Of *all* genuine pairs, those that were accepted and are no longer."""
    return float(((before >= threshold) & (after < threshold)).float().mean())


def ours(before, after, threshold):
    """Ours asks for distances below a threshold, so a similarity at the threshold needs the next number above."""
    rate = ProtectionSuccess(math.nextafter(1 - threshold, 2))
    rate.update(1 - before.double(), 1 - after.double())
    return float(rate.compute()), int(rate.faces)


def test_their_threshold_and_accuracy():
    """At .7 three of four genuine pairs are accepted and no impostor: 7 of 8 are right."""
    threshold = toolbox_threshold(BEFORE, IMPOSTOR)
    assert threshold == pytest.approx(0.7)
    accuracy, limit = best_accuracy(1 - BEFORE, 1 - IMPOSTOR)
    assert accuracy == 7 / 8 and limit == pytest.approx(1 - 0.5)  # any distance above .3, up to .5, does the same
    assert balanced_accuracy(1 - BEFORE, 1 - IMPOSTOR, 0.5) == 7 / 8


def test_their_psr_is_of_all_pairs():
    """.9 and .7 are rejected after the change and .8 is not: 2 of 4 by theirs, 2 of the 3 accepted by ours."""
    assert toolbox_psr(BEFORE, AFTER, 0.7) == 0.5
    rate, accepted = ours(BEFORE, AFTER, 0.6999)
    assert (rate, accepted) == (pytest.approx(2 / 3), 3)
    tar_unchanged = accepted / len(BEFORE)
    assert rate * tar_unchanged == pytest.approx(toolbox_psr(BEFORE, AFTER, 0.6999))


def test_a_judge_that_knows_nobody_protects_nobody():
    """Where no unchanged pair is accepted theirs is 0, which reads as no protection; ours has no value."""
    assert toolbox_psr(IMPOSTOR, AFTER, 0.99) == 0.0
    rate, accepted = ours(IMPOSTOR, AFTER, 0.99)
    assert accepted == 0 and math.isnan(rate)


def test_a_threshold_at_the_median_is_always_a_half():
    """``PrivacyMetrics`` takes the median of the very scores: hidden, shown or random, half lies below."""
    rng = torch.Generator().manual_seed(0)
    for scores in (AFTER, BEFORE, torch.rand(1001, generator=rng), 0.01 * torch.rand(1001, generator=rng)):
        psr = 1 - float((scores >= scores.quantile(0.5)).double().mean())
        assert psr == pytest.approx(0.5, abs=1 / len(scores))


def test_psnr_is_the_same_in_either_range():
    """A difference of .1 in [0, 1] is .2 in [-1, 1]: 20 dB in both."""
    picture = torch.full((1, 3, 32, 32), 0.4)
    theirs = 10 * math.log10(1 / float(((picture + 0.1) - picture).square().mean()))
    assert theirs == pytest.approx(20.0, abs=1e-3)
    assert float(psnr((picture + 0.1) * 2 - 1, picture * 2 - 1)) == pytest.approx(theirs, abs=1e-3)


def test_ssim_is_the_same():
    """Theirs is of [0, 1], and so is ours, whatever the range in which pictures are here."""
    rng = torch.Generator().manual_seed(0)
    picture = torch.rand(2, 3, 64, 64, generator=rng)
    worse = (picture + 0.1 * torch.randn(2, 3, 64, 64, generator=rng)).clamp(0, 1)
    theirs = structural_similarity_index_measure(worse, picture, data_range=1.0, reduction="none")
    assert torch.allclose(ssim(worse * 2 - 1, picture * 2 - 1), theirs, atol=1e-5)
