"""The attribute classifier: its loss and rates by hand, and weights that are only read for what they learned."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from anon.attributes.classifier import AttributeClassifier, balanced, soft_margin
from anon.errors import UserError


def test_the_loss_is_torch_s_where_all_is_known() -> None:
    """Equation 4.3 is MultiLabelSoftMarginLoss."""
    logits, truth = torch.randn(5, 4), (torch.rand(5, 4) < 0.5).float()
    torch.testing.assert_close(soft_margin(logits, truth), torch.nn.MultiLabelSoftMarginLoss()(logits, truth))


def test_unknown_ones_take_no_part() -> None:
    logits = torch.tensor([[0.0, 5.0], [0.0, -3.0]], requires_grad=True)
    loss = soft_margin(logits, torch.tensor([[1.0, torch.nan], [0.0, torch.nan]]))
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2))
    assert logits.grad is not None and logits.grad.tolist() == [[-0.25, 0.0], [0.25, 0.0]]
    assert soft_margin(logits, torch.full((2, 2), torch.nan)).item() == 0.0


def test_balanced_rates_by_hand() -> None:
    """Of four: two of three with it, and one of one without."""
    read, truth = torch.tensor([[1.0], [1.0], [0.0], [0.0]]), torch.tensor([[1.0], [1.0], [1.0], [0.0]])
    assert balanced(read, truth).item() == pytest.approx((2 / 3 + 1) / 2)
    assert bool(balanced(read, torch.ones(4, 1)).isnan().all())


def test_weights_are_read_for_the_attributes_that_they_learned(tmp_path: Path) -> None:
    """Other names of the same number would put one attribute's figures under another's name."""
    made = AttributeClassifier(["Bald", "Male"], size=16, widths=(8, 8), dim=8)
    made.head.weight.data.normal_()
    save_file(made.state_dict(), tmp_path / "a.safetensors")
    again = AttributeClassifier(["Bald", "Male"], 16, (8, 8), 8, weights=str(tmp_path / "a.safetensors"))
    images = torch.rand(3, 3, 16, 16) * 2 - 1
    torch.testing.assert_close(again(images), made.eval()(images))
    features, read = again.read(images)
    assert features.shape == (3, 8) and torch.equal(read, (again(images) > 0).float())
    with pytest.raises(UserError, match="reads Bald, Male, and Male, Bald are asked for"):
        AttributeClassifier(["Male", "Bald"], 16, (8, 8), 8, weights=str(tmp_path / "a.safetensors"))
