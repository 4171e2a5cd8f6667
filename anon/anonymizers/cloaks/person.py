"""One mask for each person, for pictures that it never saw: OPOM (Zhong & Deng, IEEE TPAMI 2022).

    d <- clip(d + a sign(mean over i of grad of sum over m of |f_m(x_i + d) - S_m(x_i + d)|^2), -epsilon, epsilon)

S is the nearest point of what the person's pictures span in feature space: their mean ("class centre") in the first
rounds, then their convex hull, min over w of |f - sum of w_j f(x_j)| with w >= 0, sum of w = 1.

A person's pictures are cut in two, and each half gets the mask that was fitted on the other. The pictures are known by
their bytes: one that is in no split of the data belongs to nobody, and is refused.

    python evaluate.py method=cloak_person
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, cast

import torch
from torch import Tensor

from anon.anonymizers.cloaks.base import AT_ONCE, Cloak, Identities, slope
from anon.anonymizers.cloaks.photos import photos
from anon.anonymizers.filters import check_count, check_positive
from anon.errors import Failed
from anon.faces.contract import FaceSet, People, to_uint8
from anon.faces.decoding import digest
from anon.faces.splits import next_set, searched
from anon.identity.encoder import Encoder

_SOLVED = 16  # steps of Frank and Wolfe on the weights of a hull


class Owner(NamedTuple):
    """Whose a picture is: a split, a person there, and which half of that person's pictures it is in."""

    split: str
    person: int
    half: int


class PersonMasks(Cloak):
    """Masks of people, on their other pictures.

    Args:
        recognizers, epsilon: see :class:`anon.anonymizers.cloaks.base.Cloak`.
        data: whose pictures are cloaked.
        rounds: steps of a mask.
        step: length of each, as a share of epsilon.
        photos: of a half that its mask is fitted on, at most.
        centre: rounds by the mean of the person's pictures; the others are by their convex hull.
    """

    _handles = ("_data", "_owner", "_halves", "_masks", "_waiting")  # of the pictures, which ``_contents`` tells

    def __init__(
        self,
        recognizers: Mapping[str, Encoder | None],
        data: object,
        epsilon: float,
        rounds: int = 16,
        step: float = 0.125,
        photos: int = 4,
        centre: int = 5,
    ) -> None:
        super().__init__(recognizers, epsilon)
        self.rounds = check_count(rounds, "The number of rounds")
        self.step = check_positive(step, "The length of a step, a share of epsilon,", 2.0)
        self.photos = check_count(photos, "The number of photos of a person")
        self.centre = check_count(centre, "The number of rounds by the centre")
        self._data = cast(People, data)
        self._owner: dict[int, Owner] = {}
        self._halves: dict[Owner, Tensor] = {}
        self._masks: dict[Owner, Tensor] = {}
        self._waiting = list(searched(data))
        self._take_in()
        self._contents = tuple(sorted(self._owner.items()))

    def __deepcopy__(self, memo: dict[int, object]) -> PersonMasks:
        """It remembers nobody: what it knows follows from the data."""
        return self

    def fit(self, images: Tensor, identities: Tensor) -> Tensor:
        """The mask (P, 3, H, W) of every person, in order of the identities (N,), of pictures (N, 3, H, W)."""
        with torch.inference_mode(False), torch.no_grad():
            images = images.clone()
            place = identities.unique(return_inverse=True)[1]
            count = torch.bincount(place).to(images)
            known = [self.identities(part) for part in images.split(AT_ONCE)]
            features = tuple(torch.cat(parts) for parts in zip(*known, strict=True))
            masks = images.new_zeros(len(count), *images.shape[1:])
            for number in range(self.rounds):
                uphill = torch.zeros_like(masks)
                for rows in torch.arange(len(images)).split(AT_ONCE):
                    here = (images[rows] + masks[place[rows]]).clamp(-1, 1)
                    spanned = self._spanned(here, place[rows], features, place, hull=number >= self.centre)
                    uphill.index_add_(0, place[rows], slope(self._apart, here, spanned))
                masks += self.step * self.epsilon * (uphill / count.view(-1, 1, 1, 1)).sign()
                masks.clamp_(-self.epsilon, self.epsilon)
        return masks

    def _spanned(self, here: Tensor, of: Tensor, features: Identities, place: Tensor, hull: bool) -> Identities:
        """The nearest point (B, D) of each picture's person, by every recognizer."""
        own = of[:, None] == place[None]  # (B, N)
        equal = own / own.sum(1, keepdim=True)
        if not hull:
            return tuple(equal.to(f) @ f for f in features)
        return tuple(nearest_in_hull(z, f, own) for z, f in zip(self.identities(here), features, strict=True))

    def _apart(self, images: Tensor, spanned: Identities) -> Tensor:
        each = [(z - kept).square().sum(1) for z, kept in zip(self.identities(images), spanned, strict=True)]
        return torch.stack(each).sum(0)

    def cloaked(self, images: Tensor, rng: torch.Generator | None) -> Tensor:
        owners = [self._whose(face.numpy().tobytes()) for face in to_uint8(images).cpu().contiguous()]
        new = [owner for owner in dict.fromkeys(owners) if owner not in self._masks]
        if new:
            rows = [self._others(owner) for owner in new]
            identities = torch.arange(len(new)).repeat_interleave(torch.tensor([len(part) for part in rows]))
            seen = zip(new, rows, strict=True)
            shown = torch.cat([photos(self._data.faces(owner.split), part).images for owner, part in seen])
            masks = self.fit(shown.to(images), identities.to(images.device))
            self._masks |= dict(zip(new, masks, strict=True))
        return images + self.within(images, torch.stack([self._masks[owner] for owner in owners]))

    def _others(self, owner: Owner) -> Tensor:
        """Places in the split of the pictures that a mask is fitted on: the person's other half."""
        found = self._halves.get(owner._replace(half=1 - owner.half))
        if found is None:
            raise Failed("A mask of a person is fitted on other pictures of that person, and one here has none.")
        return found[: self.photos]

    def _whose(self, content: bytes) -> Owner:
        mark = digest(content)
        while mark not in self._owner:
            if not self._waiting:
                raise Failed(f"A mask is of a person, and this picture is of nobody in {self._data.name}.")
            self._take_in()
        return self._owner[mark]

    def _take_in(self) -> None:
        """Read the next split's pictures; there may be no such split."""
        found = next_set(self._data, self._waiting)
        if found is None:
            return
        split, faces = found
        halves = _halves(faces)
        for rows in torch.arange(len(faces)).split(AT_ONCE):
            marks = [digest(face.numpy().tobytes()) for face in to_uint8(photos(faces, rows).images).contiguous()]
            owners = zip(faces.labels[rows].tolist(), halves[rows].tolist(), strict=True)
            self._owner |= {mark: Owner(split, *who) for mark, who in zip(marks, owners, strict=True)}
        stills = faces.videos < 0
        for person in faces.labels.unique().tolist():
            for half in (0, 1):
                rows = ((faces.labels == person) & (halves == half) & stills).nonzero()[:, 0]
                if len(rows):
                    self._halves[Owner(split, person, half)] = rows


