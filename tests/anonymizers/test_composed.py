from __future__ import annotations

import pytest
import torch
from torch import nn

from anon.anonymizers.composed import AnonymizationError, Anonymizer, Unchanged
from anon.anonymizers.contract import AnonymizerLike
from anon.errors import UserError
from anon.generators.contract import Redrawn
from anon.identity.contract import Embedded
from anon.identity.policies import Negation, OwnEmbedding, SourceIdentity
from anon.identity.rotation import KeyedRotation


class Corner(nn.Module):
    """z is the direction of the first two channels of the first pixel."""

    name, dim = "corner", 2

    def forward(self, images, layers=()):
        return Embedded(nn.functional.normalize(images[:, :2, 0, 0]), ())


class Paint(nn.Module):
    """Paints the first number of its condition, half opaque."""

    def __init__(self, steers: int, value: float = 1.0) -> None:
        super().__init__()
        self.steers, self.value = steers, value

    def forward(self, target, z):
        image = (self.value * z[:, :1, None, None]).expand_as(target)
        return Redrawn(image, torch.full_like(target[:, :1], 0.5))


def faces(red: float) -> torch.Tensor:
    images = torch.zeros(2, 3, 4, 4)
    images[:, 0] = red
    return images


@pytest.mark.parametrize(
    ("steers", "policy", "condition"), [(1, OwnEmbedding(), 1.0), (-1, OwnEmbedding(), -1.0), (-1, Negation(), 1.0)]
)
def test_feeds_steers_times_the_wanted_identity_and_blends(steers, policy, condition):
    """z = (1, 0); half of the paint over half of the target 0.4."""
    anonymizer = Anonymizer(Corner(), policy, Paint(steers))
    assert isinstance(anonymizer, AnonymizerLike)
    out = anonymizer(faces(0.4))
    torch.testing.assert_close(out[:, 0], torch.full((2, 4, 4), 0.5 * condition + 0.2))
    redrawn = anonymizer.redraw(faces(0.4))
    torch.testing.assert_close(redrawn.image, torch.full((2, 3, 4, 4), condition))


def test_source_images_are_embedded():
    anonymizer = Anonymizer(Corner(), SourceIdentity(), Paint(1))
    out = anonymizer.redraw(faces(0.4), source=faces(-0.9)[:1])
    torch.testing.assert_close(out.image, -torch.ones(2, 3, 4, 4))


def test_rounding_stays_in_range():
    assert float(Anonymizer(Corner(), Negation(), Paint(1, 1.005))(faces(0.4)).abs().max()) <= 1.0


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 9.0, -255.0])
def test_fails_closed(value):
    """Out of range too: it was clamped to a white picture, which nobody recognizes."""
    with pytest.raises(AnonymizationError):
        Anonymizer(Corner(), Negation(), Paint(1, value))(faces(0.4))


def test_a_wanted_identity_that_is_not_finite_is_refused():
    with pytest.raises(AnonymizationError, match="identity"):
        Anonymizer(Corner(), Negation(), Paint(1)).draw(faces(0.4), torch.full((2, 2), torch.nan))


def test_images_are_checked_at_the_door():
    with pytest.raises(ValueError, match=r"\[-1, 1\]"):
        Anonymizer(Corner(), Negation(), Paint(1))(faces(0.4) * 255)
    with pytest.raises(ValueError, match="floating"):
        Unchanged()(torch.zeros(1, 3, 4, 4, dtype=torch.uint8))


def test_unchanged():
    assert torch.equal(Unchanged()(faces(0.4), source=faces(0.1)), faces(0.4))


def test_an_encoder_that_gives_nan_makes_no_finite_fake():
    """A policy with a fixed anchor would: the face looked anonymized, and nobody had looked at it."""

    class Blind(Corner):
        def forward(self, images, layers=()):
            return Embedded(torch.full((len(images), 2), torch.nan), ())

    def fixed(z, **given):
        return torch.tensor([[1.0, 0.0]]).expand(len(z), 2)

    with pytest.raises(AnonymizationError, match="encoder gave no embeddings"):
        Anonymizer(Blind(), fixed, Paint(1))(faces(0.4))


class Whole(nn.Module):
    """z is the direction of all pixels."""

    name, dim = "whole", 48

    def forward(self, images, layers=()):
        return Embedded(nn.functional.normalize(images.flatten(1)), ())


class Written(nn.Module):
    """Writes its condition into the pixels."""

    steers = -1

    def forward(self, target, z):
        return Redrawn(-z.reshape(target.shape), None)


def test_recovers_with_its_key_and_nobody_with_another():
    """The generator gives exactly the wanted identity, so z comes back; another key's is another direction."""
    people = nn.functional.normalize(torch.randn(60, 48, generator=torch.Generator().manual_seed(0)))
    anonymizer = Anonymizer(Whole(), KeyedRotation(people, rank=None), Written())
    face, keys = people[:2].reshape(2, 3, 4, 4), torch.tensor([3, 4])
    changed = anonymizer(face, key=keys)
    assert anonymizer.reversible and float((changed * face).flatten(1).sum(1).abs().max()) < 1e-5  # 90 degrees
    torch.testing.assert_close(anonymizer.recover(changed, keys), face, atol=1e-5, rtol=0)
    assert float((anonymizer.recover(changed, keys + 2) * face).flatten(1).sum(1).max()) < 0.6
    fixed = Anonymizer(Whole(), Negation(), Written())
    assert not fixed.reversible
    with pytest.raises(UserError, match="Negation cannot be undone; policy=rotation can"):
        fixed.recover(changed, keys)
