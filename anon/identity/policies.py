"""Policies: from the identity that a face has to the one that it shall seem to have (FIVA eq. 1; thesis 5.4).

A policy returns the *wanted* identity z_a. The anonymizer feeds the generator ``steers * z_a``: a swapper (+1) becomes
its condition, FIVA (-1) flees it. So the plain mode of FIVA, whose condition is the face's own z, is :class:`Negation`;
FIVA swaps with ``-z_source``; and :class:`OwnEmbedding` asks every generator for the target's own face.

Eq. 1 as printed, ``argmin(|cos(z, S_a)| + m)``, cannot depend on its constant m. Text and figure 5.14 mean the anchor
whose cosine has a wanted value, and there are two readings of that, see :class:`AnchorSampling`.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anon.errors import UserError

BLOCK = 65_536  # anchors compared at a time


class OwnEmbedding(nn.Module):
    """``z_a = z``: the target's own identity, degree 0 of every dial."""

    def forward(
        self,
        z: Tensor,
        *,
        source: Tensor | None = None,
        key: Tensor | None = None,
        track: Tensor | None = None,
        rng: torch.Generator | None = None,
    ) -> Tensor:
        """z (B, D) -> z."""
        return z


class Negation(nn.Module):
    """``z_a = -z``: the furthest identity, plain FIVA. A recognizer that negates its probes undoes it (¬ID)."""

    def forward(
        self,
        z: Tensor,
        *,
        source: Tensor | None = None,
        key: Tensor | None = None,
        track: Tensor | None = None,
        rng: torch.Generator | None = None,
    ) -> Tensor:
        """z (B, D) -> -z."""
        return -z


class SourceIdentity(nn.Module):
    """``z_a = z_source``: face swapping."""

    def forward(
        self,
        z: Tensor,
        *,
        source: Tensor | None = None,
        key: Tensor | None = None,
        track: Tensor | None = None,
        rng: torch.Generator | None = None,
    ) -> Tensor:
        """source (B, D) or (1, D) -> (B, D).

        Raises:
            UserError: no source.
        """
        if source is None:
            raise UserError("The policy 'source' swaps in another person's face and needs source images.")
        return source.expand_as(z)


class AnchorSampling(nn.Module):
    """Sampling: the anchor identity whose cosine to z is closest to ``m`` (eq. 1, in a reading where m matters).

    ``reading="signed"``: ``argmin |cos(z, z_a) - m|``, which controls the signed distance.
    ``reading="absolute"``: ``argmin ||cos(z, z_a)| - m|``, which takes either side.

    ``mirrored`` offers the *negated* anchors as wanted identities. A generator that flees its condition then gets the
    anchor itself, the average of real people that it was trained on, and not its mirror image. ``m`` is always the
    cosine of z to the *wanted* identity: for FIVA, whose raw condition is c = -z_a, the near side of figure 5.14,
    cos(c, z) = 0.5 .. 0.7, is ``m = -0.5 .. -0.7`` with ``mirrored=True``; a swapper takes the far side, m < 0,
    unmirrored.
    The extremes leak: z_a = z shows the person and z_a = -z shows it to whoever negates, so choose ``m`` such that the
    result is far from both, and mind that a set without an anchor at ``m`` gives its most extreme one.

    It is deterministic: over the frames of a video z_a jumps only because z moves (ITM mends that). Two people can get
    one anchor.

    Args:
        anchors: (K, D) unit vectors, see :func:`anchor_space`.
        m: wanted cosine in [-1, 1]; [0, 1] for the absolute reading.
        reading: "signed" or "absolute".
        mirrored: negated anchors are the wanted identities.
    """

    anchors: Tensor

    def __init__(
        self,
        anchors: Tensor,
        m: float = 0.0,
        reading: Literal["signed", "absolute"] = "signed",
        mirrored: bool = False,
    ) -> None:
        super().__init__()
        if reading not in ("signed", "absolute"):
            raise UserError(f"Unknown reading '{reading}' of eq. 1; choose signed or absolute.")
        if not (0.0 if reading == "absolute" else -1.0) <= m <= 1.0:
            raise UserError(f"The wanted cosine m={m} of the {reading} reading is out of range.")
        if anchors.ndim != 2 or len(anchors) == 0:
            raise UserError(f"Anchor sampling needs (K, D) anchors, got {tuple(anchors.shape)}.")
        self.register_buffer("anchors", F.normalize(anchors.float()))
        self.m = m
        self.reading = reading
        self.sign = -1.0 if mirrored else 1.0

    def choose(self, z: Tensor) -> Tensor:
        """Index (B,) of each z's anchor; of equals the first. Memory: a (B, 65536) block."""
        best = z.new_full((len(z),), math.inf)
        index = torch.zeros(len(z), dtype=torch.long, device=z.device)
        for start in range(0, len(self.anchors), BLOCK):
            cosine = self.sign * (z @ self.anchors[start : start + BLOCK].T)  # (B, block)
            gap = ((cosine.abs() if self.reading == "absolute" else cosine) - self.m).abs()
            least, place = gap.min(1)
            better = least < best
            best = torch.where(better, least, best)
            index = torch.where(better, place + start, index)
        return index

    def forward(
        self,
        z: Tensor,
        *,
        source: Tensor | None = None,
        key: Tensor | None = None,
        track: Tensor | None = None,
        rng: torch.Generator | None = None,
    ) -> Tensor:
        """z (B, D) -> its anchors (B, D)."""
        return self.sign * self.anchors[self.choose(z)]


