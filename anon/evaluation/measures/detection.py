"""Is there still a face for a detector: the share found, the confidence lost and how far the box moved.

Wen et al., Face De-identification (Springer 2024), section 3.3: the rate, the confidence compared with the original's,
and the mean deviation of the box in pixels. All of them by every detector of ``detectors``; ``detected`` is the
share by the first of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from anon.evaluation.document.estimates import Estimate
from anon.evaluation.document.metric_info import MetricInfo, share
from anon.evaluation.harness.context import PUBLISHED, TARGET, MeasureContext
from anon.metrics.attributes import BoxDistance, box_distance
from anon.metrics.detection_confidence import ConfidenceDrop, confidence_drop

_SEEN = share("detected", "utility", True)
_DROP = MetricInfo("confidence drop", "utility", ConfidenceDrop.higher_is_better, low=-1.0, high=1.0)
_BOX = MetricInfo("box distance", "utility", BoxDistance.higher_is_better, "px", low=0.0)
NEEDS = "needs +detector@detectors.<name>=yunet detectors.<name>.weights=<file>"


class Detection:
    """The measure: ``detected_<name>``, ``confidence_drop_<name>`` and ``box_distance_<name>`` of each detector."""

    metrics: ClassVar[Mapping[str, MetricInfo]] = {
        name + each: replace(info, title=info.title + by)
        for name, info in {"detected": _SEEN, "confidence_drop": _DROP, "box_distance": _BOX}.items()
        for each, by in (("", ""), ("_<detector>", " by <detector>"))
    }

    def __call__(self, context: MeasureContext) -> dict[str, Estimate]:
        """The figures; of unchanged faces the share alone."""
        detectors = context.stages.readers.detectors
        if not detectors:
            names = ("detected",) if context.unchanged else ("detected", "confidence_drop", "box_distance")
            return dict.fromkeys(names, Estimate.absent(NEEDS))
        figures: dict[str, Estimate] = {}
        for name in detectors:
            found = context.detections(PUBLISHED, name)
            seen = found["boxes"][:, 0].isfinite()
            figures[f"detected_{name}"] = context.mean(seen.double(), share=True)
            if not context.unchanged:
                before = context.detections(TARGET, name)
                drop = confidence_drop(found["scores"], before["scores"])
                figures[f"confidence_drop_{name}"] = context.known_mean(drop)
                figures[f"box_distance_{name}"] = context.known_mean(box_distance(found["boxes"], before["boxes"]))
        return {"detected": figures[f"detected_{next(iter(detectors))}"], **figures}
