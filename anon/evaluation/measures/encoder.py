"""ID by the recognizer that conditioned the generator and trained it: flattering, beside the judge's, and named so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from anon.evaluation.document.estimates import Estimate
from anon.evaluation.document.metric_info import MetricInfo, share
from anon.evaluation.harness.context import PUBLISHED, MeasureContext
from anon.evaluation.harness.suite import NONE
from anon.metrics.retrieval import RetrievalRate, retrieval_distances


class EncoderRetrieval:
    """``ID_<encoder>``: :class:`anon.evaluation.measures.retrieval.Retrieval`'s ID, by the training encoder."""

    # It flatters, so it is none of those who identify.
    metrics: ClassVar[Mapping[str, MetricInfo]] = {
        "ID_<encoder>": share("ID by <encoder>", "privacy", RetrievalRate.higher_is_better, judged=False)
    }

    def __call__(self, context: MeasureContext) -> dict[str, Estimate]:
        """One figure; none with an attack, and none of methods without an encoder."""
        encoder = context.method.encoder
        found = None if context.one.attack != NONE else context.by_encoder(PUBLISHED)
        if encoder is None or found is None:
            return {}
        z, gallery = found
        distance = retrieval_distances(z, context.labels, gallery.averages, gallery.people)
        return {f"ID_{encoder.name}": context.below(distance, gallery.threshold, gallery.levels)}
