"""Identities turned by a key, and turned back: anonymization that whoever has the key undoes.

    X_c = G(X, R z)          z  = E(X)
    X_r = G(X_c, R^-1 z')    z' = E(X_c)

(Cao, Liu, Wen, Xie & Song, ICCV 2021; chapters 6 and 8 of Wen et al., *Face De-identification*, Springer 2024,
eqs. 6.16 to 6.21 and 8.4 to 8.11.) R depends on a key (:mod:`anon.identity.keys`) and on an
angle. There are three kinds:

    published   w = z cos a + (r - <z, r> z) sin a, r from the key (eqs. 6.16, 6.17), and eqs. 6.19 and 6.20 back
    plane       the same plane with a *unit* vector across z: the angle is the angle, and the way back a rotation
    blocks      w = B R(a) B^T z, B an orthonormal frame from the key, R(a) turning its coordinates in pairs

``published`` forgets the length of w, for an encoder gives vectors of length 1, and is then wrong where <z, r> is not
0; at 90 degrees it divides by cos a = 0. ``plane`` is right up to the angle between z and r, but which side of r the
face was on is not in w: near 90 degrees it is a guess. ``blocks`` (ours) is an isometry that does not depend on z, so
its inverse is exact at every angle and no error of z' grows on the way back.

All of them turn within the space that people's identities fill, its first ``rank`` principal directions: what lies
outside is nobody's face, and no generator draws it.

    python benchmarks/rotations.py     # all three over the angle, without a generator
    python evaluate.py suite=keys
"""

from __future__ import annotations

import hashlib
import math
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anon.errors import UserError
from anon.identity.contract import Draws, Given

WORDS = 4  # int64 numbers of a key that is drawn, or made of a password
KINDS = ("blocks", "plane", "published")
EPSILON = 1e-8


class KeyedRotation(nn.Module):
    """``z_a = R z`` with a key, and :meth:`undo` with the same.

    Args:
        people: (N, D) unit vectors, the averages of N training people, whose first ``rank`` principal directions are
            turned. To undo takes the same people.
        kind: "blocks", "plane" or "published".
        angle: degrees, in (0, 180). Of "blocks" the angle between z and R z, but for what of z is outside the space.
        rank: even, at most D; None: all D directions.

    Raises:
        UserError: settings that are none, or fewer people than directions.
    """

    space: Tensor

    def __init__(
        self,
        people: Tensor,
        kind: Literal["blocks", "plane", "published"] = "blocks",
        angle: float = 90.0,
        rank: int | None = 32,
    ) -> None:
        super().__init__()
        if kind not in KINDS:
            raise UserError(f"Unknown rotation '{kind}'; choose {', '.join(KINDS)}.")
        if not 0.0 < angle < 180.0:
            raise UserError(f"The angle of a rotation is between 0 and 180 degrees, not {angle}.")
        if kind == "published" and angle == 90.0:
            raise UserError("The published rotation cannot be undone at 90 degrees (eq. 6.20 divides by its cosine).")
        self.register_buffer("space", space_of(people, rank))
        self.kind, self.angle = kind, float(angle)

    def forward(
        self, z: Tensor, *, source: Given = None, key: Given = None, track: Given = None, rng: Draws = None
    ) -> Tensor:
        """z (B, D) unit norm, key (B,) or (B, n) int64 -> (B, D) unit norm.

        Without a key every face gets one from ``rng``, which nobody has afterwards.

        Raises:
            UserError: neither a key nor ``rng``, or a key of another form.
        """
        if key is None and rng is not None:
            key = torch.randint(-(2**63), 2**63 - 1, (len(z), WORDS), generator=rng, device=rng.device)
        return self._turned(z, key, math.radians(self.angle))

    def undo(self, z: Tensor, key: Given) -> Tensor:
        """R^-1: turned identities z (B, D), as an encoder reads them off a picture -> whose they were (B, D).

        Raises:
            UserError: no key, or none of this form.
        """
        return self._turned(z, key, -math.radians(self.angle))

    def _turned(self, z: Tensor, key: Given, angle: float) -> Tensor:
        frames = torch.stack([frame_of(row, self.space) for row in rows_of(key, len(z))]).to(z)  # (1 or B, D, rank)
        if self.kind == "blocks":
            return turned(z, frames, angle)
        reference = frames[:, :, 0].to(z).expand_as(z)
        if self.kind == "plane":
            return in_plane(z, reference, angle)
        return published(z, reference, angle) if angle > 0 else published_back(z, reference, -angle)


def space_of(people: Tensor, rank: int | None = None) -> Tensor:
    """The first ``rank`` principal directions, (D, rank) float64 with orthonormal columns, of people (N, D).

    Raises:
        UserError: a rank that is odd, or larger than the people or the dimensions are.
    """
    if rank is None:
        rank = people.shape[-1]
        return torch.eye(rank, dtype=torch.float64, device=people.device)
    if rank < 2 or rank % 2 or rank > people.shape[-1]:
        raise UserError(f"A rotation turns an even number of directions, 2 to {people.shape[-1]}, not rank={rank}.")
    if len(people) < rank:
        raise UserError(f"{len(people)} people do not fill {rank} directions; use more people, or a smaller rank.")
    return torch.linalg.svd(people.double(), full_matrices=False)[2][:rank].T.contiguous()


