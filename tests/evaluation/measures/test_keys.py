"""Attacks on keys in a world whose generator draws exactly the wanted identity, and whose judge reads it."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from anon.attacks.known_pairs import rotation_of, undone
from anon.evaluation.harness.context import MeasureContext
from anon.evaluation.harness.suite import Combination
from anon.evaluation.measures.keys import Keys
from anon.evaluation.measures.monotone import spearman
from anon.identity.rotation import KeyedRotation
from tests.evaluation.harness.tiny_stages import settings, stages

ROTATION = {"_target_": "anon.identity.rotation.KeyedRotation", "_partial_": True, "rank": None, "angle": 90.0}


def test_one_key_links_and_a_short_one_falls() -> None:
    """Two pictures of a person under one key stay one's; of 64 keys the right one alone gives somebody enrolled."""
    policies = settings()["policies"] | {"rotation": ROTATION}
    made = stages(policies=policies, judge=0, allow_training_encoder=True, attacked_probes=2)
    found = Keys(guesses=4, pairs=(1, 64))(MeasureContext(made, Combination("default", "other", "rotation")))
    figures = {name: figure.value for name, figure in found.items()}
    assert figures["linked_same"] == 1.0 and figures["linked_apart"] < 0.3  # strangers are this near in 32 dimensions
    assert figures["short_key"] == figures["short_found"] == 1.0 and figures["guess_verified"] < 0.2
    assert figures["known_1"] < 0.3 and found["known_64"].reason == "n/a (3 people for pairs)"
    assert found["guess_any"].n == 7 and figures["guess_seconds"] > 0 and figures["kdf_seconds"] > 0.01
    assert Keys()(MeasureContext(made, Combination("default", "other", "plain"))) == {}


def test_as_many_pairs_as_directions_are_the_key() -> None:
    """Eight pairs of eight dimensions give everybody back; one gives its own person, and of others what it spans."""
    z = F.normalize(torch.randn(20, 8, generator=torch.Generator().manual_seed(0)))
    rotation = KeyedRotation(z, rank=None)
    w = rotation(z, key=torch.tensor([[5]]))
    space = rotation.space
    torch.testing.assert_close(undone(w, space, (z[:8], w[:8])), z, atol=1e-4, rtol=0)
    one = undone(w, space, (z[:1], w[:1]))
    torch.testing.assert_close(one[0], z[0], atol=1e-4, rtol=0)
    along = (w[1] @ w[0]) * z[0]  # all of the second that the first pair tells of
    torch.testing.assert_close(one[1], F.normalize(along, dim=0), atol=1e-4, rtol=0)


def test_the_nearest_rotation_by_hand() -> None:
    """A pair at 0 and 90 degrees and its neighbour at 90 and 190: the best single turn is by 95 degrees."""

    def at(*degrees: float) -> torch.Tensor:
        return torch.tensor([[math.cos(math.radians(d)), math.sin(math.radians(d))] for d in degrees])

    torch.testing.assert_close(
        at(0).double() @ rotation_of(at(0, 90), at(90, 190)).T, at(95).double(), atol=1e-6, rtol=0
    )


def test_spearman_by_hand() -> None:
    """Ranks 1, 2, 4, 3 of four: 1 - 6 * 2 / (4 * 15) = .8."""
    values = torch.tensor([[0.1], [0.2], [0.9], [0.5]])
    assert spearman(torch.tensor([0.0, 0.3, 0.6, 1.0]), values).tolist() == pytest.approx([0.8])
