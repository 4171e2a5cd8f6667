"""Does a person stay one person over a clip: M_tc_mu and M_tc_sigma (FIVA, eq. 7), identity invariance, drift.

The plot is the judge's mean distance of every frame to its clip's first one, with its 95 % interval over identities.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from anon.evaluation.document import Curve
from anon.evaluation.document.estimates import Estimate
from anon.evaluation.document.metric_info import MetricInfo
from anon.evaluation.harness.context import CHANGED, MeasureContext
from anon.evaluation.intervals.shares import TAIL
from anon.evaluation.measures.intervals import columns
from anon.identity.verification import distance
from anon.metrics.temporal import IdentityInvariance, TemporalConsistency, identity_invariance, temporal_consistency

NAMES = ("M_tc_mu", "M_tc_sigma", "identity_invariance")


class Temporal:
    """The measure."""

    metrics: ClassVar[Mapping[str, MetricInfo]] = {  # the changed face is one person, whoever that is
        "M_tc_mu": MetricInfo("M_tc mu", "utility", TemporalConsistency.higher_is_better, low=0.0, judged=True),
        "M_tc_sigma": MetricInfo("M_tc sigma", "utility", TemporalConsistency.higher_is_better, low=0.0, judged=True),
        "identity_invariance": MetricInfo(
            "identity invariance", "utility", IdentityInvariance.higher_is_better, low=0.0, judged=True
        ),
    }

    def __call__(self, context: MeasureContext) -> dict[str, Estimate]:
        """Means over the clips by :data:`NAMES`."""
        z = context.clips(CHANGED)
        if len(z) == 0:
            return dict.fromkeys(NAMES, Estimate.absent(no_clips(context)))
        values = (*temporal_consistency(z, context.metric), identity_invariance(z, context.metric))
        return {
            name: context.bootstrap.mean(value, context.clip_labels) for name, value in zip(NAMES, values, strict=True)
        }

    def plots(self, context: MeasureContext, label: str, line: int) -> list[Curve]:
        """The drift over the frames, if there are clips."""
        z = context.clips(CHANGED)
        if len(z) == 0:
            return []
        apart = _to_first(z, context.metric)
        apart[:, 0] = 0.0  # a frame and itself
        place, weights = columns(context.bootstrap, context.clip_labels), context.bootstrap.weights
        sums = torch.zeros(weights.shape[1], z.shape[1], dtype=torch.float64).index_add_(0, place, apart)  # (I, n)
        counts = torch.bincount(place, minlength=weights.shape[1]).double()
        draws = (weights @ sums) / (weights @ counts)[:, None]  # (R, n)
        low, high = draws.nanquantile(torch.tensor([TAIL, 1 - TAIL], dtype=torch.float64), dim=0).tolist()
        frames = tuple(float(frame) for frame in range(z.shape[1]))
        return [Curve("temporal", label, line, frames, tuple(apart.mean(0).tolist()), tuple(low), tuple(high))]


def _to_first(z: Tensor, metric: str) -> Tensor:
    """Distances (M, n) float64 of the frames of clips (M, n, D) to each clip's first."""
    if metric == "cosine":
        return 1.0 - torch.einsum("mnd,md->mn", z, z[:, 0]).double()
    return distance(z, z[:, :1], metric).double()


def no_clips(context: MeasureContext) -> str:
    """Why a combination has no clips."""
    return "n/a (no clips)" if len(context.people.clips) == 0 else "n/a (a few pictures of each person, no clips)"
