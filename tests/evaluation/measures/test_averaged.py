"""Averages of several releases of a person, by hand."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

from anon.evaluation.judges.gallery import Gallery
from anon.evaluation.measures.averaged import Averaged
from anon.identity.mechanisms import IdentityDP
from tests.evaluation.measures.known_context import KnownContext


def at(*degrees: float) -> torch.Tensor:
    angle = torch.deg2rad(torch.tensor(degrees))
    return torch.stack([angle.cos(), angle.sin()], 1)


def gallery(z: torch.Tensor, threshold: float) -> Gallery:
    people = torch.arange(len(z))
    return Gallery(z, people, z, people, threshold)


def test_the_average_of_two_that_are_far_by_hand() -> None:
    """Person 0, at 0°, is released at 60° and -60° (.5 away, nobody at .2), which average to 0°; person 1, at 90°, at
    180° and 200°, whose average at 190° is nearest to 90°, but beyond the threshold.
    """
    z = at(60, -60, 180, 200)
    found = Averaged()(KnownContext([0, 0, 1, 1], z={"changed": z}, gallery=gallery(at(0, 90), 0.2)))
    assert found["ID_averaged"].value == 0.5 and found["ID_averaged"].n == 2
    assert found["ID_averaged_rank1"].value == 1.0 and found["releases"].value == 2.0
    few = Averaged(2)(KnownContext([0, 0, 0, 1], z={"changed": at(60, -60, 60, 90)}, gallery=gallery(at(0, 90), 0.2)))
    assert few["ID_averaged"].value == 1.0 and few["releases"].value == 1.5  # the third of person 0 is left out


def test_one_release_of_each_is_no_average() -> None:
    found = Averaged()(KnownContext([0, 1], z={"changed": at(0, 90)}, gallery=gallery(at(0, 90), 0.2)))
    assert {figure.reason for figure in found.values()} == {"n/a (one release of each person)"}
    assert (
        Averaged()(KnownContext([0, 0], z={"changed": at(0, 1)}, attack="negation", gallery=gallery(at(0), 0.2))) == {}
    )


def test_noise_that_is_drawn_anew_is_averaged_away() -> None:
    """IdentityDP keeps a cosine of .3: one release is .7 away, the mean of 64 has a cosine of 2.4 / sqrt(1 + 63 * .09)
    = .93. Drawn once for a person, 64 releases are as far as one.
    """
    people = F.normalize(torch.randn(10, 128, generator=torch.Generator().manual_seed(0)))
    labels = torch.arange(10).repeat_interleave(64)
    private = IdentityDP(118.0, "bounded")
    rng = torch.Generator().manual_seed(1)
    z, once = private(people[labels], rng=rng), private(people, rng=rng)[labels]
    assert abs(float((z * people[labels]).sum(1).mean()) - 0.3) < 0.05
    for released, expected in ((z, 1.0), (once, 0.0)):
        context = KnownContext(labels.tolist(), z={"changed": released}, gallery=gallery(people, 0.2))
        assert Averaged(64)(context)["ID_averaged"].value == expected
    assert 0.3 * 8 / math.sqrt(1 + 63 * 0.09) > 0.9
