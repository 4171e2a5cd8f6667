"""How far a look moved, by hand and against scipy."""

from __future__ import annotations

import pytest
import torch
from scipy.spatial.distance import cdist

from anon.errors import UserError
from anon.metrics.look import LookMoved, look_moved, mean_distances


def test_mean_distances_are_scipys() -> None:
    rng = torch.Generator().manual_seed(0)
    look, labels = torch.randn(9, 5, generator=rng), torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 3])
    own, others = mean_distances(look, labels)
    apart = torch.from_numpy(cdist(look.double().numpy(), look.double().numpy()))
    for row in range(9):
        same = labels == labels[row]
        assert float(others[row]) == pytest.approx(float(apart[row][~same].mean()), rel=1e-5)
        same[row] = False
        if same.any():
            assert float(own[row]) == pytest.approx(float(apart[row][same].mean()), rel=1e-5)
    assert bool(own[8].isnan())  # one picture


def test_moved_by_hand() -> None:
    """Three people on a line at 0, 3 and 9; others are at 6, 4.5 and 7.5 from them, 6 in the mean."""
    target, labels = torch.tensor([[0.0, 0.0], [3.0, 0.0], [9.0, 0.0]]), torch.tensor([4, 5, 6])
    changed = target + torch.tensor([[3.0, 4.0], [0.0, 1.0], [0.0, 0.0]])  # by 5, 1 and 0: 2 in the mean
    assert float(look_moved(changed, target, labels)) == pytest.approx(2 / 6)
    metric = LookMoved()
    metric.update(changed[:1], target[:1], labels[:1])
    metric.update(changed[1:], target[1:], labels[1:])
    assert float(metric.compute()) == pytest.approx(2 / 6)
    with pytest.raises(UserError, match="seen no"):
        LookMoved().compute()


def test_one_person_has_no_other() -> None:
    assert bool(look_moved(torch.ones(2, 1), torch.zeros(2, 1), torch.tensor([1, 1])).isnan())
