"""Do two recognizers err alike? The correlation of their impostor scores over the same pairs.

A judge that agrees with the training encoder on who looks like whom tells little that the encoder does not; a low
correlation makes it an independent witness.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from anon.identity.verification import distances
from anon.metrics.states import Kept


class PairSums(NamedTuple):
    """Sums over the pairs of images of two identities, (I, I) float64 each: everything a correlation needs."""

    pairs: Tensor
    a: Tensor
    b: Tensor
    aa: Tensor
    bb: Tensor
    ab: Tensor


def pair_sums(first: Tensor, second: Tensor, labels: Tensor, block: int = 1024, metric: str = "cosine") -> PairSums:
    """Sums of the scores of two recognizers over all pairs of images, by pair of identities (diagonal: zero).

    Args:
        first, second: (N, D) and (N, E) embeddings of the same images, unit vectors for "cosine".
        labels: (N,) identities in 0 .. I-1.
        block: rows of the pair matrix at a time.
        metric: of the first; its scores are cosines, or distances with a minus. Those of the second are cosines.
    """
    people = int(labels.max()) + 1
    group = torch.zeros(len(labels), people, dtype=torch.float32, device=first.device)
    group[torch.arange(len(labels)), labels] = 1.0
    sums = [torch.zeros(people, people, dtype=torch.float64, device=first.device) for _ in PairSums._fields]
    for start in range(0, len(labels), block):
        rows = slice(start, start + block)
        cosine = metric == "cosine"
        a = first[rows] @ first.T if cosine else -distances(first[rows], first, metric)  # (block, N)
        b = second[rows] @ second.T
        for total, value in zip(sums, (torch.ones_like(a), a, b, a * a, b * b, a * b), strict=True):
            total += (group[rows].T @ (value @ group)).double()
    for total in sums:
        total.fill_diagonal_(0.0)
    return PairSums(*sums)


def correlation(sums: PairSums, weights: Tensor | None = None) -> Tensor:
    """Pearson correlation of the scores, (): with ``weights`` (R, I) how often each identity counts, (R,)."""
    if weights is None:
        weights = torch.ones(1, len(sums.pairs), device=sums.pairs.device)
        return correlation(sums, weights)[0]
    weights = weights.double()
    n, a, b, aa, bb, ab = (((weights @ total) * weights).sum(1) for total in sums)
    return (n * ab - a * b) / ((n * aa - a * a).clamp_min(0) * (n * bb - b * b).clamp_min(0)).sqrt()


def impostor_correlation(first: Tensor, second: Tensor, labels: Tensor) -> Tensor:
    """Pearson correlation, (), of two recognizers' cosines over all pairs of images of different people.

    >>> z = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]))
    >>> impostor_correlation(z, z, torch.tensor([0, 1, 2])).item()
    1.0
    """
    return correlation(pair_sums(first, second, labels))


class ImpostorCorrelation(Kept):
    """The class of :func:`impostor_correlation`; it keeps both embeddings of each image, and who it is."""

    higher_is_better = False
    parts = ("first", "second", "labels")
    empty = "A correlation of scores needs faces, got none."

    def compute(self) -> Tensor:
        """() in [-1, 1]."""
        first, second, labels = self.kept()
        return impostor_correlation(first, second, labels.unique(return_inverse=True)[1])
