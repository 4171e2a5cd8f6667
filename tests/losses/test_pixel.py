"""Pixel and mask losses by hand."""

from __future__ import annotations

import pytest
import torch

from anon.errors import UserError
from anon.losses.pixel import MaskL1, PixelL1


def test_pixel_l1_is_the_mean_over_everything() -> None:
    target = torch.zeros(2, 3, 2, 2)
    changed = target.clone()
    changed[0] = 1.0  # 12 of 24 values by 1
    changed[1, 0, 0, 0] = -0.6
    assert PixelL1()(changed, target).item() == pytest.approx(12.6 / 24)


def test_a_difference_within_the_mask_counts_less_and_does_not_move_the_mask() -> None:
    target, mask = torch.zeros(1, 3, 1, 2), torch.tensor([[[[1.0, 0.0]]]], requires_grad=True)
    changed = torch.full((1, 3, 1, 2), 0.5, requires_grad=True)
    loss = PixelL1(inside=0.2)(changed, target, mask)
    assert loss.item() == pytest.approx((0.2 * 0.5 + 0.5) / 2)
    loss.backward()
    assert mask.grad is None
    torch.testing.assert_close(changed.grad, torch.tensor([[[[0.2 / 6, 1 / 6]]]]).expand(1, 3, 1, 2))
    assert PixelL1()(changed, target, mask).item() == pytest.approx(0.5)  # of weight 1 as without a mask


def test_a_share_without_a_mask_is_refused() -> None:
    with pytest.raises(UserError, match=r"in \[0, 1\], not 1\.5"):
        PixelL1(inside=1.5)
    with pytest.raises(UserError, match="needs the generator's mask"):
        PixelL1(inside=0.4)(torch.zeros(1, 3, 1, 1), torch.zeros(1, 3, 1, 1))


def test_mask_l1_is_the_area() -> None:
    mask = torch.tensor([[[[1.0, 0.0], [0.5, 0.0]]]])
    assert MaskL1()(mask).item() == pytest.approx(0.375)
