"""k-Same of identity vectors: any generator draws the mean of k people (k-Same-Net, Meden, Emeršič, Štruc & Peer 2018).

    z_a = (z_1 + ... + z_k) / |z_1 + ... + z_k|     the averages of the k people of the cluster that z is of

The paper's network draws from such a mean alone. A generator here also sees the target, so what is bounded is what the
*vector* tells: of k people one and the same. Pose, expression, hair, outline and background come from the target.

What is clustered is the set that is released, by its definition: for the evaluated people all pictures of the split
evaluation, those that are enrolled among them, as a set whose originals stay with who releases it. A face that is in
none of the data's sets is refused, and so is a set of fewer than k people.

    python evaluate.py suite=k_same
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anon.errors import Failed, UserError
from anon.faces.splits import SEARCHED
from anon.identity.clusters import check_enough, check_k, clusters, means, units_of
from anon.identity.contract import Draws, Given

SAME = 1e-3  # cosine distance within which an embedding is the one that was clustered; rounding is below 1e-5
#: Gives the embeddings (N, D) of a split's pictures and whose they are (N,).
Released = Callable[[str], tuple[Tensor, Tensor]]


class KSameEmbedding(nn.Module):
    """``z_a``: the mean of the cluster of k that z belongs to, or of the cluster furthest from it.

    The mean holds z itself, about ``1 / sqrt(k)`` of it where people are perpendicular; ``furthest`` holds none of it.

    Args:
        released: gives each set of the data, by the name of its split.
        k: people, or pictures, in a cluster at least; 2 or more.
        unit: "person" clusters the people's averages, so that the bound holds with several pictures of a person;
            "picture" clusters pictures, as published, for sets with one of each person.
        furthest: clusters are paired, and each gets the other's mean.

    Raises:
        UserError: fewer people in the evaluated set than k (2k for ``furthest``), or settings that are none.
    """

    _handles = ("_released", "_sets", "_missing")  # of the pictures, which ``_contents`` tells

    def __init__(self, released: Released, k: int = 5, unit: str = "person", furthest: bool = False) -> None:
        super().__init__()
        check_k(k, unit)
        self.k, self.unit, self.furthest = k, unit, furthest
        self._released = released
        self._sets: dict[str, tuple[Tensor, Tensor]] = {}
        self._missing: dict[str, str] = {}
        z, _ = self._set(SEARCHED[0])
        self._contents = hashlib.sha256(z.cpu().contiguous().numpy().tobytes()).hexdigest()

    def forward(
        self, z: Tensor, *, source: Given = None, key: Given = None, track: Given = None, rng: Draws = None
    ) -> Tensor:
        """z (B, D) of released faces -> the means of their clusters (B, D), unit norm.

        Raises:
            Failed: a face that is in no set of the data, or in one of too few people.
        """
        found, waiting = torch.empty_like(z), torch.ones(len(z), dtype=torch.bool, device=z.device)
        for split in SEARCHED:
            if not bool(waiting.any()):
                break
            try:
                known, wanted = (part.to(z) for part in self._set(split))
            except UserError as error:
                self._missing[split] = str(error)
                continue
            rows = waiting.nonzero()[:, 0]
            cosine, place = (z[rows] @ known.T).max(1)
            rows, place = rows[cosine > 1.0 - SAME], place[cosine > 1.0 - SAME]
            found[rows] = wanted[place]
            waiting[rows] = False
        if bool(waiting.any()):
            why = "".join(f" {reason}" for reason in dict.fromkeys(self._missing.values()))
            raise Failed(
                f"k-Same releases a closed set, and {int(waiting.sum()):,} faces are in none of the data.{why}"
            )
        return found

    def _set(self, split: str) -> tuple[Tensor, Tensor]:
        """The embeddings (N, D) of a set and the wanted identity (N, D) of each."""
        if split in self._missing:
            raise UserError(self._missing[split])
        if split not in self._sets:
            z, labels = self._released(split)
            place, owners = units_of(labels, self.unit)
            check_enough(owners, self.k, self.furthest, f"the set '{split}'")
            people = F.normalize(means(z, place, len(owners)))
            found = clusters(people, self.k, self.furthest)
            mixed = F.normalize(means(people, found.of, len(found.shown)))
            self._sets[split] = z, mixed[found.shown[found.of]][place]
        return self._sets[split]
