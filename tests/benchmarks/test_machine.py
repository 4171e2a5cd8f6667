"""Counting by hand, and memory that is surely there."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

from benchmarks.machine import CountedOperations, smooth_pictures, spread, working_memory


def test_operations_of_a_convolution_forwards_and_backwards() -> None:
    """4 x 4 outputs, 3 x 3 taps, 2 channels in and 5 out: 2·16·9·10 = 2880 operations each way."""
    x, weight = torch.rand(1, 2, 4, 4, requires_grad=True), torch.rand(5, 2, 3, 3, requires_grad=True)
    with CountedOperations() as counted:
        y = F.conv2d(x, weight, padding=1)
        assert counted.total == 2880
        y.sum().backward()
    assert counted.total == 3 * 2880  # to the weight and to the input


def test_a_frozen_weight_is_not_counted() -> None:
    x, weight = torch.rand(1, 2, 4, 4, requires_grad=True), torch.rand(5, 2, 3, 3)
    with CountedOperations() as counted:
        F.conv2d(x, weight, padding=1).sum().backward()
    assert counted.total == 2 * 2880


def test_a_gradients_gradient_is_counted() -> None:
    """x·A·B with sum of squares: two products of 2·3·4·5 and 2·3·5·6, and their like in each direction."""
    x, a = torch.rand(3, 4, requires_grad=True), torch.rand(4, 5, requires_grad=True)
    with CountedOperations() as counted:
        (slope,) = torch.autograd.grad((x @ a).square().sum(), x, create_graph=True)  # forward, and to x
        assert counted.total == 2 * 120
        slope.square().sum().backward()
    assert counted.total > 4 * 120


def test_memory_is_what_was_added() -> None:
    with working_memory() as peak:
        kept = torch.ones(64, 2**20 // 4)  # 64 MiB
        (kept * 2).sum()
    assert math.isnan(peak.mib) or 120 < peak.mib < 200
    with working_memory() as again:
        pass
    assert math.isnan(again.mib) or again.mib < 16


def test_spread_and_pictures() -> None:
    assert spread([3.0, 1.0, 2.0]) == "2.0 (1.0 to 3.0)"
    pictures = smooth_pictures(2, 16, 0)
    assert pictures.shape == (2, 3, 16, 16) and pictures.abs().max() <= 1 and not torch.equal(*pictures)
