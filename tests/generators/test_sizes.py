"""Every generator, discriminator and the reconstruction network at the sides that face data have, 112 px among them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from anon.attacks.reconstruction import ReconstructionNet
from anon.errors import Failed, UserError
from anon.generators.blocks import halvings
from anon.generators.facedancer import FaceDancer
from anon.generators.faceshifter import FaceShifter
from anon.generators.fiva import FIVA
from anon.generators.simswap import SimSwap

SIDES = [64, 96, 112, 128, 160, 224, 256]
BUILD = {
    "fiva": lambda size: FIVA((4, 8, 8, 8), 16, 1),
    "facedancer": lambda size: FaceDancer(size, "C", 2, 16, 16, 1),
    "simswap": lambda size: SimSwap(2, 3, 1, 16),
    "faceshifter": lambda size: FaceShifter(size, 1 / 128, 16),
}


@pytest.mark.parametrize("size", SIDES)
@pytest.mark.parametrize("name", BUILD)
@torch.no_grad()
def test_draws_what_it_is_given(name: str, size: int) -> None:
    torch.manual_seed(0)
    network = BUILD[name](size)
    target, z = torch.rand(2, 3, size, size) * 2 - 1, nn.functional.normalize(torch.randn(2, 16))
    image, other = network(target, z).image, network(target, -z).image
    assert image.shape == target.shape and bool(image.isfinite().all())
    assert bool((image != other).flatten(1).any(1).all())  # the condition reaches both pictures


@pytest.mark.parametrize("size", SIDES)
@torch.no_grad()
def test_reconstruction_gives_the_side_that_it_takes(size: int) -> None:
    assert ReconstructionNet((4, 8, 8, 8))(torch.rand(2, 3, size, size)).shape == (2, 3, size, size)


def test_stages_by_side() -> None:
    """FaceDancer's deepest maps have 8 to 15 pixels, FaceShifter's the side that powers of two, or odd sides, leave."""
    with torch.device("meta"):
        deepest = {size: size // 2 ** len(FaceDancer(size, base=2, z_dim=4, mapping=4).encoder) for size in SIDES}
        coarsest = {size: FaceShifter(size, 1 / 128, 4).attributes.side for size in SIDES}
        maps = FaceShifter(112, 1 / 128, 4).attributes(torch.empty(1, 3, 112, 112))
    assert deepest == {64: 8, 96: 12, 112: 14, 128: 8, 160: 10, 224: 14, 256: 8}
    assert coarsest == {64: 2, 96: 3, 112: 7, 128: 2, 160: 5, 224: 7, 256: 2}
    assert [part.shape[-1] for part in maps] == [7, 14, 28, 56, 112]


def test_faceshifter_draws_one_side() -> None:
    network = FaceShifter(64, 1 / 128, 4)
    with pytest.raises(Failed, match=r"draws 64 x 64 pixels, not 32 x 32; set data\.size=64\."):
        network(torch.zeros(1, 3, 32, 32), torch.ones(1, 4))


def test_halvings() -> None:
    assert halvings(112, 4, 2, 10, "it draws") == (4, 7) == halvings(112, 2, 4, 7, "it draws")
    assert halvings(112, 8, 1, 5, "it draws") == (3, 14) and halvings(144, 8, 1, 5, "it draws") == (4, 9)
    assert halvings(256, 8, 1, 5, "it draws") == (5, 8)
    with pytest.raises(UserError, match=r"halved 1 to 5 times, is 8 to 15 pixels, not 512; take 480\.$"):
        halvings(512, 8, 1, 5, "it draws")  # halved five times it is 16, and six are too many
    with pytest.raises(UserError, match=r"not 0; take 16\.$"):
        halvings(0, 8, 1, 5, "it draws")
