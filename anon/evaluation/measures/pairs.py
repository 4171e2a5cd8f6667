"""Pairs of an unchanged and a changed photograph (LFW; CIAGAN, Maximov et al., CVPR 2020; FIVA, table 2).

    TPR       matched pairs below the threshold of the *unchanged* mismatched pairs of the other folds
    FPR       mismatched pairs below it, with the second changed
    TPR_own   TPR with the threshold taken from the changed mismatched pairs: an adversary who knows the method
    ID_pairs  of the second photographs of matched pairs, the nearest enrolled is the person's, below the threshold
    accuracy, VAL   insightface's, folds and all, on the changed pairs, with their deviations over the folds

Brackets are 95 % over people, with the threshold's own spread in them. A data set without pairs has none of this, nor
has an adversary who enrols with changed faces or another recognizer: the pairs' first photographs are the judge's.

    python evaluate.py experiment=<name> suite=lfw suite.datasets.lfw.collection.root=<folder>
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from anon.evaluation.document.estimates import Estimate
from anon.evaluation.document.metric_info import MetricInfo, share
from anon.evaluation.harness.context import ATTACKED, MeasureContext
from anon.evaluation.judges.pairs import Scale, fold_thresholds, val_at_far
from anon.identity.verification import kfold_accuracy
from anon.metrics.retrieval import RetrievalRate, retrieval_distances


class Pairs:
    """The measure."""

    metrics: ClassVar[Mapping[str, MetricInfo]] = {  # a recognizer that is right about changed pairs is what leaks
        "TPR": share("TPR", "privacy", False),
        "FPR": share("FPR", "privacy", None),
        "TPR_own": share("TPR, own threshold", "privacy", False),
        "ID_pairs": share("ID of pairs", "privacy", RetrievalRate.higher_is_better, identifies=True),
        "accuracy": share("accuracy", "privacy", False),
        "accuracy_deviation": MetricInfo("deviation of the accuracy", "privacy", low=0.0),
        "VAL": share("VAL", "privacy", False),
        "VAL_deviation": MetricInfo("deviation of VAL", "privacy", low=0.0),
        "VAL_FAR": share("FAR of VAL", "privacy", None),
    }

    def __call__(self, context: MeasureContext) -> dict[str, Estimate]:
        """The figures; absent where there are no pairs, or not all of them."""
        scale = context.pairs
        if scale is None:
            return dict.fromkeys(self.metrics, Estimate.absent("n/a (no pairs)"))
        if context.chosen:
            return dict.fromkeys(self.metrics, Estimate.absent("n/a (some faces of the pairs only)"))
        if context.rethresholded:
            return dict.fromkeys(self.metrics, Estimate.absent("n/a (an adversary who enrols for himself)"))
        every = context.of_items()
        z = torch.full_like(scale.real, torch.nan)  # nothing can be compared with a photograph that nobody changed
        z[context.people.items.indices] = every.z(ATTACKED)
        return score_pairs(z, scale)


def score_pairs(z: Tensor, scale: Scale) -> dict[str, Estimate]:
    """The figures of one row; every threshold is that of the other folds.

    Args:
        z: (F, D) embeddings of the changed photographs.
    """
    pairs = scale.pairs
    distance, cosine = scale.apart(z), scale.metric == "cosine"
    same, person = pairs.same, pairs.people[:, 0]
    own = fold_thresholds(distance, pairs, scale.far, scale.bootstrap)
    squared = 2.0 * distance if cosine else distance.square()  # L2, of unit vectors: 2 (1 - cos)
    folds = kfold_accuracy(squared, same, pairs.folds)
    val = val_at_far(squared, same, scale.far, pairs.folds)

    def below(apart: Tensor, thresholds: Tensor, where: Tensor, who: Tensor) -> Estimate:
        levels = thresholds[:, where]  # (K + 1, N)
        return scale.bootstrap.below(apart, levels[0], levels[1:], who)

    roles = pairs.roles()
    owner, fold = torch.zeros(2, len(z), dtype=torch.long)
    owner[pairs.first], owner[pairs.second] = pairs.people[:, 0], pairs.people[:, 1]
    fold[pairs.second[same]] = pairs.fold[same]
    owners, people = owner[roles.probe], owner[roles.enrol]
    enrolled = scale.real[roles.enrol]
    nearest = retrieval_distances(z[roles.probe], owners, enrolled, people, metric=scale.metric).double()
    return {
        "TPR": below(distance[same], scale.thresholds, pairs.fold[same], person[same]),
        "FPR": below(distance[~same], scale.thresholds, pairs.fold[~same], person[~same]),
        "TPR_own": below(distance[same], own, pairs.fold[same], person[same]),
        "ID_pairs": below(nearest, scale.thresholds, fold[roles.probe], owners),
        "accuracy": Estimate(folds.accuracy, n=len(distance)),
        "accuracy_deviation": Estimate(folds.deviation, n=pairs.folds),
        "VAL": Estimate(val.val, n=len(distance)),
        "VAL_deviation": Estimate(val.deviation, n=pairs.folds),
        "VAL_FAR": Estimate(val.far, n=len(distance)),
    }
