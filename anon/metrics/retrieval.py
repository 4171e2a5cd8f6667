"""Who is recognized: ID, ¬ID and rank-1 against a gallery (FIVA, table 1).

A probe is a *hit* iff the nearest gallery entry is its own identity AND lies below the threshold; without a threshold
it is rank-1. ¬ID negates the probe first: an anonymizer that only maximizes the distance is found again that way. For
anonymization lower is better. Galleries may hold people without probes (distractors); an identity may have one averaged
entry (:func:`anon.identity.policies.average`) or one for each image.

Ranks and the mean reciprocal rank say at which place of the gallery's list a probe's own person stands, at scale. The
list holds all gallery entries, nearest first. A probe's rank is the place of the first entry of its own person, from 1
on (the cumulative match characteristic of Phillips et al., PAMI 2000); with one averaged entry for each identity that
is the person's place among the people. Nothing is sorted:

    rank = 1 + the entries that are strictly closer than the closest own one (of equals those that come first)

so a block of probes costs one matrix product and a few passes over its scores, and the memory stays below
:data:`BUDGET` plus the order of the gallery's labels whatever the sizes are. ``python benchmarks/retrieval.py``
measures both.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from anon.errors import Failed, UserError
from anon.identity.verification import distances, finite_distances
from anon.metrics.states import FaceMean, FaceMeans

BUDGET = 256 * 2**20  # bytes of a block's temporaries
NOT_ENROLLED = torch.iinfo(torch.int64).max  # the rank of a person whom the gallery does not hold: never within k
TILE = 2**19  # scores that are compared at a time: 2 MiB stay in a core's cache


@torch.no_grad()
def closeness_blocks(
    probes: Tensor, gallery: Tensor, metric: str = "cosine", rows: int = 512, row_bytes: int = 0
) -> Iterator[tuple[slice, Tensor]]:
    """Blocks of probes and how close all of the gallery is to them, (b, G), higher is closer; the caller may overwrite.

    Args:
        probes: (P, D) embeddings.
        gallery: (G, D) embeddings.
        metric: "cosine" gives the cosine of unit vectors, others minus :func:`anon.identity.verification.distance`.
        rows: probes of a block at most; fewer where :data:`BUDGET` says so.
        row_bytes: what the caller needs beside each row of scores.
    """
    size = max(1, min(rows, len(probes), BUDGET // max(1, 4 * len(gallery) + row_bytes)))
    scores = probes.new_empty(size, len(gallery)) if metric == "cosine" else None  # one for all blocks
    for start in range(0, len(probes), size):
        block = slice(start, start + size)
        part = probes[block]
        if scores is None:
            yield block, -distances(part, gallery, metric)
        else:
            yield block, torch.matmul(part, gallery.T, out=scores[: len(part)])


def nearest(probes: Tensor, gallery: Tensor, block: int = 2048, metric: str = "cosine") -> tuple[Tensor, Tensor]:
    """Distance (P,) to the nearest entry and its index (P,); of equals the first.

    Args:
        probes: (P, D) embeddings, unit vectors for "cosine".
        gallery: (G, D) such embeddings.
        block: probes compared at a time, at most (:data:`BUDGET` bounds them too).
        metric: see :func:`anon.identity.verification.distance`.

    Raises:
        Failed: an embedding is not finite, and would be found nowhere.
    """
    values, places = [], []
    for _, closeness in closeness_blocks(probes, gallery, metric, rows=block):
        value, place = closeness.max(1)
        values.append(1.0 - value if metric == "cosine" else -value)
        places.append(place)
    return finite_distances(torch.cat(values)), torch.cat(places)


def retrieval_distances(
    probes: Tensor,
    labels: Tensor,
    gallery: Tensor,
    gallery_labels: Tensor,
    negate: bool = False,
    metric: str = "cosine",
) -> Tensor:
    """How near the probes come to their own person where that is the nearest, else infinity, (P,).

    What is below a threshold is recognized at it. For the arguments see :func:`retrieval_hits`.

    >>> gallery, people = torch.eye(2), torch.tensor([7, 8])
    >>> retrieval_distances(torch.tensor([[0.75, 0.5], [0.5, 0.75]]), torch.tensor([7, 7]), gallery, people)
    tensor([0.2500,    inf])
    """
    if len(probes) == 0:
        return probes.new_zeros(0)
    distance, place = nearest(-probes if negate else probes, gallery, metric=metric)
    return torch.where(gallery_labels[place] == labels, distance, math.inf)


def retrieval_hits(
    probes: Tensor,
    labels: Tensor,
    gallery: Tensor,
    gallery_labels: Tensor,
    threshold: float = math.inf,
    negate: bool = False,
    metric: str = "cosine",
) -> Tensor:
    """Which probes are recognized, (P,) bool.

    Args:
        probes: (P, D) embeddings of changed faces, unit vectors for "cosine", with the identities (P,) they had.
        gallery: (G, D) such embeddings of enrolled faces, with their identities (G,).
        threshold: distance that a hit must stay below; infinite: rank-1.
        negate: look for ``-z`` (¬ID), which says something of directions alone.
        metric: the judge's; see :func:`anon.identity.verification.distance`.

    >>> gallery, people = torch.eye(2), torch.tensor([7, 8])
    >>> probes, labels = torch.tensor([[0.8, 0.6], [-1.0, 0.0]]), torch.tensor([7, 7])
    >>> retrieval_hits(probes, labels, gallery, people, threshold=0.3)
    tensor([ True, False])
    >>> retrieval_hits(probes, labels, gallery, people, threshold=0.3, negate=True)
    tensor([False,  True])
    """
    return retrieval_distances(probes, labels, gallery, gallery_labels, negate, metric) < threshold


def nearest_stranger(
    probes: Tensor, labels: Tensor, gallery: Tensor, gallery_labels: Tensor, metric: str = "cosine"
) -> Tensor:
    """How near the probes come to the nearest entry of *another* person, (P,); infinity where there is none.

    What is below a threshold is taken for somebody when its own person is not enrolled: the false positive
    identification of an open set (Grother et al., NIST IR 8271, 2019). For the arguments see :func:`retrieval_hits`.

    >>> gallery, people = torch.eye(2), torch.tensor([7, 8])
    >>> nearest_stranger(torch.tensor([[0.75, 0.5], [0.5, 0.75]]), torch.tensor([7, 7]), gallery, people)
    tensor([0.5000, 0.2500])

    Raises:
        Failed: an embedding is not finite.
    """
    found = probes.new_full((len(probes),), math.inf)
    for block, closeness in closeness_blocks(probes, gallery, metric):
        finite_distances(closeness)
        value = closeness.masked_fill_(labels[block, None] == gallery_labels[None], -math.inf).amax(1)
        found[block] = 1.0 - value if metric == "cosine" else -value
    return found


class FalseIdentification(FaceMean):
    """FPIR: share of probes that are taken for another person below the threshold while their own is not enrolled.

    Neither way is better by itself: whoever seems to be an enrolled stranger is hidden at that person's cost.

    >>> rate = FalseIdentification(torch.eye(2), torch.tensor([7, 8]), threshold=0.3)
    >>> rate.update(torch.tensor([[0.75, 0.5], [0.5, 0.75]]), torch.tensor([7, 7]))
    >>> rate.compute()
    tensor(0.5000)
    """

    higher_is_better = None

    def __init__(self, gallery: Tensor, gallery_labels: Tensor, threshold: float) -> None:
        super().__init__()
        self.register_buffer("gallery", gallery, persistent=False)
        self.register_buffer("gallery_labels", gallery_labels, persistent=False)
        self.threshold = threshold

    def each(self, *inputs: Tensor) -> Tensor:
        """Probes (P, D) unit norm and labels (P,) -> who is taken for another, (P,) bool."""
        probes, labels = inputs
        return nearest_stranger(probes, labels, self.gallery, self.gallery_labels) < self.threshold  # type: ignore[arg-type]


class RetrievalRate(FaceMean):
    """Share of probes that are recognized; the class of :func:`retrieval_hits`.

    >>> rate = RetrievalRate(torch.eye(2), torch.tensor([7, 8]), threshold=0.3)
    >>> rate.update(torch.tensor([[0.8, 0.6], [0.6, 0.8]]), torch.tensor([7, 7]))
    >>> rate.compute()
    tensor(0.5000)
    """

    higher_is_better = False

    def __init__(
        self, gallery: Tensor, gallery_labels: Tensor, threshold: float = math.inf, negate: bool = False
    ) -> None:
        super().__init__()
        self.register_buffer("gallery", gallery, persistent=False)
        self.register_buffer("gallery_labels", gallery_labels, persistent=False)
        self.threshold = threshold
        self.negate = negate

    def each(self, *inputs: Tensor) -> Tensor:
        """Probes (P, D) unit norm and labels (P,) -> which are recognized, (P,) bool."""
        probes, labels = inputs
        return retrieval_hits(probes, labels, self.gallery, self.gallery_labels, self.threshold, self.negate)  # type: ignore[arg-type]


@torch.no_grad()
def ranks(
    probes: Tensor, labels: Tensor, gallery: Tensor, gallery_labels: Tensor, metric: str = "cosine", rows: int = 512
) -> Tensor:
    """Rank of each probe's own person, (P,) int64 from 1 on; :data:`NOT_ENROLLED` where the gallery lacks the person.

    Args:
        probes: (P, D) embeddings with the identities (P,) they had; unit vectors for "cosine".
        gallery: (G, D) embeddings of enrolled faces with their identities (G,), several of a person or one.
        metric: the judge's; see :func:`anon.identity.verification.distance`.
        rows: probes compared at a time, at most.

    >>> gallery, people = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([7, 8, 9])
    >>> ranks(torch.tensor([[0.8, 0.6], [0.8, 0.6]]), torch.tensor([7, 9]), gallery, people)
    tensor([2, 3])

    Raises:
        UserError: an empty gallery, or an embedding that is not finite.
    """
    if len(gallery) == 0:
        raise UserError("The gallery is empty, so nobody has a rank in it; enrol at least one face.")
    if not bool(probes.sum().isfinite() & gallery.sum().isfinite()):  # a sum, for it needs no memory
        raise Failed("An embedding holds NaN or infinity and has no rank; leave out the faces that have none.")
    ordered, order = gallery_labels.sort(stable=True)  # a person's entries lie side by side, first ones first
    start = torch.searchsorted(ordered, labels)
    count = torch.searchsorted(ordered, labels, right=True) - start
    width = max(1, int(count.max())) if len(count) else 1
    reach = torch.arange(width, device=gallery.device)
    found = torch.full((len(probes),), NOT_ENROLLED, dtype=torch.int64, device=probes.device)
    # beside its scores a row needs places, closenesses and a bool for the person's own entries
    for block, scores in closeness_blocks(probes, gallery, metric, rows, row_bytes=32 * width):
        own = order[(start[block, None] + reach).clamp_(max=len(gallery) - 1)]  # (b, width)
        closeness = scores.gather(1, own).masked_fill_(reach >= count[block, None], -torch.inf)
        best, at = closeness.max(1, keepdim=True)  # of equals the first
        found[block] = torch.where(count[block] > 0, 1 + _ahead(scores, best, own.gather(1, at)), NOT_ENROLLED)
    return found


def _ahead(scores: Tensor, best: Tensor, first: Tensor) -> Tensor:
    """Entries that stand before the own one, (b,) int64; overwrites the scores (b, G).

    Args:
        best: (b, 1) closeness of the closest own entry.
        first: (b, 1) its place.
    """
    rows = len(scores)
    ahead = torch.zeros(rows, dtype=torch.int64, device=scores.device)
    unequal = torch.zeros_like(ahead)
    tiles = scores.split(max(1024, TILE // rows), 1)
    for tile in tiles:
        tile.sub_(best).sign_()  # +1 closer than the own entry, 0 equal, -1 farther
        apart = tile.norm(p=1, dim=1)  # a float32 counts exactly up to 2^24; a sum of bools would copy them to int64
        ahead += (tile.sum(1).add_(apart) / 2).long()
        unequal += apart.long()
    if bool((unequal + 1 < scores.shape[1]).any()):  # others are exactly as close
        start = 0
        for tile in tiles:
            place = torch.arange(start, start + tile.shape[1], device=scores.device)
            ahead += tile.eq_(0.0).mul_(place < first).sum(1).long()
            start += tile.shape[1]
    return ahead


def rank_rates(found: Tensor, ks: Sequence[int] = (1, 5, 10)) -> Tensor:
    """Shares of :func:`ranks` (P,) that are at most k, (K,) float64; people who are not enrolled count as missed.

    >>> rank_rates(torch.tensor([1, 3, 7, NOT_ENROLLED]), (1, 5, 10))
    tensor([0.2500, 0.5000, 0.7500], dtype=torch.float64)
    """
    return (found[:, None] <= torch.tensor(ks, device=found.device)).double().mean(0)


def mean_reciprocal_rank(found: Tensor) -> Tensor:
    """Mean of 1 / rank, () float64; a person who is not enrolled gives 0.

    >>> mean_reciprocal_rank(torch.tensor([1, 4, NOT_ENROLLED, 4]))
    tensor(0.3750, dtype=torch.float64)
    """
    return _reciprocal(found).mean()


def _reciprocal(found: Tensor) -> Tensor:
    return (1.0 / found.double()).masked_fill(found == NOT_ENROLLED, 0.0)


class RankRates(FaceMeans):
    """Rank-k and mean reciprocal rank over batches of probes; the class of the functions above.

    Args:
        gallery, gallery_labels, metric: as :func:`ranks` takes them.
        ks: the places of interest.

    >>> metric = RankRates(torch.eye(3), torch.tensor([7, 8, 9]), ks=(1, 2))
    >>> metric.update(torch.tensor([[0.8, 0.6, 0.0], [0.8, 0.6, 0.0]]), torch.tensor([7, 8]))
    >>> {name: float(value) for name, value in metric.compute().items()}
    {'rank1': 0.5, 'rank2': 1.0, 'mrr': 0.75}
    """

    higher_is_better = False

    def __init__(
        self, gallery: Tensor, gallery_labels: Tensor, ks: Sequence[int] = (1, 5, 10), metric: str = "cosine"
    ) -> None:
        super().__init__((*(f"rank{k}" for k in ks), "mrr"))
        self.register_buffer("gallery", gallery, persistent=False)
        self.register_buffer("gallery_labels", gallery_labels, persistent=False)
        self.ks = tuple(ks)
        self.metric = metric

    def each(self, *inputs: Any, **named: Any) -> dict[str, Tensor]:
        """Probes (P, D) and labels (P,) -> whether the rank is k at most, and its reciprocal, (P,) each."""
        probes, labels = inputs
        found = ranks(probes, labels, self.gallery, self.gallery_labels, self.metric)  # type: ignore[arg-type]
        return {f"rank{k}": found <= k for k in self.ks} | {"mrr": _reciprocal(found)}
