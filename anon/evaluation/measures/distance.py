"""How far the identity has moved from the target's, by the judge: four distances, and the share that is de-identified.

``target_distance`` is the judge's own: the cosine distance, of which squared_l2 is twice of unit embeddings, or the
Euclidean one of raw vectors. ``deidentified``: the share above the judge's threshold (Wen et al., Face
De-identification, Springer 2024, eq. 6.23).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from anon.evaluation.document.estimates import Estimate
from anon.evaluation.document.metric_info import MetricInfo, share
from anon.evaluation.harness.context import PUBLISHED, TARGET, MeasureContext
from anon.metrics.distances import DeidentificationRate, IdentityDistances, identity_distances


class TargetDistance:
    """The measure."""

    metrics: ClassVar[Mapping[str, MetricInfo]] = {
        "target_distance": MetricInfo("distance", "privacy", IdentityDistances.higher_is_better, low=0.0),
        "l2": MetricInfo("L2", "privacy", IdentityDistances.higher_is_better, low=0.0),
        "squared_l2": MetricInfo("squared L2", "privacy", IdentityDistances.higher_is_better, low=0.0),
        "l1": MetricInfo("L1", "privacy", IdentityDistances.higher_is_better, low=0.0),
        "deidentified": share("de-identified", "privacy", DeidentificationRate.higher_is_better),
    }

    def __call__(self, context: MeasureContext) -> dict[str, Estimate]:
        """``target_distance``, ``l2``, ``squared_l2``, ``l1``, ``deidentified``; nothing of unchanged faces."""
        if context.unchanged:
            return {}
        apart = identity_distances(context.z(PUBLISHED), context.z(TARGET))
        own = apart["cosine" if context.metric == "cosine" else "l2"]
        far = context.below(-own, -context.threshold, -context.levels)  # above it, as `deidentified` has it
        figures = {"target_distance": context.mean(own)}
        figures |= {name: context.mean(value) for name, value in apart.items() if name != "cosine"}
        return figures | {"deidentified": far}
