from __future__ import annotations

import numpy
import pytest
import torch
from scipy.optimize import brentq
from torchmetrics.functional.classification import binary_auroc, binary_roc

from anon.errors import UserError
from anon.metrics.detection import ChangeDetection, equal_error, flagged, resampled_detection, resampled_median, roc_auc


def drawn(seed: int, count: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    """Overlapping distances on a grid of .05, so that many tie."""
    rng = torch.Generator().manual_seed(seed)
    genuine, changed = torch.rand(count, generator=rng) * 0.7, torch.rand(count + 7, generator=rng) * 0.8 + 0.2
    return (genuine * 20).round() / 20, (changed * 20).round() / 20


def test_auc_by_hand():
    """.2 and .4 against .3, .4 and .5: of six pairs four are right, (.4, .3) is wrong, and one ties."""
    assert roc_auc(torch.tensor([0.2, 0.4]), torch.tensor([0.3, 0.4, 0.5])) == pytest.approx(4.5 / 6)
    assert roc_auc(torch.tensor([0.0, 0.1]), torch.tensor([0.2])) == 1.0
    assert roc_auc(torch.tensor([0.2]), torch.tensor([0.0, 0.1])) == 0.0
    assert roc_auc(torch.zeros(3), torch.zeros(5)) == 0.5


@pytest.mark.parametrize("seed", range(3))
def test_auc_is_that_of_torchmetrics(seed):
    genuine, changed = drawn(seed)
    truth = torch.cat([torch.zeros(len(genuine)), torch.ones(len(changed))]).long()
    wanted = float(binary_auroc(torch.cat([genuine, changed]).double(), truth))
    assert roc_auc(genuine, changed) == pytest.approx(wanted, abs=1e-6)


def test_eer_by_hand():
    """Of .2 .4 .6 against a spike at .5, one of three genuine faces lies above it, wherever in the spike one cuts."""
    assert equal_error(torch.tensor([0.2, 0.4, 0.6]), torch.full((5,), 0.5)) == pytest.approx(1 / 3)
    assert equal_error(torch.tensor([0.0, 0.1]), torch.tensor([0.2])) == 0.0
    assert equal_error(torch.tensor([0.2]), torch.tensor([0.0, 0.1])) == 1.0
    assert equal_error(torch.zeros(3), torch.zeros(5)) == 0.5


@pytest.mark.parametrize("seed", range(3))
def test_eer_is_where_the_roc_curve_of_torchmetrics_crosses(seed):
    genuine, changed = drawn(seed)
    truth = torch.cat([torch.zeros(len(genuine)), torch.ones(len(changed))]).long()
    alarms, hits, _ = binary_roc(torch.cat([genuine, changed]).double(), truth)
    wanted = brentq(lambda x: 1.0 - x - numpy.interp(x, alarms.numpy(), hits.numpy()), 0.0, 1.0)
    assert equal_error(genuine, changed) == pytest.approx(wanted, abs=1e-6)


def test_an_auc_needs_both():
    with pytest.raises(UserError, match="got 2 and 0"):
        roc_auc(torch.zeros(2), torch.zeros(0))
    with pytest.raises(UserError, match="got 0 and 2"):
        equal_error(torch.zeros(0), torch.zeros(2))


def test_a_face_at_the_threshold_is_flagged():
    assert flagged(torch.tensor([0.59, 0.6, 1.2]), 0.6).tolist() == [False, True, True]


def test_weights_are_repetitions():
    """A person drawn k times is a person whose faces are there k times."""
    genuine, changed = drawn(5)
    whose, whose_changed = torch.arange(len(genuine)) % 9, torch.arange(len(changed)) % 9
    weights = torch.randint(4, (7, 9), generator=torch.Generator().manual_seed(1)).double()
    weights[0] = 1.0
    found = resampled_detection(genuine, changed, whose, whose_changed, weights, block=3)
    medians = resampled_median(changed, whose_changed, weights, block=3)
    for row, weight in enumerate(weights.long()):
        same, other = genuine.repeat_interleave(weight[whose]), changed.repeat_interleave(weight[whose_changed])
        assert float(found.auc[row]) == pytest.approx(roc_auc(same, other), abs=1e-12)
        assert float(found.eer[row]) == pytest.approx(equal_error(same, other), abs=1e-12)
        assert float(medians[row]) == float(other.median())


def test_a_resample_without_genuine_faces_has_no_figure():
    first, second = torch.tensor([0]), torch.tensor([1])
    weights = torch.tensor([[0.0, 2.0], [1.0, 1.0]])
    found = resampled_detection(torch.tensor([0.1]), torch.tensor([0.9]), first, second, weights)
    assert found.auc.isnan().tolist() == found.eer.isnan().tolist() == [True, False]
    assert (float(found.auc[1]), float(found.eer[1])) == (1.0, 0.0)


def test_class_over_batches():
    """Genuine .1 .2 .7, changed .3 .8: five of six pairs are right; between .3 and .7 a third errs."""
    metric = ChangeDetection(threshold=0.7)
    metric.update(torch.tensor([0.1, 0.8, 0.7]), torch.tensor([False, True, False]))
    metric.update(torch.tensor([0.3, 0.2]), torch.tensor([True, False]))
    found = metric.compute()
    assert found["auc"] == pytest.approx(5 / 6)
    assert found["eer"] == pytest.approx(1 / 3)
    assert (found["flagged_genuine"], found["flagged_changed"]) == (pytest.approx(1 / 3), 0.5)
