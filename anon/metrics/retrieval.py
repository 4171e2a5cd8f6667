"""Who is recognized: ID, ¬ID and rank-1 against a gallery (FIVA, table 1).

A probe is a *hit* iff the nearest gallery entry is its own identity AND lies below the threshold; without a threshold
it is rank-1 (:mod:`anon.metrics.ranks` gives all ranks). ¬ID negates the probe first: an anonymizer that only maximizes
the distance is found again that way. For anonymization lower is better. Galleries may hold people without probes
(distractors); an identity may have one averaged entry (:func:`anon.identity.policies.average`) or one for each image.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torchmetrics import Metric

from anon.identity.verification import finite_distances
from anon.metrics.ranks import closeness_blocks


def nearest(probes: Tensor, gallery: Tensor, block: int = 2048) -> tuple[Tensor, Tensor]:
    """Cosine distance (P,) to the nearest entry and its index (P,); of equals the first.

    Args:
        probes: (P, D) unit vectors.
        gallery: (G, D) unit vectors.
        block: probes compared at a time, at most (:data:`anon.metrics.ranks.BUDGET` bounds them too).

    Raises:
        Failed: an embedding is not finite, and would be found nowhere.
    """
    values, places = [], []
    for _, cosine in closeness_blocks(probes, gallery, rows=block):
        value, place = cosine.max(1)
        values.append(1.0 - value)
        places.append(place)
    return finite_distances(torch.cat(values)), torch.cat(places)


def retrieval_distances(
    probes: Tensor, labels: Tensor, gallery: Tensor, gallery_labels: Tensor, negate: bool = False
) -> Tensor:
    """How near the probes come to their own person where that is the nearest, else infinity, (P,).

    What is below a threshold is recognized at it. For the arguments see :func:`retrieval_hits`.

    >>> gallery, people = torch.eye(2), torch.tensor([7, 8])
    >>> retrieval_distances(torch.tensor([[0.75, 0.5], [0.5, 0.75]]), torch.tensor([7, 7]), gallery, people)
    tensor([0.2500,    inf])
    """
    if len(probes) == 0:
        return probes.new_zeros(0)
    distance, place = nearest(-probes if negate else probes, gallery)
    return torch.where(gallery_labels[place] == labels, distance, math.inf)


def retrieval_hits(
    probes: Tensor,
    labels: Tensor,
    gallery: Tensor,
    gallery_labels: Tensor,
    threshold: float = math.inf,
    negate: bool = False,
) -> Tensor:
    """Which probes are recognized, (P,) bool.

    Args:
        probes: (P, D) unit embeddings of changed faces, with the identities (P,) they had.
        gallery: (G, D) unit embeddings of enrolled faces, with their identities (G,).
        threshold: cosine distance that a hit must stay below; infinite: rank-1.
        negate: look for ``-z`` (¬ID).

    >>> gallery, people = torch.eye(2), torch.tensor([7, 8])
    >>> probes, labels = torch.tensor([[0.8, 0.6], [-1.0, 0.0]]), torch.tensor([7, 7])
    >>> retrieval_hits(probes, labels, gallery, people, threshold=0.3)
    tensor([ True, False])
    >>> retrieval_hits(probes, labels, gallery, people, threshold=0.3, negate=True)
    tensor([False,  True])
    """
    return retrieval_distances(probes, labels, gallery, gallery_labels, negate) < threshold


class RetrievalRate(Metric):
    """Share of probes that are recognized; the class of :func:`retrieval_hits`.

    >>> rate = RetrievalRate(torch.eye(2), torch.tensor([7, 8]), threshold=0.3)
    >>> rate.update(torch.tensor([[0.8, 0.6], [0.6, 0.8]]), torch.tensor([7, 7]))
    >>> rate.compute()
    tensor(0.5000)
    """

    full_state_update = False
    higher_is_better = False
    hits: Tensor
    total: Tensor

    def __init__(
        self, gallery: Tensor, gallery_labels: Tensor, threshold: float = math.inf, negate: bool = False
    ) -> None:
        super().__init__()
        self.register_buffer("gallery", gallery, persistent=False)
        self.register_buffer("gallery_labels", gallery_labels, persistent=False)
        self.threshold = threshold
        self.negate = negate
        self.add_state("hits", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("total", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, probes: Tensor, labels: Tensor) -> None:
        """probes (P, D) unit norm, labels (P,)."""
        hits = retrieval_hits(probes, labels, self.gallery, self.gallery_labels, self.threshold, self.negate)  # type: ignore[arg-type]
        self.hits += hits.sum()
        self.total += len(hits)

    def compute(self) -> Tensor:
        """() float in [0, 1]; NaN without probes."""
        return self.hits / self.total