def _halves(faces: FaceSet) -> Tensor:
    """Which half of its person's pictures each is in, (N,): stills by turns, a clip as a whole."""
    stills, halves = faces.videos < 0, faces.videos.remainder(2)
    for person in faces.labels.unique().tolist():
        rows = ((faces.labels == person) & stills).nonzero()[:, 0]
        halves[rows] = torch.arange(len(rows)).remainder(2)
    return halves


def nearest_in_hull(z: Tensor, features: Tensor, own: Tensor) -> Tensor:
    """The point (B, D) of the convex hull of some features that is nearest to each of z (B, D), by Frank and Wolfe.

    Args:
        features: (N, D), and which of them span each one's hull: ``own`` (B, N) bool, one at least in a row.

    >>> corners = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 9.0]])
    >>> nearest_in_hull(torch.tensor([[1.0, -3.0]]), corners, torch.tensor([[True, True, False]]))
    tensor([[1., 0.]])
    """
    weights = own / own.sum(1, keepdim=True)  # (B, N)
    weights = weights.to(features)
    for _ in range(_SOLVED):
        here = weights @ features
        slopes = ((here - z) @ features.T).masked_fill(~own, torch.inf)
        way = features[slopes.argmin(1)] - here  # to the best corner
        length = ((z - here) * way).sum(1) / way.square().sum(1).clamp_min(1e-12)
        share = length.clamp(0, 1)[:, None]
        corner = torch.zeros_like(weights).scatter_(1, slopes.argmin(1, keepdim=True), 1.0)
        weights = (1 - share) * weights + share * corner
    return weights @ features
