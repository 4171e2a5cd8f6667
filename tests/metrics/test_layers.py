"""Distances of a recognizer's maps on swapped faces, by hand."""

from __future__ import annotations

import pytest
import torch

from anon.losses.ifsr import map_distance
from anon.metrics.layers import LayerDistances


def _maps(*rows: tuple[float, float]) -> torch.Tensor:
    """Maps (B, 2, 1, 1) of these two channels."""
    return torch.tensor(rows)[:, :, None, None]


def test_distances_are_of_flattened_maps() -> None:
    one = torch.ones(1, 2, 2, 2)
    other = one.clone()
    other[0, 1] = -1.0
    assert map_distance(one, other).tolist() == pytest.approx([1.0])  # half agrees, half is opposite
    assert map_distance(one, -3 * one).tolist() == pytest.approx([2.0])


def test_a_map_of_attributes_and_one_of_identity() -> None:
    """The first map stays the target's, the second becomes the source's; two batches."""
    target, source = _maps((1, 0), (1, 0)), _maps((0, 1), (0, 1))
    metric = LayerDistances(2)
    for at in range(2):
        rows = slice(at, at + 1)
        kept, taken = target[rows], source[rows]
        metric.update([target[rows], target[rows]], [kept, taken], [source[rows], source[rows]])
    attributes, identity = metric.compute()
    assert (attributes.c2t, attributes.c2s, attributes.negative) == pytest.approx((0.0, 1.0, 1.0))
    assert (identity.c2t, identity.c2s, identity.negative) == pytest.approx((1.0, 0.0, 1.0))
    assert attributes.eer_c2t == 0.0 and identity.eer_c2s == 0.0
    assert attributes.eer == 0.0 and identity.eer == pytest.approx(1.0)  # nearer the source than the target
