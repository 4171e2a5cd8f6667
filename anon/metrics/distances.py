"""How far an identity has moved: four distances, the rate of successful de-identification, distributions that overlap.

    cosine = 1 - cos(a, b)     l2 = |a - b|     squared_l2 = |a - b|²     l1 = Σ |a_i - b_i|

For unit vectors squared_l2 = 2 · cosine. The rate is the book's (Wen et al., Face De-identification, Springer 2024,
eq. 6.23): the share of faces whose distance to their original is *above* the recognizer's threshold. The three
distributions target-source, target-changed and source-changed and their intersection area are Paper I's.
"""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from anon.errors import UserError
from anon.identity.verification import distance, finite_distances, roc
from anon.metrics.states import FaceMean, FaceMeans, Kept

CONVENTIONS = ("cosine", "l2", "squared_l2", "l1")
PAIRINGS = ("target_source", "target_changed", "source_changed")


def identity_distances(a: Tensor, b: Tensor) -> dict[str, Tensor]:
    """Distances row by row under :data:`CONVENTIONS`, (..., D) and (..., D) -> (...) each.

    The cosine is of the directions; the others are of the vectors as they are (raw ones for dlib).

    >>> found = identity_distances(torch.tensor([[0.6, 0.8]]), torch.tensor([[1.0, 0.0]]))
    >>> {name: round(float(value), 4) for name, value in found.items()}
    {'cosine': 0.4, 'l2': 0.8944, 'squared_l2': 0.8, 'l1': 1.2}
    """
    apart = a - b
    return {
        "cosine": distance(F.normalize(a, dim=-1), F.normalize(b, dim=-1)),
        "l2": apart.norm(dim=-1),
        "squared_l2": apart.square().sum(-1),
        "l1": apart.abs().sum(-1),
    }


def deidentified(distance: Tensor, threshold: float) -> Tensor:
    """Which faces (N,) are successfully de-identified, (N,) bool: distance > threshold (book, eq. 6.23).

    A distance that equals the threshold still verifies here, as in the book; a pair is accepted *below* it in
    :mod:`anon.identity.verification`.

    >>> deidentified(torch.tensor([0.5, 0.6, 0.7]), threshold=0.6)
    tensor([False, False,  True])
    """
    return finite_distances(distance) > threshold


def intersection_area(first: Tensor, second: Tensor, bins: int = 100) -> float:
    """Area under both densities of two samples (N,) and (M,), in [0, 1]: 0 where they are apart, 1 where they are one.

    The densities are histograms with equal ``bins`` from the smallest to the largest of all values (Swain and Ballard,
    IJCV 1991). Few values in many bins meet by chance only and read too low: keep N and M well above ``bins``.

    >>> intersection_area(torch.tensor([0.0, 1.0, 1.0, 2.0]), torch.tensor([2.0, 3.0, 3.0, 4.0]), bins=4)
    0.25

    Raises:
        UserError: no value on one side, or one that is not finite.
    """
    both = torch.cat([first, second]).double()
    if first.numel() == 0 or second.numel() == 0:
        raise UserError(f"An intersection area needs two samples, got {first.numel()} and {second.numel()} values.")
    if not bool(both.isfinite().all()):
        raise UserError("A distance that is NaN or infinite has no place in a histogram; leave such faces out.")
    low, high = both.min(), both.max()
    width = (high - low) / bins
    if float(width) == 0.0:
        return 1.0
    place = ((both - low) / width).long().clamp_(max=bins - 1)
    shares = [torch.bincount(part, minlength=bins) / len(part) for part in (place[: len(first)], place[len(first) :])]
    return float(torch.minimum(*shares).sum())


def crossing_threshold(genuine: Tensor, impostor: Tensor) -> float:
    """The distance at which the densities of genuine and impostor distances, (N,) and (M,), cross.

    There ``FAR + FRR``, the areas on the wrong sides, is least; so no density is estimated (of equals the strictest).

    >>> crossing_threshold(torch.tensor([0.1, 0.2, 0.6]), torch.tensor([0.5, 0.7, 0.8]))
    0.5

    Raises:
        UserError: no genuine or no impostor pair.
    """
    thresholds, far, tar = roc(genuine, impostor)
    return float(thresholds[(tar - far).round(decimals=9).argmax()])  # an ulp shall not break a tie


class Distributions(NamedTuple):
    """Paper I's figures under one distance: means of :data:`PAIRINGS`, and the intersection areas of their histograms.

    The areas are named by what an area of 1 would say of the changed face.
    """

    target_source: float
    target_changed: float
    source_changed: float
    stranger_to_target: float  # target-source and target-changed
    stranger_to_source: float  # target-source and source-changed
    midway: float  # target-changed and source-changed


def distributions(pairings: Tensor, bins: int = 100) -> Distributions:
    """From the distances (N, 3) of :data:`PAIRINGS`.

    >>> distributions(torch.tensor([[1.0, 0.8, 0.1], [0.9, 0.9, 0.2]]), bins=9).stranger_to_source
    0.0
    """
    means = pairings.double().mean(0).tolist()
    areas = [intersection_area(pairings[:, one], pairings[:, other], bins) for one, other in combinations(range(3), 2)]
    return Distributions(*means, *areas)


class IdentityDistances(FaceMeans):
    """Means of :func:`identity_distances` over all faces.

    >>> metric = IdentityDistances()
    >>> metric.update(torch.eye(2), torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    >>> {name: round(float(value), 4) for name, value in metric.compute().items()}
    {'cosine': 0.5, 'l2': 0.7071, 'squared_l2': 1.0, 'l1': 1.0}
    """

    higher_is_better = True
    names = CONVENTIONS
    each = staticmethod(identity_distances)  # type: ignore[assignment]


class DeidentificationRate(FaceMean):
    """Share of faces that are :func:`deidentified`, from their distances (B,).

    Args:
        threshold: the judge's, in the units of the distances (the book's: dlib .6, FaceNet 1.1, Euclidean).

    >>> metric = DeidentificationRate(threshold=0.6)
    >>> metric.update(torch.tensor([0.5, 0.6, 0.7, 0.9]))
    >>> metric.compute()
    tensor(0.5000)
    """

    higher_is_better = True

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold

    def each(self, *inputs: Tensor) -> Tensor:
        """distance (B,) -> 1 or 0."""
        return deidentified(inputs[0], self.threshold).double()


class DistanceDistributions(Kept):
    """:func:`distributions` under each of :data:`CONVENTIONS`, over batches; it keeps the distances.

    Args:
        bins: of the histograms.
    """

    parts = ("pairings",)
    empty = "Distributions of distances need faces, got none."

    def __init__(self, bins: int = 100) -> None:
        super().__init__()
        self.bins = bins

    def update(self, target: Tensor, source: Tensor, changed: Tensor) -> None:  # type: ignore[override]
        """Embeddings (B, D) of the targets, the sources (who they shall seem to be) and the changed faces."""
        pairs = ((target, source), (target, changed), (source, changed))
        found = [torch.stack(list(identity_distances(a, b).values()), -1) for a, b in pairs]
        super().update(torch.stack(found, 1))  # (B, 3, 4)

    def compute(self) -> dict[str, Distributions]:
        """By convention.

        Raises:
            UserError: no faces, or a distance that is not finite.
        """
        (kept,) = self.kept()
        return {name: distributions(kept[..., at], self.bins) for at, name in enumerate(CONVENTIONS)}
