"""What the adversary gets: RA, retrieval after the attack (FIVA, table 1), and how near the recovered face comes.

RA, RA_rank<k>      ID and ID_rank<k> of what the adversary sees, in the gallery that he enrolled
recalibrated        1 where he enrols or recognizes for himself, so that the threshold is his own at the same FAR
threshold_adversary distance below which he accepts
EER_adversary       equal error rate of what he compares, on background people
attack_minutes      how long his own recognizer was trained, on the machine that trained it
ssim_recovered, cosine_recovered   of his picture to the original one, the cosine by a judge who compares directions
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from anon.evaluation.document.estimates import Estimate
from anon.evaluation.document.metric_info import MetricInfo, share
from anon.evaluation.harness.context import ATTACKED, TARGET, MeasureContext
from anon.evaluation.harness.suite import NONE
from anon.evaluation.measures.retrieval import by_rank
from anon.metrics.preservation import ssim
from anon.metrics.retrieval import RankRates, RetrievalRate, retrieval_distances


class Attacked:
    """The measure.

    Args:
        ks: the ranks.
    """

    def __init__(self, ks: Sequence[int] = (1, 5)) -> None:
        self.ks = tuple(ks)

    @property
    def metrics(self) -> Mapping[str, MetricInfo]:
        """What it gives; that the adversary's picture is good is bad here."""
        return {
            "RA": share("RA", "privacy", RetrievalRate.higher_is_better, identifies=True),
            **{f"RA_rank{k}": share(f"RA rank-{k}", "privacy", RankRates.higher_is_better) for k in self.ks},
            "recalibrated": share("recalibrated", "privacy", None),
            "threshold_adversary": MetricInfo("adversary's threshold", "privacy", low=0.0),
            "EER_adversary": share("adversary's EER", "privacy", None),
            "attack_minutes": MetricInfo("training", "cost", None, "min", low=0.0),
            "ssim_recovered": MetricInfo("SSIM recovered", "privacy", False, low=-1.0, high=1.0, judged=False),
            "cosine_recovered": MetricInfo("cosine recovered", "privacy", False, low=-1.0, high=1.0),
        }

    def __call__(self, context: MeasureContext) -> dict[str, Estimate]:
        """The figures; none without an attack."""
        if context.one.attack == NONE:
            return {}
        gallery = context.gallery
        entries, metric = (gallery.averages, gallery.people), gallery.metric
        found = retrieval_distances(context.z(ATTACKED), context.labels, *entries, metric=metric)
        figures = {"RA": context.below(found, gallery.threshold, gallery.levels)} | by_rank(context, "RA", self.ks)
        figures["recalibrated"] = Estimate(float(context.rethresholded), n=len(gallery.people))
        figures["threshold_adversary"] = context.adversary.accepts.threshold
        figures["EER_adversary"] = context.adversary.accepts.eer
        recognizer = context.adversary.recognizer
        if hasattr(recognizer, "minutes"):
            unknown = Estimate.absent("n/a (its checkpoint does not say)")
            figures["attack_minutes"] = unknown if recognizer.minutes is None else Estimate(recognizer.minutes, n=1)
        view = context.view(ATTACKED)
        if view.pictures.kind != "attacked":  # he looks at the published faces themselves
            same = Estimate.absent("n/a (the attack recovers no picture)")
            return figures | {"ssim_recovered": same, "cosine_recovered": same}
        recovered = context.stages.z(view.pictures, context.stages.judge)[view.places]  # not the adversary's embedding
        figures["ssim_recovered"] = context.mean(context.compared("ssim", ssim, ATTACKED, TARGET))
        figures["cosine_recovered"] = context.cosine(recovered, context.z(TARGET))
        return figures
