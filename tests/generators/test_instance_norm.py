"""Every way of normalizing gives the plain formula's numbers, and so do its first and second derivatives."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from anon.generators.instance_norm import InstanceNorm, instance_norm

LAYOUTS = [torch.contiguous_format, torch.channels_last]


def plainly(x: Tensor, scale: Tensor, shift: Tensor, eps: float) -> Tensor:
    return F.instance_norm(x, eps=eps) * scale[:, :, None, None] + shift[:, :, None, None]


def drawn(batch: int, layout: torch.memory_format) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 5, 4, 6, dtype=torch.double, generator=generator).mul(2).add(1).contiguous(memory_format=layout)
    scale, shift = torch.randn(2, batch, 5, dtype=torch.double, generator=generator)
    return [value.detach().requires_grad_() for value in (x, scale, shift)]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("batch", [1, 3])
def test_numbers_and_both_derivatives(batch: int, layout: torch.memory_format) -> None:
    found = []
    for way in (instance_norm, plainly):
        given = drawn(batch, layout)
        out = way(*given, 1e-3)
        first = torch.autograd.grad(out.pow(3).sum(), given, create_graph=True)
        second = torch.autograd.grad(sum((slope.square().sum() for slope in first), out.sum()), given)
        found.append([out, *first, *second])
        if way is instance_norm:
            assert out.is_contiguous(memory_format=layout)
    for ours, plain in zip(*found, strict=True):
        torch.testing.assert_close(ours, plain)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("batch", [1, 3])
def test_gradients_against_differences(batch: int, layout: torch.memory_format) -> None:
    given = drawn(batch, layout)
    assert torch.autograd.gradcheck(lambda *all_of: instance_norm(*all_of, 1e-3), given)
    assert torch.autograd.gradgradcheck(lambda *all_of: instance_norm(*all_of, 1e-3), given)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("batch", [1, 3])
def test_half_precision_is_normalized_in_float32(batch: int, layout: torch.memory_format) -> None:
    x, scale, shift = (value.detach() for value in drawn(batch, layout))
    half = (x + 100).bfloat16()  # whose variance bfloat16 sums would lose
    with torch.autocast("cpu", torch.bfloat16):
        out = instance_norm(half, scale.bfloat16(), shift.bfloat16(), 1e-3)
    assert out.dtype == torch.bfloat16
    assert out.is_contiguous(memory_format=layout)
    wanted = plainly(half.double(), scale.bfloat16().double(), shift.bfloat16().double(), 1e-3)
    torch.testing.assert_close(out.double(), wanted, atol=0.02, rtol=0.01)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_style_after_the_weights(layout: torch.memory_format) -> None:
    x, scale, shift = (value.detach() for value in drawn(3, layout))
    norm = InstanceNorm(5).double()
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    weighted = plainly(x, norm.weight[None], norm.bias[None], norm.eps)
    torch.testing.assert_close(norm(x), weighted)
    torch.testing.assert_close(norm(x, scale, shift), weighted * scale[:, :, None, None] + shift[:, :, None, None])
