"""The list of terms: weights, what is asked for, what is skipped."""

from __future__ import annotations

import pytest
import torch

from anon.errors import UserError
from anon.losses.pixel import MaskL1, PixelL1
from anon.training.objective import Objective, Term


def build(weight: float, log_unweighted: bool = False) -> Objective:
    terms = {"pixel": Term(PixelL1(), ["raw", "target"], 2.0), "mask": Term(MaskL1(), ["mask"], weight)}
    return Objective(terms, log_unweighted=log_unweighted)


KNOWN = {"raw": torch.ones(1, 3, 2, 2), "target": torch.zeros(1, 3, 2, 2), "mask": torch.full((1, 1, 2, 2), 0.5)}


def test_weighted_sum() -> None:
    objective = build(0.1)
    losses = objective(KNOWN)
    assert {name: loss.item() for name, loss in losses.items()} == {"pixel": 1.0, "mask": 0.5}
    assert objective.total(losses, 0).item() == pytest.approx(2.05)


def test_a_weight_rises() -> None:
    """Linearly from 0: a quarter after a quarter of the steps, and whole from then on."""
    objective = Objective({"pixel": Term(PixelL1(), ["raw", "target"], 2.0, rise=100)})
    losses = objective(KNOWN)
    assert [objective.total(losses, step).item() for step in (0, 25, 100, 900)] == [0.0, 0.5, 2.0, 2.0]
    with pytest.raises(UserError, match="0 steps or more"):
        Term(PixelL1(), ["raw", "target"], rise=-1)


def test_weight_zero_is_not_computed() -> None:
    objective = build(0.0)
    assert objective({"raw": KNOWN["raw"], "target": KNOWN["target"]}).keys() == {"pixel"}
    assert objective.wanted == {"raw", "target"}


def test_weight_zero_is_logged_when_asked_and_never_trained() -> None:
    objective = build(0.0, log_unweighted=True)
    losses = objective(KNOWN)
    assert losses["mask"].item() == 0.5
    assert objective.total(losses, 0).item() == pytest.approx(2.0)


def test_what_has_to_be_drawn() -> None:
    objective = Objective({"a": Term(PixelL1(), ["z_blended", "maps_raw"]), "b": Term(MaskL1(), ["logits_blended"])})
    assert objective.drawn("z", "maps") == ["raw", "blended"]
    assert objective.drawn("logits") == ["blended"]
    assert objective.wants("maps")


def test_mistakes_are_named() -> None:
    with pytest.raises(UserError, match="'z_changed'"):
        Term(PixelL1(), ["z_changed"])
    nothing = Objective({"mask": Term(MaskL1(), ["mask"], 0.0)})
    with pytest.raises(UserError, match="weight 0"):
        nothing.total(nothing({}), 0)
