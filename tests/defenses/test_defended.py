"""An anonymizer with a defense behind it."""

from __future__ import annotations

import torch
from torch import nn

from anon.defenses.defended import Defended
from anon.defenses.noise import UniformNoise
from anon.defenses.parameters import ParameterNoise


class Constant(nn.Module):
    """Every pixel is the mean of its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-0.2, 0.2, 64))

    def forward(self, images):
        return self.weight.mean().expand_as(images).clone()


class Redraws(nn.Module):
    """Calls its generator, and notes for whom it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.generator, self.asked = Constant(), []

    def forward(self, images, *, source=None, key=None, track=None, rng=None):
        self.asked.append((source, key))
        return self.generator(images)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@torch.no_grad()
def test_every_face_has_a_noisy_network_of_its_own() -> None:
    """Kind: what is drawn once for many faces is a single draw, and no interval over people sees how it varies.

    Noise on parameters was drawn once a batch, in every engine (the suite, the ladder) and for the parrot's software.
    """
    defended = Defended(Redraws(), ParameterNoise(0.5))
    before = defended.anonymizer.generator.weight.detach().clone()
    drawn = defended(torch.zeros(6, 3, 4, 4), rng=rng())[:, 0, 0, 0]
    assert len(drawn.unique()) == 6
    # 64 weights of spread s get noise of s / 2 each: their mean moves by s / 2 / 8
    size = float(before.std(correction=0)) / 16
    many = defended(torch.zeros(400, 3, 1, 1), rng=rng(1))[:, 0, 0, 0]
    assert 0.9 < float(many.std()) / size < 1.1 and abs(float(many.mean())) < 4 * size / 20
    assert torch.equal(defended.anonymizer.generator.weight, before)


@torch.no_grad()
def test_what_belongs_to_a_face_stays_with_it() -> None:
    defended = Defended(Redraws(), ParameterNoise(0.1))
    sources = torch.tensor([0.1, 0.2])[:, None, None, None].expand(2, 3, 4, 4)
    defended(torch.zeros(2, 3, 4, 4), source=sources, key=torch.tensor([7, 8]), rng=rng())
    defended(torch.zeros(2, 3, 4, 4), source=sources[:1], rng=rng())
    asked = defended.anonymizer.asked
    assert [round(float(source[0, 0, 0, 0]), 3) for source, _ in asked] == [0.1, 0.2, 0.1, 0.1]
    assert [None if key is None else key.tolist() for _, key in asked] == [[7], [8], None, None]


@torch.no_grad()
def test_another_publication_has_other_noise() -> None:
    images, changed = torch.zeros(3, 3, 4, 4), torch.full((3, 3, 4, 4), 0.5)
    noise = Defended(Redraws(), UniformNoise(0.1))
    first, second = (noise.again(images, changed, rng(seed)) for seed in (0, 1))
    assert not torch.equal(first, second) and float((first - 0.5).abs().max()) <= 0.1 + 1e-6
    parameters = Defended(Redraws(), ParameterNoise(0.5))
    first, second = (parameters.again(images, changed, rng(seed)) for seed in (0, 1))
    assert not torch.equal(first, second) and float(first.std()) < 1e-6  # one network for the batch
