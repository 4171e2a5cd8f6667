from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize
from torchmetrics.functional.classification import binary_auroc, binary_eer, binary_roc

from anon.errors import Failed, UserError
from anon.identity.verification import pair_distances, tar_at_far
from anon.metrics.verification import (
    ErrorTradeoff,
    ProtectionSuccess,
    VerificationRates,
    balanced_accuracy,
    best_accuracy,
    error_tradeoff,
    protected,
)


def faces() -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 12
    people = torch.randn(12, 8, generator=rng)
    return normalize(people[labels] + 0.7 * torch.randn(60, 8, generator=rng)), labels


def test_every_step_is_torchmetrics_roc():
    genuine, impostor = pair_distances(*faces())
    scores = 2.0 - torch.cat([genuine, impostor]).double()  # higher is genuine; thresholded with >=
    truth = torch.cat([torch.ones(len(genuine)), torch.zeros(len(impostor))]).long()
    far, tar, _ = binary_roc(scores / 4, truth)
    ours = error_tradeoff(genuine, impostor)
    theirs = set(counts(far, tar, genuine, impostor))
    mine = counts(ours.far, 1 - ours.frr, genuine, impostor)
    assert len(set(mine)) > 300 and set(mine) == theirs


def counts(far, tar, genuine, impostor) -> list[tuple[int, int]]:
    """How many impostor and genuine pairs each point accepts."""
    pairs = ((far, impostor), (tar, genuine))
    false, true = ((rate.double() * len(part)).round().long().tolist() for rate, part in pairs)
    return list(zip(false, true, strict=True))


def test_wanted_rates_by_hand():
    genuine, impostor = torch.tensor([0.1, 0.3, 0.5, 0.7]), torch.tensor([0.4, 0.6, 0.8, 0.9])
    found = error_tradeoff(genuine, impostor, fars=(0.0, 0.25, 0.49, 1.0))
    assert found.far.tolist() == [0.0, 0.25, 0.25, 1.0]
    assert found.frr.tolist() == [0.5, 0.25, 0.25, 0.0]
    assert found.thresholds.tolist() == pytest.approx([0.4, 0.6, 0.6, np.inf])
    with pytest.raises(UserError, match="4 impostor pairs cannot tell a false accept rate of 0"):
        error_tradeoff(genuine, impostor, fars=(0.5, 0.2))


def test_classes_pair_faces_of_different_batches():
    z, labels = faces()
    genuine, impostor = pair_distances(z, labels)
    rates, tradeoff = VerificationRates(far=0.01), ErrorTradeoff(fars=(0.01, 0.1))
    for rows in torch.arange(60).split(17):
        rates.update(z[rows], labels[rows])
        tradeoff.update(z[rows], labels[rows])
    found = rates.compute()
    assert found["tar"] == tar_at_far(genuine, impostor, 0.01)
    assert 0.0 < found["far"] <= 0.01
    truth = torch.cat([torch.ones(len(genuine)), torch.zeros(len(impostor))]).long()
    reference = float(binary_eer(1.0 - torch.cat([genuine, impostor]).double() / 2, truth))
    assert found["eer"] == pytest.approx(reference, abs=1e-6) and 0.02 < reference < 0.4
    area = float(binary_auroc(1.0 - torch.cat([genuine, impostor]).double() / 2, truth))
    assert found["auc"] == pytest.approx(area, abs=1e-6) and 0.6 < area < 0.99
    assert 0.5 < found["best_accuracy"] < area + 0.2
    curve = tradeoff.compute()
    assert float(curve.frr[0]) == pytest.approx(1 - found["tar"])
    assert float(curve.frr[1]) == pytest.approx(1 - tar_at_far(genuine, impostor, 0.1))


def test_too_few_pairs_are_refused():
    rates = VerificationRates(far=1e-4)
    with pytest.raises(UserError, match="got none"):
        rates.compute()
    rates.update(*faces())
    with pytest.raises(UserError, match="at least 10000 impostor pairs"):
        rates.compute()


def test_accuracies_by_hand():
    """At .5 three of four genuine pairs and one of two impostors are accepted; a distance at the limit is not."""
    genuine, impostor = torch.tensor([0.1, 0.2, 0.4, 0.5]), torch.tensor([0.3, 0.9])
    assert balanced_accuracy(genuine, impostor, 0.5) == pytest.approx((3 / 4 + 1 / 2) / 2)
    # below .3: two of four and none; below .9: all four and one of two
    accuracy, threshold = best_accuracy(genuine, impostor)
    assert (accuracy, threshold) == (0.75, pytest.approx(0.3))


def test_a_rejection_that_was_none_before_is_no_protection():
    rate = ProtectionSuccess(threshold=0.5)
    before, after = torch.tensor([0.1, 0.2, 0.5, 0.3]), torch.tensor([0.5, 0.4, 0.9, 0.6])
    assert protected(before, after, 0.5).tolist() == pytest.approx([1.0, 0.0, float("nan"), 1.0], nan_ok=True)
    for rows in (slice(0, 1), slice(1, 4)):
        rate.update(before[rows], after[rows])
    assert float(rate.compute()) == pytest.approx(2 / 3) and int(rate.faces) == 3
    with pytest.raises(Failed, match="NaN or infinite"):
        protected(before, torch.full((4,), torch.nan), 0.5)
