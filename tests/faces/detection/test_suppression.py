"""Suppression against overlaps worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from anon.faces.detection.frames import suppress

# b overlaps a by 50 of 150 (1/3), c lies inside a (25 of 100; 1 of the smaller), d is far away
BOXES = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [0, 0, 5, 5], [90, 90, 99, 99]], np.float32)
SCORES = np.array([0.9, 0.8, 0.7, 0.95], np.float32)


@pytest.mark.parametrize(
    ("iou", "kept"), [(0.34, [3, 0, 1, 2]), (0.32, [3, 0, 2]), (0.24, [3, 0]), (0.0, [3, 0]), (1.0, [3, 0, 1, 2])]
)
def test_iou(iou, kept):
    assert suppress(BOXES, SCORES, iou).tolist() == kept


def test_share_of_the_smaller_box():
    assert suppress(BOXES, SCORES, 0.6, smaller=True).tolist() == [3, 0, 1]


def test_groups_do_not_meet():
    assert suppress(BOXES, SCORES, 0.0, np.array([0, 1, 1, 0])).tolist() == [3, 0, 1, 2]


def test_of_equals_the_earlier_stays():
    assert suppress(np.repeat(BOXES[:1], 3, 0), np.full(3, 0.5, np.float32), 0.5).tolist() == [0]


def test_none():
    assert suppress(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), 0.5).shape == (0,)


def test_ten_thousand_in_a_moment():
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 600, (10_000, 2))
    boxes = np.concatenate((low, low + 40), 1).astype(np.float32)
    kept = suppress(boxes, rng.uniform(size=10_000).astype(np.float32), 0.3)
    chosen = boxes[kept]
    wide = np.minimum(chosen[:, None, 2:], chosen[None, :, 2:]) - np.maximum(chosen[:, None, :2], chosen[None, :, :2])
    shared = np.clip(wide, 0, None).prod(-1)
    np.fill_diagonal(shared, 0)
    assert (shared / (3200 - shared) <= 0.3 + 1e-6).all()
