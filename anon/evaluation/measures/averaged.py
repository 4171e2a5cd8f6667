"""Who is found again when many releases of a person are averaged: noise that is drawn anew does not hide for long.

ID_averaged   share of the people whose averaged releases have their own enrolled person nearest, below the threshold
ID_averaged_rank1   the own person is the nearest, without a threshold
releases      how many are averaged, mean over people

The adversary knows which released pictures show one person, as the pictures of an account or the frames of a clip do,
and averages the judge's embeddings of them. Independent noise on n of them falls as 1 / sqrt(n), while what is left of
the person stays: n releases of an epsilon-private identity (IdentityDP) have n epsilon. An identity that a person keeps
(``policy=itm``, ``identity_dp_itm``) leaves nothing to average. The threshold is the judge's of single pictures, which
is generous to the anonymizer: averages of strangers are no nearer than strangers.

    python evaluate.py suite=attackers
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from anon.evaluation.document.estimates import Estimate
from anon.evaluation.document.metric_info import MetricInfo, share
from anon.evaluation.harness.context import ATTACKED, MeasureContext
from anon.evaluation.harness.suite import NONE
from anon.evaluation.protocol import first_of_each
from anon.identity.policies import average
from anon.metrics.retrieval import RankRates, RetrievalRate, retrieval_distances


class Averaged:
    """The measure.

    Args:
        most: releases of a person that are averaged, at most; 2 or more.
    """

    def __init__(self, most: int = 16) -> None:
        self.most = most

    @property
    def metrics(self) -> Mapping[str, MetricInfo]:
        """What it gives."""
        return {
            "ID_averaged": share("ID averaged", "privacy", RetrievalRate.higher_is_better, identifies=True),
            "ID_averaged_rank1": share("averaged, rank-1", "privacy", RankRates.higher_is_better),
            "releases": MetricInfo("releases of a person", "privacy", low=1.0, judged=False),
        }

    def __call__(self, context: MeasureContext) -> dict[str, Estimate]:
        """The figures; none with an attack, and none where nobody has two releases."""
        if context.one.attack != NONE:
            return {}
        rows = first_of_each(context.labels, self.most)
        labels, gallery = context.labels[rows], context.gallery
        people, counts = labels.unique(return_counts=True)
        if not len(counts) or int(counts.max()) < 2:
            return dict.fromkeys(self.metrics, Estimate.absent("n/a (one release of each person)"))
        z, _ = average(context.z(ATTACKED)[rows], labels, gallery.metric)
        found = retrieval_distances(z, people, gallery.averages, gallery.people, metric=gallery.metric)
        return {
            "ID_averaged": context.bootstrap.below(found, gallery.threshold, gallery.levels, people),
            "ID_averaged_rank1": context.bootstrap.below(found, math.inf, None, people),
            "releases": context.bootstrap.mean(counts.double(), people),
        }
