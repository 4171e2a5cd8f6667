"""Who is found again: ID, ID by rank, ID of the opposite embedding, mean reciprocal rank (FIVA, table 1).

    ID           share of the probes whose nearest enrolled person is their own, below the judge's threshold (open set)
    ID_rank<k>   the own person is among the k nearest, without a threshold (closed set)   MRR   mean of 1 / rank
    FPIR         share of the probes that are taken for another person, below it, while their own is not enrolled: an
                 open set's false alarms, to be read beside ID, with as many people as the gallery holds less one
    negID        ID of -z, by which an anonymizer that only maximizes the distance is found again; the raw vectors of a
                 Euclidean judge have no direction to turn round
    ID_per_image every enrolled picture is an entry of its own, instead of each person's average; the threshold is that
                 of pictures against each other

With an attack in the combination these are :mod:`anon.evaluation.measures.attacked`'s.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from anon.evaluation.document.estimates import Estimate
from anon.evaluation.document.metric_info import MetricInfo, share
from anon.evaluation.harness.attackers import NO_DIRECTION
from anon.evaluation.harness.context import ATTACKED, MeasureContext
from anon.evaluation.harness.suite import NONE
from anon.metrics.retrieval import (
    FalseIdentification,
    RankRates,
    RetrievalRate,
    nearest_stranger,
    ranks,
    retrieval_distances,
)


class Retrieval:
    """The measure.

    Args:
        ks: the ranks. One that is no less than the gallery's people says nothing, and is absent.
    """

    def __init__(self, ks: Sequence[int] = (1, 5, 10)) -> None:
        self.ks = tuple(ks)

    @property
    def metrics(self) -> Mapping[str, MetricInfo]:
        """What it gives."""
        found = RetrievalRate.higher_is_better
        return {
            "ID": share("ID", "privacy", found, identifies=True),
            "negID": share("¬ID", "privacy", found, identifies=True),
            "negID_rank1": share("¬ID rank-1", "privacy", found),
            "ID_per_image": share("ID per picture", "privacy", found, identifies=True),
            **{f"ID_rank{k}": share(f"rank-{k}", "privacy", RankRates.higher_is_better) for k in self.ks},
            "MRR": share("MRR", "privacy", RankRates.higher_is_better),
            "FPIR": share("FPIR", "privacy", FalseIdentification.higher_is_better),
        }

    def __call__(self, context: MeasureContext) -> dict[str, Estimate]:
        """The figures; none with an attack."""
        if context.one.attack != NONE:
            return {}
        z, gallery, labels = context.z(ATTACKED), context.gallery, context.labels
        one, each = (gallery.averages, gallery.people), (gallery.pictures, gallery.owners)
        found = retrieval_distances(z, labels, *one, metric=gallery.metric)
        by_picture = retrieval_distances(z, labels, *each, metric=gallery.metric)
        figures = {
            "ID": context.below(found, gallery.threshold, gallery.levels),
            **dict.fromkeys(("negID", "negID_rank1"), Estimate.absent(NO_DIRECTION)),
            "ID_per_image": context.below(by_picture, context.threshold, context.levels),
        }
        others = nearest_stranger(z, labels, *one, metric=gallery.metric)
        figures["FPIR"] = Estimate.absent("n/a (a gallery of 1)")
        if len(gallery.people) > 1:
            figures["FPIR"] = context.below(others, gallery.threshold, gallery.levels)
        if gallery.metric == "cosine":
            negated = retrieval_distances(z, labels, *one, negate=True)
            figures["negID"] = context.below(negated, gallery.threshold, gallery.levels)
            figures["negID_rank1"] = context.below(negated, math.inf)
        reciprocal = 1.0 / ranks(z, labels, *one, metric=gallery.metric).double()
        return figures | by_rank(context, "ID", self.ks) | {"MRR": context.mean(reciprocal, share=True)}


def by_rank(context: MeasureContext, name: str, ks: Sequence[int]) -> dict[str, Estimate]:
    """``<name>_rank<k>`` of the seen faces in the combination's gallery."""
    gallery = context.gallery
    places = ranks(context.z(ATTACKED), context.labels, gallery.averages, gallery.people, gallery.metric)
    people = len(gallery.people)
    return {
        f"{name}_rank{k}": context.mean((places <= k).double(), share=True)
        if k < people
        else Estimate.absent(f"n/a (a gallery of {people})")
        for k in ks
    }
