"""Random identities: whoever the face is, one for each face, track or person."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from anon.errors import UserError
from anon.identity.latent import RandomIdentity
from anon.identity.tracking import IdentityTracker

Z = F.normalize(torch.randn(6, 64, generator=torch.Generator().manual_seed(0)))


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def test_nothing_of_the_face_is_in_it() -> None:
    drawn = RandomIdentity()(Z, rng=rng())
    assert torch.equal(drawn, RandomIdentity()(-Z.flip(0), rng=rng()))  # other faces, the same draw
    torch.testing.assert_close(drawn.norm(dim=1), torch.ones(6))
    assert (drawn @ drawn.T).fill_diagonal_(0).abs().max() < 0.5  # another for each
    many = RandomIdentity()(torch.zeros(4096, 16), rng=rng())
    assert many.mean(0).abs().max() < 0.02 and (many.square().mean(0) - 1 / 16).abs().max() < 0.006


def test_one_a_track_whatever_the_batch() -> None:
    policy = RandomIdentity()
    found = policy(Z[:4], track=torch.tensor([3, 5, 3, 8]))
    assert torch.equal(found[0], found[2]) and not torch.equal(found[0], found[1])
    assert torch.equal(policy(Z[5:], track=torch.tensor([5]))[0], found[1])
    assert not torch.equal(RandomIdentity(seed=1)(Z[5:], track=torch.tensor([5]))[0], found[1])


def test_one_a_person_within_the_tracker() -> None:
    tracker = IdentityTracker(RandomIdentity(), threshold=0.5)
    first = tracker(Z[:2], rng=rng())
    again = tracker(F.normalize(Z[:2] + 0.01), rng=rng())
    assert torch.equal(first, again) and not torch.allclose(first[0], first[1])


def test_it_needs_somewhere_to_draw_from() -> None:
    with pytest.raises(UserError, match="'random' needs rng"):
        RandomIdentity()(Z)
