"""The average by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from anon.training.adversarial.ema import EMA


def test_average_by_hand() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 1.0)
    ema = EMA(model, decay=0.15)
    nn.init.constant_(model.weight, 2.0)
    ema.update(model, 0)  # decay 1/10: 0.1·1 + 0.9·2
    assert ema.model.weight.item() == pytest.approx(1.9)
    ema.update(model, 1000)  # decay 0.15: 0.15·1.9 + 0.85·2
    assert ema.model.weight.item() == pytest.approx(1.985)


def test_the_copy_is_frozen_and_averages_the_statistics_of_batch_norms() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    ema = EMA(model).train()
    model(torch.randn(8, 2))
    ema.update(model, 5)
    assert not ema.model.training
    assert not any(parameter.requires_grad for parameter in ema.model.parameters())
    # decay 6/15: 0.4·0 + 0.6·mean, and counters are copied
    torch.testing.assert_close(ema.model[1].running_mean, 0.6 * model[1].running_mean)  # type: ignore[index]
    assert int(ema.model[1].num_batches_tracked) == 1  # type: ignore[index]
    assert model[0].weight.requires_grad