class AtDistance(nn.Module):
    """The dial: the identity at cosine distance ``distance`` from z, on the great circle towards a fake identity.

    ``z_a = cos(a) z + sin(a) u`` with ``cos(a) = 1 - distance`` and u the part of the fake that is perpendicular to z:
    0 asks for the target's own face, 1 for a stranger, 2 for its negation, which leaks like plain FIVA. The degree d of
    "Face Anonymization Made Simple" (WACV 2025, supplement: 0.3 to 1.5) is another dial: a parameter of its model, with
    which the distance of the recognizer grows.

    Args:
        policy: gives the fake identity.
        distance: in [0, 2].

    Raises:
        UserError: a distance that is none.
    """

    def __init__(self, policy: nn.Module, distance: float) -> None:
        super().__init__()
        if not 0.0 <= distance <= 2.0:
            raise UserError(f"The dial is a cosine distance in [0, 2], got {distance}.")
        self.policy = policy
        self.distance = float(distance)

    def forward(
        self,
        z: Tensor,
        *,
        source: Tensor | None = None,
        key: Tensor | None = None,
        track: Tensor | None = None,
        rng: torch.Generator | None = None,
    ) -> Tensor:
        """z (B, D) unit norm -> (B, D) unit norm with ``1 - cos(z, z_a) = distance``."""
        fake = self.policy(z, source=source, key=key, track=track, rng=rng)
        side = fake - (fake * z).sum(-1, keepdim=True) * z
        cosine = 1.0 - self.distance
        return F.normalize(cosine * z + math.sqrt(max(0.0, 1.0 - cosine**2)) * F.normalize(side))


def slerp(a: Tensor, b: Tensor, t: float) -> Tensor:
    """Spherical interpolation of unit vectors (..., D): a at t = 0, b at t = 1, constant speed between.

    Between opposite vectors every great circle is shortest; the one through the coordinate axis that is least aligned
    with ``a`` is taken.

    >>> slerp(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), 1 / 3)
    tensor([0.8660, 0.5000])
    """
    angle = 2 * torch.atan2((a - b).norm(dim=-1, keepdim=True), (a + b).norm(dim=-1, keepdim=True))  # stable everywhere
    axis = F.one_hot(a.abs().argmin(-1), a.shape[-1]).to(a)
    opposite = angle > math.pi - 1e-3
    towards = torch.where(opposite, axis, b)
    side = towards - (towards * a).sum(-1, keepdim=True) * a  # the part of b that is perpendicular to a
    side = side / side.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    return F.normalize(torch.cos(t * angle) * a + torch.sin(t * angle) * side, dim=-1)


def average(z: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """One embedding per identity: the normalized mean of its unit vectors, and its label, in order of the labels.

    Args:
        z: (N, D).
        labels: (N,) int64.
    """
    names, place = labels.unique(return_inverse=True)
    sums = z.new_zeros(len(names), z.shape[1]).index_add_(0, place, z)
    return F.normalize(sums), names


def anchor_space(z: Tensor, labels: Tensor, size: int, rng: torch.Generator | None = None) -> Tensor:
    """The anchor space S_a (size, D): mixes of two people each, so that no anchor is anybody (FIVA, section 3).

    The identities' averages are slerped (t = 0.5) with a copy of the list shifted by 1, then by 2, and so on.

    Args:
        z: (N, D) unit embeddings of *training* identities, by the conditioning encoder.
        labels: (N,) their identities.
        size: number of anchors.
        rng: shuffles the identities first; None keeps the order of the labels.

    Raises:
        UserError: more anchors than there are pairs of people.
    """
    people, _ = average(z, labels)
    count = len(people)
    if not 0 < size <= count * (count - 1) // 2:
        raise UserError(f"{count} identities make at most {count * (count - 1) // 2} anchors of two, not {size}.")
    if rng is not None:
        people = people[torch.randperm(count, generator=rng).to(people.device)]
    parts: list[Tensor] = []
    left, shift = size, 1
    while left > 0:
        pairs = count // 2 if 2 * shift == count else count  # half way round the pairs repeat
        parts.append(slerp(people, people.roll(-shift, 0), 0.5)[: min(pairs, left)])
        left -= len(parts[-1])
        shift += 1
    return torch.cat(parts)
