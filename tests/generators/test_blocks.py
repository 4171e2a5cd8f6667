"""Blocks against the plain operations that they stand for."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from anon.generators.blocks import Binomial, DownBlock, PooledConv, ResidualDown, UpBlock, icnr_


def test_icnr_starts_as_nearest_upsampling() -> None:
    weight = icnr_(torch.empty(4 * 5, 3, 1, 1))
    x = torch.randn(2, 3, 4, 4)
    up = F.pixel_shuffle(F.conv2d(x, weight), 2)
    torch.testing.assert_close(up, F.interpolate(F.conv2d(x, weight[::4]), scale_factor=2, mode="nearest"))


def test_up_block_draws_no_checkers_on_flat_ground() -> None:
    """Also once training has made the four filters of a group different."""
    block = UpBlock(8, 4, 6)
    torch.nn.init.normal_(block.widen.weight)
    torch.nn.init.normal_(block.widen.bias)
    shuffled = F.pixel_shuffle(block.widen(torch.ones(1, 8, 8, 8)), 2)
    assert shuffled.var((2, 3)).min() > 0.1
    out = block(torch.ones(1, 8, 8, 8), torch.ones(1, 4, 16, 16))
    inner = out[..., 3:-3, 3:-3]  # away from the border
    assert inner.amax((2, 3)).sub(inner.amin((2, 3))).max() < 1e-5


def test_binomial_filter_by_hand() -> None:
    x = torch.zeros(1, 2, 5, 5)
    x[0, 0, 2, 2], x[0, 1, 1, 3] = 16.0, 32.0
    out = Binomial()(x)
    wanted = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]])
    torch.testing.assert_close(out[0, 0, 1:4, 1:4], wanted)
    torch.testing.assert_close(out[0, 1, 0:3, 2:5], 2 * wanted)


def test_down_block_is_depthwise_of_stride_two() -> None:
    block = DownBlock(6, 10)
    assert block(torch.randn(1, 6, 16, 12)).shape == (1, 10, 8, 6)
    assert (block.down.groups, block.down.stride) == (6, (2, 2))


def test_pooled_conv_is_convolution_then_pooling() -> None:
    conv = PooledConv(3, 5).double()
    x = torch.randn(2, 3, 8, 8, dtype=torch.double)
    torch.testing.assert_close(conv(x), F.avg_pool2d(F.conv2d(x, conv.weight, conv.bias, padding=1), 2))


def test_residual_down_is_facedancers_block() -> None:
    block = ResidualDown(3, 5).double()
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(2, 3, 8, 8, dtype=torch.double)
    y = F.leaky_relu(F.instance_norm(x, weight=block.norm1.weight, bias=block.norm1.bias, eps=1e-3), 0.2)
    y = F.avg_pool2d(F.conv2d(y, block.conv1.weight, block.conv1.bias, padding=1), 2)
    y = F.leaky_relu(F.instance_norm(y, weight=block.norm2.weight, bias=block.norm2.bias, eps=1e-3), 0.2)
    y = F.conv2d(y, block.conv2.weight, block.conv2.bias, padding=1) + F.avg_pool2d(block.shortcut(x), 2)
    torch.testing.assert_close(block(x), y)
