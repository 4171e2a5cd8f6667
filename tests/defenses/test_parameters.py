"""Noise on parameters: its size, and that not a bit of it stays."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from anon.defenses.contract import DefenseLike
from anon.defenses.parameters import ParameterNoise, parameter_noise
from anon.errors import UserError


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def generator():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(200, 100), nn.BatchNorm1d(100), nn.PReLU(1), nn.Linear(100, 1))
    nn.init.normal_(network[0].weight, 3.0, 0.5)  # mean 3: the noise must follow the spread, not the size
    network[3].weight.data[0, 0] = -0.0
    return network


def bits(module: nn.Module) -> list[torch.Tensor]:
    return [tensor.detach().clone().view(torch.int32) for tensor in module.parameters()]


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(map(torch.equal, one, other))


def test_the_noise_is_epsilon_of_each_tensor_s_spread(generator):
    before = [parameter.detach().clone() for parameter in generator.parameters()]
    with parameter_noise(generator, 0.1, rng()) as noisy:
        assert noisy is generator
        noise = [parameter.detach() - old for parameter, old in zip(generator.parameters(), before, strict=True)]
    weight = noise[0]  # 20 000 numbers of std 0.5
    assert weight.std().item() == pytest.approx(0.1 * 0.5, rel=0.03)
    assert weight.mean().abs() < 4 * 0.05 / math.sqrt(20_000)
    assert weight.double().pow(4).mean().item() == pytest.approx(3 * 0.05**4, rel=0.1)  # a Gaussian's


def test_absolute_noise_is_epsilon_of_every_tensor(generator):
    before = [parameter.detach().clone() for parameter in generator.parameters()]
    with ParameterNoise(0.1, absolute=True).context(generator, rng()):
        noise = [parameter.detach() - old for parameter, old in zip(generator.parameters(), before, strict=True)]
    assert noise[0].std().item() == pytest.approx(0.1, rel=0.03)
    assert noise[2].std().item() == pytest.approx(0.1, rel=0.35)  # the batch norm's 100 ones
    assert all((part != 0).all() for part in noise)


def test_tensors_without_a_spread_stay(generator):
    """The batch norm's scale is 1 everywhere, the PReLU's slope and the last bias are one number."""
    before = [parameter.detach().clone() for parameter in generator.parameters()]
    with parameter_noise(generator, 0.5, rng()):
        after = [parameter.detach().clone() for parameter in generator.parameters()]
    stays = [torch.equal(old, new) for old, new in zip(before, after, strict=True)]
    assert stays == [False, False, True, True, True, False, True]
    assert all(tensor.isfinite().all() for tensor in after)


@pytest.mark.parametrize("absolute", [False, True])
def test_the_exact_bits_come_back(generator, absolute):
    before = bits(generator)
    with parameter_noise(generator, 0.1, rng(), absolute):
        assert not same(bits(generator), before)
    assert same(bits(generator), before)


def test_the_exact_bits_come_back_after_an_exception(generator):
    before = bits(generator)
    with pytest.raises(RuntimeError, match="midway"), parameter_noise(generator, 0.1, rng()):
        raise RuntimeError("midway")
    assert same(bits(generator), before)


def test_an_error_while_the_noise_is_drawn_restores_too(generator, monkeypatch):
    before, draw, calls = bits(generator), torch.randn, []

    def failing(*args, **options):
        calls.append(1)
        if len(calls) == 3:
            assert not same(bits(generator), before)  # two tensors are noisy by now
            raise MemoryError
        return draw(*args, **options)

    monkeypatch.setattr(torch, "randn", failing)
    with pytest.raises(MemoryError), parameter_noise(generator, 0.1, rng()):
        pass
    assert same(bits(generator), before)


def test_draws_come_from_the_generator_alone(generator):
    def noisy(seed: int) -> list[torch.Tensor]:
        with ParameterNoise(0.1).context(generator, rng(seed)):
            return bits(generator)

    untouched = torch.get_rng_state()
    first = noisy(1)
    assert same(noisy(1), first) and not same(noisy(2), first)
    assert torch.equal(torch.get_rng_state(), untouched)


def test_gradients_and_buffers_are_left_alone(generator):
    generator.eval()
    generator[0].weight.grad = torch.ones(100, 200)
    buffers = [buffer.clone() for buffer in generator.buffers()]
    with parameter_noise(generator, 0.1, rng()):
        generator(torch.zeros(2, 200))
    assert (generator[0].weight.grad == 1).all() and all(p.requires_grad for p in generator.parameters())
    assert all(map(torch.equal, generator.buffers(), buffers))


def test_half_precision_and_whole_numbers():
    module = nn.Linear(100, 100).half()
    module.count = nn.Parameter(torch.tensor([1, 2]), requires_grad=False)
    before = module.weight.detach().clone()
    with parameter_noise(module, 0.5, rng()):
        noise = module.weight.detach().float() - before.float()
        assert module.weight.dtype == torch.float16 and module.count.tolist() == [1, 2]
    assert noise.std().item() == pytest.approx(0.5 * before.float().std().item(), rel=0.05)
    assert torch.equal(module.weight, before)


def test_what_cannot_be_defended_is_said():
    with pytest.raises(UserError, match="parameters"), parameter_noise(nn.Identity(), 0.1, rng()):
        pass
    with pytest.raises(UserError, match="epsilon"):
        ParameterNoise(-0.1)
    assert not isinstance(ParameterNoise(0.1), DefenseLike)  # how a harness tells it from the others
