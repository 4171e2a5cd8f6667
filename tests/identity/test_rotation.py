"""Identities turned by a key and back, against numbers by hand and the published formula's own."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn import functional as F

from anon.errors import UserError
from anon.identity import keys
from anon.identity.rotation import (
    Keyed,
    KeyedRotation,
    frame_of,
    in_plane,
    normals,
    orthonormal,
    published,
    published_back,
    space_of,
    turned,
)


def directions(count: int, dim: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(count, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))


def cosine(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a * b).sum(1)


def at(degrees: float) -> torch.Tensor:
    """A direction of the plane, (1, 2)."""
    return torch.tensor([[math.cos(math.radians(degrees)), math.sin(math.radians(degrees))]], dtype=torch.float64)


def test_a_turn_by_hand() -> None:
    """(.6, .8, 0) turned by 90 degrees in the plane of the first two axes is (-.8, .6, 0); the third axis stays."""
    frame = torch.eye(3, dtype=torch.float64)[None, :, :2]
    z = torch.tensor([[0.6, 0.8, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    expected = torch.tensor([[-0.8, 0.6, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(turned(z, frame, math.pi / 2), expected)


@pytest.mark.parametrize("angle", [30.0, 90.0, 120.0])
def test_blocks_turn_everybody_by_the_angle_and_back(angle: float) -> None:
    z, key = directions(50, 16), torch.arange(50)
    rotation = KeyedRotation(directions(20, 16, 1), "blocks", angle, rank=None)
    w = rotation(z, key=key)
    torch.testing.assert_close(cosine(z, w), torch.full((50,), math.cos(math.radians(angle)), dtype=torch.float64))
    torch.testing.assert_close(rotation.undo(w, key), z)
    assert float(cosine(rotation.undo(w, key + 50), z).abs().mean()) < 0.95


def test_only_the_space_of_people_is_turned() -> None:
    """Of people in a plane of six dimensions the wanted identities are in that plane, and its complement stays."""
    people = torch.zeros(9, 6, dtype=torch.float64)
    people[:, :2] = directions(9, 2)
    rotation = KeyedRotation(people, angle=90.0, rank=2)
    z = F.normalize(torch.tensor([[3.0, 0, 0, 0, 4.0, 0]], dtype=torch.float64))
    w = rotation(z, key=torch.tensor([[5, 6]]))
    torch.testing.assert_close(w.abs(), torch.tensor([[0, 0.6, 0, 0, 0.8, 0]], dtype=torch.float64))


def test_the_frame_is_the_spaces_and_not_its_basis() -> None:
    """Recovery is on another machine, whose singular vectors may be others of the same space."""
    space = space_of(directions(40, 12), 4)
    other = space @ orthonormal(directions(4, 4, 7))
    torch.testing.assert_close(frame_of(b"key", space), frame_of(b"key", other))
    found = frame_of(b"key", space)
    torch.testing.assert_close(found.T @ found, torch.eye(4, dtype=torch.float64))


def test_the_plane_is_undone_where_the_side_is_known() -> None:
    """z at 0, r at 100 degrees: by 60 degrees w is at 60; r at 80: by 120 it is at 120. Both come back."""
    z = at(0)
    for reference, angle in ((100.0, 60.0), (80.0, 120.0)):
        w = in_plane(z, at(reference), math.radians(angle))
        torch.testing.assert_close(w, at(angle))
        torch.testing.assert_close(in_plane(w, at(reference), -math.radians(angle)), z)


def test_the_plane_guesses_near_90_degrees() -> None:
    """z at 0, r at 80, turned by 90: w is at 90, and r may be behind z by 80 or 100; nothing tells which."""
    w = in_plane(at(0), at(80), math.pi / 2)
    back = in_plane(w, at(80), -math.pi / 2)
    assert min(float(cosine(back, at(0))), float(cosine(back, at(160)))) < 1 - 1e-6 and float(cosine(w, at(90))) > 0.999


def test_the_published_inverse_fails_once_the_length_is_lost() -> None:
    """z at 0 and r at 60 degrees, so <z, r> = .5, at 75 degrees.

    w = (.2588, .8660 * .9659) of length .8756; eq. 6.20 then gives .0356 where <z, r> is .5, and eq. 6.19 gives
    (-.8446, .5354).
    With the length that eq. 6.16 gave it, the same formula gives z.
    """
    turn = math.radians(75)
    w = published(at(0), at(60), turn)
    assert float(published_back(w, at(60), turn)[0, 0]) == pytest.approx(-0.8446, abs=1e-3)
    whole = w * math.hypot(math.cos(turn), math.sqrt(0.75) * math.sin(turn))
    torch.testing.assert_close(published_back(whole, at(60), turn), at(0))
    torch.testing.assert_close(in_plane(in_plane(at(0), at(100), turn), at(100), -turn), at(0))


def test_normal_numbers_of_a_key() -> None:
    """Box and Muller of SHAKE-256, worked out here of its first two words; Kolmogorov-Smirnov of 40,000."""
    words = np.frombuffer(hashlib.shake_256(b"anon rotation 1key").digest(16), "<u8")
    first, second = ((int(word) >> 11) + 0.5 for word in words)
    radius = math.sqrt(-2 * math.log(first / 2**53))
    assert normals(b"key", 1)[0] == pytest.approx(radius * math.cos(2 * math.pi * second / 2**53), rel=1e-12)
    assert stats.kstest(normals(b"key", 40_000), "norm").pvalue > 0.001
    assert abs(np.corrcoef(normals(b"key", 40_000), normals(b"kex", 40_000))[0, 1]) < 0.03


def test_without_a_key_one_is_drawn() -> None:
    rotation, z = KeyedRotation(directions(20, 8), rank=None), directions(3, 8, 2)
    first, again = (rotation(z, rng=torch.Generator().manual_seed(4)) for _ in range(2))
    torch.testing.assert_close(first, again)
    assert float(cosine(first, rotation(z, rng=torch.Generator().manual_seed(5))).max()) < 0.999


def test_a_policy_that_holds_its_key() -> None:
    rotation, z, key = KeyedRotation(directions(20, 8), rank=None), directions(3, 8, 2), torch.tensor([[1, 2, 3, 4]])
    held = Keyed(rotation, key)
    torch.testing.assert_close(held(z), rotation(z, key=key.expand(3, 4)))
    torch.testing.assert_close(Keyed(rotation, key, back=True)(held(z)), z)
    assert set(held.state_dict()) == {"policy.space"}


def test_a_password_is_stretched_as_scrypt_says() -> None:
    """RFC 7914, by the standard library's."""
    made = keys.key_of(b"correct horse battery staple", b"mine")
    salt = keys.SALT + b"mine"
    expected = hashlib.scrypt(b"correct horse battery staple", salt=salt, n=2**17, r=8, p=1, maxmem=2**28, dklen=32)
    assert made.shape == (1, 4) and made.numpy().tobytes() == expected


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: KeyedRotation(directions(9, 8), "screw"), "Unknown rotation 'screw'"),  # type: ignore[arg-type]
        (lambda: KeyedRotation(directions(9, 8), angle=180.0, rank=4), "between 0 and 180"),
        (lambda: KeyedRotation(directions(9, 8), "published", 90.0, rank=4), "divides by its cosine"),
        (lambda: KeyedRotation(directions(9, 8), rank=3), "even number of directions, 2 to 8"),
        (lambda: KeyedRotation(directions(3, 8), rank=4), "3 people do not fill 4 directions"),
        (lambda: KeyedRotation(directions(9, 8), rank=4)(directions(2, 8)), "with a key"),
        (lambda: KeyedRotation(directions(9, 8), rank=4)(directions(2, 8), key=torch.zeros(3, 4).long()), "of 2 faces"),
        (lambda: KeyedRotation(directions(9, 8), rank=4)(directions(2, 8), key=torch.zeros(2)), "torch.float32"),
        (lambda: keys.key_of(b"123456"), "The key has 6 bytes; take 12"),
    ],
)
def test_refused(make, told: str) -> None:
    with pytest.raises(UserError, match=told):
        make()
