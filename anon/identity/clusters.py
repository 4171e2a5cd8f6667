"""The clusters of k-Same: k faces of one set share one surrogate, so that nobody can tell which of k it was.

    nearest    a face and the k - 1 that are nearest to it, over and over (Newton, Sweeney & Malin, *Preserving privacy
               by de-identifying face images*, IEEE TKDE 2005, algorithm k-Same); the last cluster takes in all that are
               left, up to 2k - 1
    furthest   such a cluster, and the cluster about the face that is furthest from it: each shows the other's mean
               (Meng & Sun, *Face de-identification with perfect privacy protection*, MIPRO 2014)

A surrogate is shown for k faces or more, so whoever names a person for each different surrogate is right for one face
of a cluster at most: a share of 1/k, *if no two faces of a cluster are one person's*. Of a set with several pictures of
a person that fails, and the bound with it; ``unit="person"`` clusters the people's averages and keeps it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from anon.errors import UserError

UNITS = ("person", "picture")


class Clusters(NamedTuple):
    """``of`` (U,): the cluster of each unit; ``shown`` (C,): the cluster whose mean stands in for each cluster."""

    of: Tensor
    shown: Tensor


def check_k(k: int, unit: str) -> None:
    """See that these are settings of k-Same.

    Raises:
        UserError: ``k`` below 2, or a unit that is none of :data:`UNITS`.
    """
    if isinstance(k, bool) or not isinstance(k, int) or k < 2:
        raise UserError(f"k-Same hides a face among k: k must be a whole number of 2 or more, not {k!r}.")
    if unit not in UNITS:
        raise UserError(f"The unit of k-Same is one of {' and '.join(UNITS)}, not '{unit}'.")


def check_enough(owners: Tensor, k: int, furthest: bool, who: str) -> None:
    """See that there are people enough for one cluster, or for a pair of them.

    Args:
        owners: (U,) whose the units are.
        who: of whom the sentence speaks, such as "the set 'evaluation' of synthetic".

    Raises:
        UserError: there are fewer than k people, or than 2k where clusters are paired.
    """
    need, have = (2 * k if furthest else k), len(owners.unique())
    if have < need:
        raise UserError(
            f"k-Same with k={k} needs {need:,} people{' (two clusters)' * furthest} and {who} has {have:,}: take a "
            "smaller k or more people."
        )


def units_of(labels: Tensor, unit: str) -> tuple[Tensor, Tensor]:
    """What is clustered: the unit (N,) of each picture, and whose each unit is (U,).

    >>> [part.tolist() for part in units_of(torch.tensor([7, 3, 7]), "person")]
    [[1, 0, 1], [3, 7]]
    """
    if unit == "picture":
        return torch.arange(len(labels)), labels
    owners, place = labels.unique(return_inverse=True)
    return place, owners


def means(vectors: Tensor, place: Tensor, count: int) -> Tensor:
    """Averages (C, F) of the vectors (N, F) of each of ``count`` places (N,)."""
    sums = vectors.new_zeros(count, vectors.shape[1]).index_add_(0, place, vectors)
    return sums / torch.bincount(place, minlength=count).to(vectors)[:, None]


def squared_distances(vectors: Tensor) -> Tensor:
    """(N, N) of (N, F), about their mean, so that differences of large numbers stay small."""
    centred = vectors - vectors.mean(0)
    squares = centred.square().sum(1)
    return (squares[:, None] + squares - 2.0 * centred @ centred.T).clamp_min_(0.0)


def clusters(vectors: Tensor, k: int, furthest: bool = False, parts: Sequence[Tensor] | None = None) -> Clusters:
    """Clusters of k vectors or more; of equally near ones, and to begin with, the first in the order of the set.

    Args:
        vectors: (U, F), the more alike, the nearer.
        k: 2 or more; each part must hold k vectors, or 2k for ``furthest``.
        furthest: clusters are paired, and each shows the other's mean.
        parts: disjoint groups of rows that are clustered each by itself (k-Same-Select); None: all rows are one.

    >>> found = clusters(torch.tensor([[0.0], [9.0], [1.0], [8.0], [7.0]]), 2)
    >>> found.of.tolist(), found.shown.tolist()
    ([0, 1, 0, 1, 1], [0, 1])
    """
    of = torch.full((len(vectors),), -1, dtype=torch.long)
    shown: list[int] = []
    for rows in [torch.arange(len(vectors))] if parts is None else parts:
        squared = squared_distances(vectors[rows])
        left = torch.ones(len(rows), dtype=torch.bool)
        while bool(left.any()):
            remaining, number = int(left.sum()), len(shown)
            whole = 4 * k if furthest else 2 * k
            size = k if remaining >= whole else remaining // 2 if furthest else remaining
            members = _nearest(squared, int(left.nonzero()[0]), left, size)
            of[rows[members]] = number
            left[members] = False
            if not furthest:
                shown.append(number)
                continue
            far = int(squared[members].sum(0).masked_fill(~left, -1.0).argmax())  # from the mean, but for a constant
            others = _nearest(squared, far, left, k if remaining >= whole else remaining - size)
            of[rows[others]] = number + 1
            left[others] = False
            shown += [number + 1, number]
    return Clusters(of, torch.tensor(shown))


def _nearest(squared: Tensor, first: int, left: Tensor, size: int) -> Tensor:
    """``first`` and the nearest ``size`` - 1 of those that are left."""
    row = squared[first].masked_fill(~left, torch.inf)
    row[first] = -1.0
    return row.argsort(stable=True)[:size]
