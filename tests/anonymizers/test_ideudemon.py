"""IDeudemon's dial: its range, that noise is drawn from rng alone, and that nothing which failed comes out."""

from __future__ import annotations

import math

import pytest
import torch

from anon.anonymizers.composed import AnonymizationError
from anon.anonymizers.contract import AnonymizerLike
from anon.anonymizers.ideudemon import NoisedCode
from anon.errors import UserError
from anon.faces.synthetic.look import LOOK
from anon.generators.ideudemon import ALBEDO, GEOMETRY
from tests.evaluation.tiny_world import encoder

FACES = torch.full((2, 3, 8, 8), 0.1)


class Told(torch.nn.Module):
    """Notes the noise, and draws twice as bright a face as can be."""

    value = 2.0

    def forward(self, images, noise):
        self.noise = noise
        return torch.full_like(images, self.value)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_its_noise_is_the_dials_and_drawn_from_rng() -> None:
    network = Told()
    made = NoisedCode(network, encoder(0), 0.25)
    assert isinstance(made, AnonymizerLike) and torch.equal(made(FACES, rng=rng()), torch.ones_like(FACES))
    first = network.noise
    made(FACES, rng=rng())
    assert torch.equal(network.noise, first) and not torch.equal(first[0], first[1])
    made(FACES, rng=rng(1))
    assert not torch.equal(network.noise, first)
    NoisedCode(network, encoder(0), 0.5)(FACES, rng=rng())
    torch.testing.assert_close(network.noise, 2 * first)
    NoisedCode(network, encoder(0), 0.25, albedo=True)(FACES, rng=rng())
    moved = {name for name, column in zip(LOOK, network.noise.unbind(1), strict=True) if bool(column.any())}
    assert moved == {*GEOMETRY, *ALBEDO}


def test_a_picture_of_nan_is_no_face() -> None:
    network = Told()
    network.value = math.nan
    with pytest.raises(AnonymizationError, match="not changed"):
        NoisedCode(network, encoder(0))(FACES, rng=rng())
    with pytest.raises(UserError, match="needs rng"):
        NoisedCode(network, encoder(0))(FACES)


@pytest.mark.parametrize("scale", [-0.1, 1.1, math.nan, True, "0.2"])
def test_a_scale_that_is_none(scale) -> None:
    with pytest.raises(UserError, match="scale of IDeudemon's noise must be a number from 0 to 1"):
        NoisedCode(Told(), encoder(0), scale)


def test_the_recognizer_of_its_loss_may_not_judge_it() -> None:
    """The harness finds it where it looks for those that a method was made on."""
    from anon.evaluation.harness.attackers import recognizers_of

    r = encoder(0)
    assert recognizers_of(NoisedCode(Told(), r)) == (r,)
