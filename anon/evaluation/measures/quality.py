"""Does the published face look like a photograph: NIQE against unchanged training faces of the data, lower is better.

See :mod:`anon.metrics.quality` for what differs from Mittal et al. (2013). The training people are nowhere else in the
evaluation, and their features are kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch

from anon.evaluation.figures import Figure
from anon.evaluation.harness.cell import PUBLISHED, Cell
from anon.evaluation.harness.pictures import READING, Originals
from anon.evaluation.harness.store import Tensors, key_of
from anon.evaluation.metric_info import MetricInfo
from anon.metrics.quality import FEATURES, LEAST_SIDE, Niqe, Pristine, niqe, niqe_features
from anon.provenance import code


class Quality:
    """The measure: ``niqe``, also of unchanged faces."""

    metrics: ClassVar[Mapping[str, MetricInfo]] = {
        "niqe": MetricInfo("NIQE", "quality", Niqe.higher_is_better, low=0.0)
    }

    def __call__(self, cell: Cell) -> dict[str, Figure]:
        """One figure."""
        side = min(cell.view(PUBLISHED).eight_bits().shape[1:3])
        if side < LEAST_SIDE:
            return {"niqe": Figure.absent(f"n/a (faces of {side} pixels; NIQE needs {LEAST_SIDE})")}
        features = _pristine_features(cell)
        known = int(features.isfinite().all(1).sum())
        if known <= FEATURES:
            return {"niqe": Figure.absent(f"n/a ({known} training faces; NIQE needs more than {FEATURES})")}
        scores = niqe(cell.seen("niqe", niqe_features), Pristine.fit(features))
        return {"niqe": cell.known_mean(scores)}


def _pristine_features(cell: Cell) -> torch.Tensor:
    """(N, 36) of unchanged faces of training people."""
    group, bench = Originals(cell.people.anchors), cell.bench

    def make() -> Tensors:
        parts = group.batches(bench.suite.batch_size, "looking at natural faces")
        return {"features": torch.cat([niqe_features(part.to(bench.device)).cpu() for part in parts])}

    key = key_of(what="niqe", of=group.key, code=code(_pristine_features, *READING))
    return bench.store.get("figures", key, make)["features"]
