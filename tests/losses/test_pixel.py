"""Pixel and mask losses by hand."""

from __future__ import annotations

import pytest
import torch

from anon.losses.pixel import MaskL1, PixelL1


def test_pixel_l1_is_the_mean_over_everything() -> None:
    target = torch.zeros(2, 3, 2, 2)
    changed = target.clone()
    changed[0] = 1.0  # 12 of 24 values by 1
    changed[1, 0, 0, 0] = -0.6
    assert PixelL1()(changed, target).item() == pytest.approx(12.6 / 24)


def test_mask_l1_is_the_area() -> None:
    mask = torch.tensor([[[[1.0, 0.0], [0.5, 0.0]]]])
    assert MaskL1()(mask).item() == pytest.approx(0.375)
