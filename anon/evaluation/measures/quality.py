"""Does the published face look like a photograph: NIQE against unchanged training faces of the data, lower is better.

See :mod:`anon.metrics.quality` for what differs from Mittal et al. (2013). The training people are nowhere else in the
evaluation, and their features are kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch

from anon.evaluation.document.estimates import Estimate
from anon.evaluation.document.metric_info import MetricInfo
from anon.evaluation.harness.context import PUBLISHED, MeasureContext
from anon.evaluation.harness.pictures import READING, Originals
from anon.evaluation.harness.store import Tensors, key_of
from anon.metrics.quality import FEATURES, LEAST_SIDE, Niqe, Pristine, niqe, niqe_features
from anon.provenance import code


class Quality:
    """The measure: ``niqe``, also of unchanged faces."""

    metrics: ClassVar[Mapping[str, MetricInfo]] = {
        "niqe": MetricInfo("NIQE", "quality", Niqe.higher_is_better, low=0.0)
    }

    def __call__(self, context: MeasureContext) -> dict[str, Estimate]:
        """One figure."""
        scores = naturalness(context)
        return {"niqe": scores if isinstance(scores, Estimate) else context.known_mean(scores)}


def naturalness(context: MeasureContext) -> torch.Tensor | Estimate:
    """NIQE of every row, (R,), NaN where a picture has none; or why there is none at all."""
    side = min(context.view(PUBLISHED).eight_bits().shape[1:3])
    if side < LEAST_SIDE:
        return Estimate.absent(f"n/a (faces of {side} pixels; NIQE needs {LEAST_SIDE})")
    features = _pristine_features(context)
    known = int(features.isfinite().all(1).sum())
    if known <= FEATURES:
        return Estimate.absent(f"n/a ({known} training faces; NIQE needs more than {FEATURES})")
    return niqe(context.applied("niqe", niqe_features), Pristine.fit(features))


def _pristine_features(context: MeasureContext) -> torch.Tensor:
    """(N, 36) of unchanged faces of training people."""
    group, stages = Originals(context.people.anchors), context.stages

    def make() -> Tensors:
        parts = group.batches(stages.suite.batch_size, "looking at natural faces")
        return {"features": torch.cat([niqe_features(part.to(stages.device)).cpu() for part in parts])}

    key = key_of(what="niqe", of=group.key, code=code(_pristine_features, *READING))
    return stages.store.get("figures", key, make)["features"]
