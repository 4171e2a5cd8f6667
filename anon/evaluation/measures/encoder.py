"""What the recognizers see that a method was made to deceive: flattering, beside the judge's figures, and named so.

    ID_<encoder>    ID by each of them
    PSR_<encoder>   PSR by each of them, of changed faces

That is the one that conditioned a generator and trained it, or those that a cloak is made on (a white box).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from anon.evaluation.document.estimates import Estimate
from anon.evaluation.document.metric_info import MetricInfo, share
from anon.evaluation.harness.context import PUBLISHED, TARGET, MeasureContext
from anon.evaluation.harness.suite import NONE
from anon.evaluation.measures.verification import own_distances, protection
from anon.metrics.retrieval import RetrievalRate, retrieval_distances
from anon.metrics.verification import ProtectionSuccess


class EncoderRetrieval:
    """ID as in :mod:`anon.evaluation.measures.retrieval`, PSR as in :mod:`anon.evaluation.measures.verification`."""

    # They flatter, so they are none of those who identify.
    metrics: ClassVar[Mapping[str, MetricInfo]] = {
        "ID_<encoder>": share("ID by <encoder>", "privacy", RetrievalRate.higher_is_better, judged=False),
        "PSR_<encoder>": share("PSR by <encoder>", "privacy", ProtectionSuccess.higher_is_better, judged=False),
    }

    def __call__(self, context: MeasureContext) -> dict[str, Estimate]:
        """The figures; none with an attack, and none of methods that were made on no recognizer."""
        figures: dict[str, Estimate] = {}
        for recognizer in context.method.made_on if context.one.attack == NONE else ():
            z, gallery = context.by_recognizer(PUBLISHED, recognizer)
            distance = retrieval_distances(z, context.labels, gallery.averages, gallery.people)
            figures[f"ID_{recognizer.name}"] = context.below(distance, gallery.threshold, gallery.levels)
            before, labels = own_distances(context.by_recognizer(TARGET, recognizer)[0], context.labels, gallery)
            after, _ = own_distances(z, context.labels, gallery)
            figures[f"PSR_{recognizer.name}"] = protection(context, gallery, before, after, labels)
        return figures
