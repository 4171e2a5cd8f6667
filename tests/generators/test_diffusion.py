"""The diffusion model: its schedule and its way back by hand, and the defense and the attack that use it."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from anon.attacks.diffusion import DiffusionPurifier
from anon.defenses.contract import DefenseLike
from anon.defenses.diffusion import DiffusionDefense
from anon.errors import UserError
from anon.generators.diffusion import Denoiser, Diffusion, kept

WIDTHS = (16, 16)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Knowing(nn.Module):
    """Reads v of pictures that are all of one colour: the best denoiser of such pictures."""

    least = 4

    def __init__(self, colour: float) -> None:
        super().__init__()
        self.colour = colour

    def forward(self, noisy, t):
        left = kept(t).view(-1, 1, 1, 1)
        noise = (noisy - left.sqrt() * self.colour) / (1 - left).sqrt().clamp_min(1e-6)
        return left.sqrt() * noise - (1 - left).sqrt() * self.colour


def test_the_schedule_by_hand():
    """Nichol & Dhariwal's eq. 17 in degrees of the quarter circle."""
    t = torch.tensor([0.0, 0.2, 0.4, 0.5, 1.0])
    angles = [(each + 0.008) / 1.008 * 90 for each in t.tolist()]
    wanted = [math.cos(math.radians(a)) ** 2 / math.cos(math.radians(angles[0])) ** 2 for a in angles]
    torch.testing.assert_close(kept(t), torch.tensor(wanted), atol=1e-6, rtol=0)
    assert [round(1 - value, 3) for value in kept(t)[1:3].tolist()] == [0.101, 0.353]  # as the defense's docstring says


def test_noise_by_hand():
    model = Diffusion(Denoiser(WIDTHS))
    images, noise = torch.full((2, 3, 8, 8), 0.5), torch.ones(2, 3, 8, 8)
    found = model.noisy(images, torch.tensor([0.0, 1.0]), noise)
    torch.testing.assert_close(found[0], images[0])
    torch.testing.assert_close(found[1], noise[1])


def test_the_loss_of_one_who_knows_is_none_and_of_one_who_says_nothing_the_power_of_v():
    images, noise, t = (
        torch.full((3, 3, 8, 8), 0.5),
        torch.randn(3, 3, 8, 8, generator=rng()),
        torch.tensor([0.1, 0.5, 0.9]),
    )
    knowing = Diffusion(Denoiser(WIDTHS))
    knowing.denoiser = Knowing(0.5)
    assert float(knowing.loss(images, t, noise).max()) < 1e-8
    left = kept(t).view(-1, 1, 1, 1)
    v = left.sqrt() * noise - (1 - left).sqrt() * images
    torch.testing.assert_close(Diffusion(Denoiser(WIDTHS)).loss(images, t, noise), v.square().flatten(1).mean(1))


@pytest.mark.parametrize("steps", [1, 2, 10])
@pytest.mark.parametrize("level", [0.1, 0.5, 1.0])
def test_the_way_back_ends_at_the_picture_of_one_who_knows(level, steps):
    model = Diffusion(Denoiser(WIDTHS))
    model.denoiser = Knowing(-0.25)
    noise = torch.randn(2, 3, 8, 8, generator=rng())
    found = model.again(torch.full((2, 3, 8, 8), 0.75), level, steps, noise)
    torch.testing.assert_close(found, torch.full_like(found, -0.25), atol=1e-3, rtol=0)


def test_hardly_any_noise_changes_hardly_anything():
    images = torch.rand(2, 3, 16, 16, generator=rng()) * 1.6 - 0.8
    found = Diffusion(Denoiser(WIDTHS)).again(images, 1e-3, 2, torch.randn(images.shape, generator=rng()))
    assert float((found - images).abs().max()) < 0.05


def test_the_network_starts_at_nothing_and_learns_where_and_when():
    """One picture a batch in double: a pixel of the input and the time both reach the output."""
    network = Denoiser(WIDTHS).double()
    x, t = torch.randn(1, 3, 16, 16, generator=rng()).double(), torch.tensor([0.3]).double()
    assert float(network(x, t).detach().abs().max()) == 0.0
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.1, generator=rng())
    with torch.no_grad():
        moved, later = x.clone(), network(x, t + 0.3)
        moved[..., 3, 3] += 1.0
        difference = (network(moved, t) - network(x, t)).abs().amax(1)[0]
    assert float((later - network(x, t)).abs().max()) > 1e-3
    assert float(difference.max()) > 1e-3 and float(difference[15, 15]) > 0  # attention reaches everywhere


def test_what_it_cannot_take():
    model = Diffusion(Denoiser(WIDTHS))
    with pytest.raises(UserError, match="multiples of 4 pixels, not 18 x 18"):
        model.again(torch.zeros(1, 3, 18, 18), 0.1, 1, torch.zeros(1, 3, 18, 18))
    with pytest.raises(UserError, match="multiples of 8, not"):
        Denoiser((12, 16))


def test_a_defense_draws_anew_and_an_attack_does_not():
    images = torch.rand(4, 3, 16, 16, generator=rng()) * 1.6 - 0.8
    model = Diffusion(Denoiser(WIDTHS))
    defense, attack = DiffusionDefense(model, 0.2, 2), DiffusionPurifier(model, 0.2, 2)
    assert isinstance(defense, DefenseLike)
    draws = rng()
    first, second = defense(images, rng=draws), defense(images, rng=draws)
    assert not torch.equal(first, second) and torch.equal(first, defense(images, rng=rng()))
    with pytest.raises(UserError, match="draws at random"):
        defense(images)
    seen = attack.images(images)
    torch.testing.assert_close(seen, torch.cat([attack.images(images[:1]), attack.images(images[1:])]))  # of no batch
    assert torch.equal(seen, attack.images(images))
