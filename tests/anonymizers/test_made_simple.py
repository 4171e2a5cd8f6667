"""Made Simple's dial: whose source a face has, what it refuses, and that nothing which failed comes out."""

from __future__ import annotations

import math

import pytest
import torch

from anon.anonymizers.composed import AnonymizationError
from anon.anonymizers.contract import AnonymizerLike
from anon.anonymizers.made_simple import DegreeAnonymizer
from anon.errors import UserError
from anon.generators.made_simple.network import MadeSimple


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


class Told(MadeSimple):
    """Notes what it is asked to draw, and draws the source."""

    def draw(self, driving, source, noise, degree=0.0, guidance=4.0, steps=10, ancestral=None):
        self.asked = (degree, guidance, steps, ancestral)
        return source


FACES, OTHER = torch.full((2, 3, 8, 8), 0.1), torch.full((1, 3, 8, 8), -0.7)


@pytest.mark.parametrize(("degree", "own"), [(0.0, False), (0.3, True), (1.25, True)])
def test_a_source_counts_at_degree_zero_alone(degree: float, own: bool) -> None:
    made = DegreeAnonymizer(Told((8, 8)), degree)
    assert isinstance(made, AnonymizerLike)
    assert torch.equal(made(FACES, source=OTHER, rng=rng()), FACES if own else OTHER.expand_as(FACES))
    assert torch.equal(made(FACES, rng=rng()), FACES)  # its own source, also at 0


def test_the_sampler_decides_whether_steps_draw() -> None:
    network, draws = Told((8, 8)), rng()
    for sampler, wanted in (("ddim", None), ("ddpm", draws)):
        DegreeAnonymizer(network, 0.9, 2.0, 7, sampler)(FACES, rng=draws)
        assert network.asked == (0.9, 2.0, 7, wanted)


def test_a_picture_of_nan_is_no_face() -> None:
    network = Told((8, 8))
    network.draw = lambda *_: torch.full_like(FACES, math.nan)
    with pytest.raises(AnonymizationError, match="not changed"):
        DegreeAnonymizer(network)(FACES, rng=rng())


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"degree": -0.1}, "degree d of Made Simple must be a number from 0 to 3"),
        ({"degree": math.nan}, "from 0 to 3"),
        ({"guidance": 31}, "guidance g of Made Simple must be a number from 0 to 30"),
        ({"steps": 0}, "whole number of 1 or more"),
        ({"sampler": "euler"}, "sampler=euler is none of ddim, ddpm"),
    ],
)
def test_what_it_refuses(wrong: dict, told: str) -> None:
    with pytest.raises(UserError, match=told):
        DegreeAnonymizer(Told((8, 8)), **wrong)
    with pytest.raises(UserError, match="needs rng"):
        DegreeAnonymizer(Told((8, 8)))(FACES)