def frame_of(key: bytes, space: Tensor) -> Tensor:
    """An orthonormal frame (D, rank) float64 of the space (D, rank), drawn with the key.

    Uniform among all frames: QR of Gaussian numbers, with positive diagonal (Mezzadri 2007). They come from
    SHAKE-256, so that they are the same on every machine. The Gaussian matrix is of the surrounding D dimensions, so
    the frame depends on the space and not on which basis of it is given.
    """
    dim, rank = space.shape
    noise = torch.from_numpy(normals(key, dim * rank).reshape(dim, rank)).to(space.device)
    return space @ orthonormal(space.T @ noise)


def orthonormal(noise: Tensor) -> Tensor:
    """The Q of QR with positive diagonal, of (..., n, n)."""
    q, r = torch.linalg.qr(noise)
    return q * r.diagonal(dim1=-2, dim2=-1).sign()[..., None, :]


def normals(key: bytes, count: int) -> np.ndarray:
    """Standard normal numbers (count,) float64 of a key: SHAKE-256 (FIPS 202), then Box and Muller.

    >>> normals(b"key", 2).round(3).tolist() == normals(b"key", 4)[:2].round(3).tolist()
    False
    """
    half = (count + 1) // 2
    words = np.frombuffer(hashlib.shake_256(b"anon rotation 1" + key).digest(16 * half), "<u8") >> np.uint64(11)
    first, second = ((words.astype(np.float64) + 0.5) * 2.0**-53).reshape(2, half)
    radius = np.sqrt(-2.0 * np.log(first))
    return np.concatenate((radius * np.cos(2 * np.pi * second), radius * np.sin(2 * np.pi * second)))[:count]


def turned(z: Tensor, frame: Tensor, angle: float | Tensor) -> Tensor:
    """z (B, D) with its coordinates in a frame (1 or B, D, rank) turned in pairs by ``angle`` radians, (B, D).

    What of z lies outside the frame's span stays.
    """
    frame = frame.to(z)
    own = torch.einsum("bd,bdr->br", z, frame.expand(len(z), -1, -1))  # coordinates (B, rank)
    first, second = own.unflatten(1, (-1, 2)).unbind(2)
    angle = torch.as_tensor(angle, dtype=z.dtype, device=z.device)
    cos, sin = angle.cos(), angle.sin()
    new = torch.stack((cos * first - sin * second, sin * first + cos * second), 2).flatten(1)
    return F.normalize(z + torch.einsum("br,bdr->bd", new - own, frame.expand(len(z), -1, -1)))


def in_plane(z: Tensor, reference: Tensor, angle: float) -> Tensor:
    """z (B, D) turned by ``angle`` radians towards a reference (B, D); a negative angle undoes that.

    With u the unit vector across z in the plane of both, w = z cos a + u sin a. Back: r lies at a - b or b - a from w,
    where b is the angle of z and r; of the two b that <w, r> allows, the one nearer to 90 degrees is taken, for
    strangers' vectors are nearly perpendicular.
    """
    cosine = (z * reference).sum(1, keepdim=True)
    across = F.normalize(reference - cosine * z)
    if angle < 0:
        between = cosine.clamp(-1.0, 1.0).acos()  # |b - a|
        ahead, behind = -angle + between, -angle - between  # the two b
        nearer = (ahead - math.pi / 2).abs() <= (behind - math.pi / 2).abs()
        across = torch.where(nearer, across, -across)
    return F.normalize(math.cos(angle) * z + math.sin(angle) * across)


def published(z: Tensor, reference: Tensor, angle: float) -> Tensor:
    """Eqs. 6.16 and 6.17, of z and reference (B, D); the length, which is not 1, is lost in a picture."""
    across = reference - (z * reference).sum(1, keepdim=True) * z
    return F.normalize(math.cos(angle) * z + math.sin(angle) * across)


def published_back(w: Tensor, reference: Tensor, angle: float) -> Tensor:
    """Eqs. 6.19 and 6.20 of w (B, D) unit norm, which are exact if w has the length that eq. 6.16 gave it."""
    cos, sin = math.cos(angle), math.sin(angle)
    rest = w - sin * reference
    overlap = (cos * cos - (rest * w).sum(1, keepdim=True)) / (sin * cos)
    down = cos - overlap * sin
    return F.normalize(rest / torch.where(down.abs() < EPSILON, torch.full_like(down, EPSILON), down))


def rows_of(key: Given, count: int) -> list[bytes]:
    """The keys of ``count`` faces as bytes: of (B,) or (B, n) int64 each one's own, of (1,) or (1, n) the one of all.

    Raises:
        UserError: no key, or another form.
    """
    if key is None:
        raise UserError("The policy 'rotation' turns identities with a key: key.file=<file>, in Python key=<tensor>.")
    rows = key[:, None] if key.ndim == 1 else key
    if key.dtype != torch.int64 or rows.ndim != 2 or not rows.shape[1] or len(rows) not in (1, count):
        raise UserError(
            f"Keys of {count} faces are int64 numbers ({count}, n), or (1, n) of them all, "
            f"not {key.dtype} {tuple(key.shape)}."
        )
    return [row.numpy().astype("<i8").tobytes() for row in rows.cpu()]


class Keyed(nn.Module):
    """A policy with the key of all its faces, for what calls policies without one.

    Args:
        policy: has ``undo`` if ``back``.
        key: (1, n) int64. It is in no state_dict.
        back: it undoes what the policy did.
    """

    def __init__(self, policy: KeyedRotation, key: Tensor, back: bool = False) -> None:
        super().__init__()
        self.policy, self.back, self._key = policy, back, key

    def forward(
        self, z: Tensor, *, source: Given = None, key: Given = None, track: Given = None, rng: Draws = None
    ) -> Tensor:
        """z (B, D) -> (B, D); another key is not taken."""
        return self.policy.undo(z, self._key) if self.back else self.policy(z, key=self._key)
