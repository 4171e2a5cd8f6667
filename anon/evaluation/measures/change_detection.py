"""Does an attack give changed faces away? (FIVA, section 3.6, figure 5)

A reconstruction network R has learned to change what its anonymizer made and leaves a genuine face nearly as it is, so
the judge's distance between a face x and R(x) is small for genuine faces,

    d(x) = 1 - cos(judge(x), judge(R(x)))        x is called changed where d(x) >= threshold

    detection_AUC, detection_EER              genuine against changed probes of the same people (.5: blind)
    flagged_genuine, flagged_changed          shares that are called changed
    moved_genuine, moved_changed              medians of d

Genuine probes are behind the same defense as changed ones. Plots: the densities of d with the threshold.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from anon.evaluation.document import Curve, Histogram
from anon.evaluation.document.estimates import Estimate
from anon.evaluation.document.metric_info import MetricInfo, share
from anon.evaluation.harness.attackers import Unavailable
from anon.evaluation.harness.context import ATTACKED, PUBLISHED, MeasureContext
from anon.evaluation.harness.suite import NONE
from anon.evaluation.measures.intervals import columns, densities, resampled
from anon.identity.contract import DISTANCES
from anon.identity.verification import distance
from anon.metrics.detection import THRESHOLD, equal_error, flagged, resampled_detection, resampled_median, roc_auc


class ChangeDetection:
    """The measure.

    Args:
        threshold: of the detector, a distance of the judge; the paper's is the cosine distance 0.6.
        bins: of the histogram.
    """

    # Whether changed faces shall be known as such is not the anonymizer's to say, so neither way is better.
    metrics: ClassVar[Mapping[str, MetricInfo]] = {
        "detection_AUC": share("AUC of the detector", "privacy", None),
        "detection_EER": share("EER of the detector", "privacy", None),
        "flagged_genuine": share("genuine faces called changed", "privacy", None),
        "flagged_changed": share("changed faces called changed", "privacy", None),
        "moved_genuine": MetricInfo("median distance of genuine faces", "privacy", low=0.0),
        "moved_changed": MetricInfo("median distance of changed faces", "privacy", low=0.0),
    }

    def __init__(self, threshold: float = THRESHOLD, bins: int = 40) -> None:
        self.threshold, self.bins = threshold, bins

    def __call__(self, context: MeasureContext) -> dict[str, Estimate]:
        """The figures; none of unchanged faces, and none without an attack that recovers pictures."""
        if context.one.attack == NONE or context.unchanged:
            return {}
        try:
            genuine, changed = _moved(context.of_unchanged()), _moved(context)
        except Unavailable as missing:
            return dict.fromkeys(("detection_AUC", "detection_EER"), Estimate.absent(str(missing)))
        weights, place = context.bootstrap.weights, columns(context.bootstrap, context.labels)
        draws = resampled_detection(genuine, changed, place, place, weights)
        both = context.labels.repeat(2)
        figures = {
            "detection_AUC": resampled(roc_auc(genuine, changed), draws.auc, both, share=True),
            "detection_EER": resampled(equal_error(genuine, changed), draws.eer, both, share=True),
        }
        for what, values in (("genuine", genuine), ("changed", changed)):
            medians = resampled_median(values, place, weights)
            figures[f"flagged_{what}"] = context.mean(flagged(values, self.threshold).double(), share=True)
            figures[f"moved_{what}"] = resampled(float(values.median()), medians, context.labels)
        return figures

    def plots(self, context: MeasureContext, label: str, line: int) -> list[Curve | Histogram]:
        """Densities of genuine and changed faces' distances."""
        if context.one.attack == NONE or context.unchanged:
            return []
        try:
            edges, shares = densities(
                {"genuine": _moved(context.of_unchanged()), "changed": _moved(context)}, self.bins
            )
        except Unavailable:
            return []
        what = f"{DISTANCES[context.metric]} between a face and its reconstruction"
        return [Histogram(label, line, edges, shares, self.threshold, what, "genuine")]


def _moved(context: MeasureContext) -> Tensor:
    """The judge's distance (R,) between the published faces and their reconstructions, exactly 0 where these are equal.

    Of unit vectors 1 - a·b = |a - b|² / 2, and rounding would otherwise decide between faces that R leaves alone.

    Raises:
        Unavailable: nobody trained the attack, or it recovers no picture.
    """
    view, judge = context.view(ATTACKED), context.stages.judge
    if view.pictures.kind != "attacked":
        raise Unavailable("n/a (the attack recovers no picture)")
    recovered = context.stages.z(view.pictures, judge)[view.places]  # not the adversary's embedding
    apart = distance(context.z(PUBLISHED), recovered, "euclidean")
    return apart.square() / 2 if context.metric == "cosine" else apart
