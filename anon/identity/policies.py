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
from anon.identity.contract import Draws, Given
from anon.identity.matching import Kinds, LabelReader

BLOCK = 65_536  # anchors compared at a time, for each face
CLOSE = 0.005  # a mix of people whose cosine is this near to the wanted one needs nobody else
MISSED = 0.05  # further from it than this, the wanted cosine is out of reach
EPSILON = 1e-6  # of a squared length


class OwnEmbedding(nn.Module):
    """``z_a = z``: the target's own identity, degree 0 of every dial."""

    def forward(
        self, z: Tensor, *, source: Given = None, key: Given = None, track: Given = None, rng: Draws = None
    ) -> Tensor:
        """z (B, D) -> z."""
        return z


class Negation(nn.Module):
    """``z_a = -z``: the furthest identity, plain FIVA. A recognizer that negates its probes undoes it (¬ID)."""

    def forward(
        self, z: Tensor, *, source: Given = None, key: Given = None, track: Given = None, rng: Draws = None
    ) -> Tensor:
        """z (B, D) -> -z."""
        return -z


class SourceIdentity(nn.Module):
    """``z_a = z_source``: face swapping."""

    def forward(
        self, z: Tensor, *, source: Given = None, key: Given = None, track: Given = None, rng: Draws = None
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

    The anchor space S_a holds the mixes of every two people, so that no anchor is anybody (FIVA, section 3). Of real
    embeddings strangers are nearly perpendicular, and a mix of two reaches a cosine of about .45 to a third; where no
    mix of two is within :data:`CLOSE` of ``m``, a third, fourth, ... person joins, up to ``most``, each the one that
    brings the mix nearest to ``m``. (The paper mixes two, and gives no rule for an ``m`` that these do not have. With
    two alone nearly every face gets the most extreme anchor there is, which the thesis warns of.)

    ``mirrored`` offers the *negated* anchors as wanted identities. A generator that flees its condition then gets the
    anchor itself, a mix of real people that it was trained on, and not its mirror image. ``m`` is always the
    cosine of z to the *wanted* identity: for FIVA, whose raw condition is c = -z_a, the near side of figure 5.14,
    cos(c, z) = 0.5 .. 0.7, is ``m = -0.5 .. -0.7`` with ``mirrored=True``; a swapper takes the far side, m < 0,
    unmirrored.
    The extremes leak: z_a = z shows the person and z_a = -z shows it to whoever negates, so choose ``m`` such that the
    result is far from both, and mind :meth:`missed`: whom no anchor at ``m`` is there for gets the most extreme one.

    ``matched`` mixes people of the face's own group of a label alone, such as skin tone: the label is read off z
    (:mod:`anon.identity.matching`), so that the fake identity keeps it, and tells it.

    It is deterministic: over the frames of a video z_a jumps only because z moves (ITM mends that). Two people can get
    one anchor.

    Args:
        people: (N, D) unit vectors, the averages of N >= 2 training people, see :func:`average`.
        m: wanted cosine in [-1, 1]; [0, 1] for the absolute reading.
        reading: "signed" or "absolute".
        mirrored: negated anchors are the wanted identities.
        most: people in an anchor, at most; 2 or more.
        matched: label that an anchor shares with the face; None: none.
        kinds: the groups of it that the people are in.

    Raises:
        UserError: settings that are none, or people too few for an anchor, or for one of each group.
    """

    people: Tensor

    def __init__(
        self,
        people: Tensor,
        m: float = 0.0,
        reading: Literal["signed", "absolute"] = "signed",
        mirrored: bool = False,
        most: int = 8,
        matched: str | None = None,
        kinds: Kinds | None = None,
    ) -> None:
        super().__init__()
        if reading not in ("signed", "absolute"):
            raise UserError(f"Unknown reading '{reading}' of eq. 1; choose signed or absolute.")
        if not (0.0 if reading == "absolute" else -1.0) <= m <= 1.0:
            raise UserError(f"The wanted cosine m={m} of the {reading} reading is out of range.")
        if people.ndim != 2 or len(people) < 2:
            raise UserError(f"Anchors are mixes of people: they need (N, D) of 2 or more, got {tuple(people.shape)}.")
        if most < 2:
            raise UserError(f"An anchor mixes 2 people or more, not at most {most}: it would be somebody.")
        self.register_buffer("people", F.normalize(people.float()))
        self.m = m
        self.reading = reading
        self.mirrored = mirrored
        self.most = most
        self.matched = matched
        if (matched is None) != (kinds is None):
            raise UserError("Anchors that share a label need its name, and which group of it each person is in.")
        self.reader = None if kinds is None else LabelReader(self.people, kinds, str(matched))

    def choose(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The anchors (B, D) of z (B, D), not mirrored, and how many people (B,) each mixes; of equals the first."""
        if self.reader is None:
            return self._choose(z, self.people)
        group = self.reader(z)
        anchor, count = torch.empty_like(z), torch.empty_like(group)
        for each in group.unique().tolist():
            rows = group == each
            anchor[rows], count[rows] = self._choose(z[rows], self.people[self.reader.of == each])
        return anchor, count

    def _choose(self, z: Tensor, people: Tensor) -> tuple[Tensor, Tensor]:
        cosine = z @ people.T  # (B, N)
        first, second, gap = self._pairs(cosine, people)
        mix = people[first] + people[second]  # (B, D), not normalized
        count = torch.full_like(first, 2)
        used = F.one_hot(first, len(people)).bool() | F.one_hot(second, len(people)).bool()
        for _ in range(min(self.most, len(people)) - 2):
            rows = (gap > CLOSE).nonzero()[:, 0]
            if len(rows) == 0:
                break
            own = mix[rows]
            square = own.square().sum(1, keepdim=True) + 1 + 2 * own @ people.T  # (b, N)
            mixed = ((own * z[rows]).sum(1, keepdim=True) + cosine[rows]) / square.clamp_min(EPSILON).sqrt()
            least, who = self._gap(mixed).masked_fill_(used[rows] | (square < EPSILON), math.inf).min(1)
            better = least < gap[rows]
            rows, who = rows[better], who[better]
            mix[rows] += people[who]
            used[rows, who] = True
            count[rows] += 1
            gap[rows] = least[better]
            if len(rows) == 0:
                break
        return F.normalize(mix), count

    def missed(self, z: Tensor) -> Tensor:
        """For which z (B, D) no anchor has the wanted cosine, to within :data:`MISSED`, (B,) bool.

        These get the most extreme anchor on that side.
        """
        anchor, _ = self.choose(z)
        return self._gap((anchor * z).sum(1)) > MISSED

    def _pairs(self, cosine: Tensor, people: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The two people (B,), (B,) whose mix is nearest to m, and its gap (B,). Memory: a (B, N) row a person."""
        count = len(people)
        best = cosine.new_full((len(cosine),), math.inf)
        first, second = (torch.zeros(len(cosine), dtype=torch.long, device=cosine.device) for _ in range(2))
        step = max(1, BLOCK // count)
        for start in range(0, count - 1, step):
            block, rest = people[start : start + step], people[start:]
            square = 2 + 2 * block @ rest.T  # (s, n), of the lengths of sums of two
            again = torch.ones_like(square, dtype=torch.bool).tril()  # each pair once, and nobody with himself
            again |= square < EPSILON  # opposite people have no middle
            length = square.clamp_min(EPSILON).sqrt()
            mixed = cosine[:, start : start + step, None] + cosine[:, None, start:]  # (B, s, n)
            gap = self._gap(mixed.mul_(1 / length)).masked_fill_(again, math.inf)
            least, where = gap.flatten(1).min(1)
            better = least < best
            best = torch.where(better, least, best)
            first = torch.where(better, start + where // len(rest), first)
            second = torch.where(better, start + where % len(rest), second)
        return first, second, best

    def _gap(self, cosine: Tensor) -> Tensor:
        """How far z's cosines to anchors, not mirrored, are from what is wanted; it may change what it is given."""
        if self.reading == "absolute":
            return cosine.abs_().sub_(self.m).abs_()
        return cosine.add_(self.m if self.mirrored else -self.m).abs_()

    def forward(
        self, z: Tensor, *, source: Given = None, key: Given = None, track: Given = None, rng: Draws = None
    ) -> Tensor:
        """z (B, D) -> its wanted identities (B, D)."""
        anchor, _ = self.choose(z)
        return -anchor if self.mirrored else anchor


def sampling_of(policy: object) -> AnchorSampling | None:
    """The sampling in a policy, itself or wrapped (ITM, the dial); None where there is none."""
    while policy is not None and not isinstance(policy, AnchorSampling):
        policy = getattr(policy, "policy", None)
    return policy


class AtDistance(nn.Module):
    """The dial: how far z_a goes on the great circle from z towards a fake identity.

    ``z_a = cos(degree a) z + sin(degree a) u``, u the part of the fake that is perpendicular to z, and a where the way
    ends: at cosine distance ``distance``, ``cos(a) = 1 - distance``, or at the fake itself without one (slerp,
    Shoemake, SIGGRAPH 1985). The cosine distance of z_a from z is ``1 - cos(degree a)``, which grows with the degree.

    degree 0 asks for the target's own face. A distance of 1 is a stranger's, 2 the negation, which leaks like plain
    FIVA. The degree d of "Face Anonymization Made Simple" (WACV 2025, supplement: 0.3 to 1.5) is another dial: a
    parameter of its model, with which the distance of the recognizer grows.

    Args:
        policy: gives the fake identity.
        distance: where degree 1 is, in [0, 2]; None: at the fake identity.
        degree: in [0, 1].

    Raises:
        UserError: a distance or a degree that is none.
    """

    def __init__(self, policy: nn.Module, distance: float | None = None, degree: float = 1.0) -> None:
        super().__init__()
        if distance is not None and not 0.0 <= distance <= 2.0:
            raise UserError(f"The dial is a cosine distance in [0, 2], got {distance}.")
        if not 0.0 <= degree <= 1.0:
            raise UserError(f"The degree of anonymization is a number from 0 (own face) to 1, got {degree}.")
        self.policy = policy
        self.distance = None if distance is None else float(distance)
        self.degree = float(degree)

    def forward(
        self, z: Tensor, *, source: Given = None, key: Given = None, track: Given = None, rng: Draws = None
    ) -> Tensor:
        """z (B, D) unit norm -> (B, D) unit norm."""
        fake = self.policy(z, source=source, key=key, track=track, rng=rng)
        cosine = (fake * z).sum(-1, keepdim=True)
        side = fake - cosine * z
        end = torch.atan2(side.norm(dim=-1, keepdim=True), cosine)  # (B, 1), the angle to the fake
        if self.distance is not None:
            end = torch.full_like(end, math.acos(1.0 - self.distance))
        lost = side.square().sum(-1, keepdim=True) < EPSILON  # z itself or its negation: any way there is as good
        other = F.one_hot(z.abs().argmin(-1), z.shape[-1]).to(z)
        side = torch.where(lost, other - (other * z).sum(-1, keepdim=True) * z, side)
        angle = self.degree * end
        return F.normalize(angle.cos() * z + angle.sin() * F.normalize(side))


def average(z: Tensor, labels: Tensor, metric: str = "cosine") -> tuple[Tensor, Tensor]:
    """One embedding per identity: the normalized mean of its unit vectors, and its label, in order of the labels.

    Args:
        z: (N, D).
        labels: (N,) int64.
        metric: of raw vectors, which "euclidean" compares, it is the mean as it is.
    """
    names, place, counts = labels.unique(return_inverse=True, return_counts=True)
    sums = z.new_zeros(len(names), z.shape[1]).index_add_(0, place, z)
    return (F.normalize(sums) if metric == "cosine" else sums / counts[:, None]), names
