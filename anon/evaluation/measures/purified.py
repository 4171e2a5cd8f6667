"""Is a person found again once the pattern is washed out: ID after purification that any adversary owns.

    purified_ID          the largest of all purifiers, an adversary's choice
    purified_ID_<name>   ID of the published faces after one of them
    purified_PSR         the smallest of all: of the pairs whose unchanged face is accepted, the share that is rejected
                         where the changed face is purified (:mod:`anon.evaluation.measures.verification`)
    purified_PSR_<name>  PSR after one of them

ID is :class:`anon.evaluation.measures.retrieval.Retrieval`'s: the same gallery of unchanged faces, the same threshold.
Unchanged faces are purified, too, so the row Real says whether the judge still works on them purified: where its figure
is far below ID, little was measured. Of the first probes of each person (``suite.attacked_probes``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from torch import Tensor

from anon.attacks.contract import Attack
from anon.errors import UserError
from anon.evaluation.document.estimates import Estimate
from anon.evaluation.document.metric_info import MetricInfo, share
from anon.evaluation.harness.context import PUBLISHED, TARGET, MeasureContext
from anon.evaluation.harness.suite import NONE
from anon.evaluation.measures.verification import own_distances, protection
from anon.metrics.retrieval import RetrievalRate, retrieval_distances
from anon.metrics.verification import ProtectionSuccess
from anon.plugs import check_call

Purifier = Callable[[Tensor], Tensor]


class PurifiedRetrieval:
    """The measure.

    Args:
        purifiers: by name, each images (B, 3, H, W) -> the same form: an input, a filter, or an attack that recovers
            pictures; None: switched off.

    Raises:
        UserError: none is left, or one is none.
    """

    metrics: ClassVar[Mapping[str, MetricInfo]] = {
        "purified_ID": share("purified ID", "privacy", RetrievalRate.higher_is_better, identifies=True),
        "purified_ID_<name>": share("ID, <name>", "privacy", RetrievalRate.higher_is_better),
        "purified_PSR": share("purified PSR", "privacy", ProtectionSuccess.higher_is_better),
        "purified_PSR_<name>": share("PSR, <name>", "privacy", ProtectionSuccess.higher_is_better),
    }

    def __init__(self, purifiers: Mapping[str, Any]) -> None:
        self.purifiers = {str(name): part for name, part in purifiers.items() if part is not None}
        if not self.purifiers:
            raise UserError("suite.measures.purified has no purifiers; name one, or leave the measure out.")
        for name, part in self.purifiers.items():
            if not isinstance(part, Attack):
                check_call(part, f"suite.measures.purified.purifiers.{name}", "purifier(images)", "images")

    def __call__(self, context: MeasureContext) -> dict[str, Estimate]:
        """The figures; none with an attack."""
        if context.one.attack != NONE:
            return {}
        first = context.of_first()
        seen = {name: _seen(first, name, part) for name, part in self.purifiers.items()}
        found = {f"purified_ID_{name}": _found(first, z) for name, z in seen.items()}
        figures = {"purified_ID": max(found.values(), key=lambda figure: figure.number)} | found
        if context.unchanged:
            return figures
        safe = {f"purified_PSR_{name}": _protected(first, z) for name, z in seen.items()}
        least = min(safe.values(), key=lambda figure: 2.0 if figure.value is None else figure.value)
        return figures | {"purified_PSR": least} | safe


def _seen(context: MeasureContext, name: str, part: Any) -> Tensor:
    """(R, D) embeddings by the judge of the published faces after a purifier."""
    act, stages = part.images if isinstance(part, Attack) else part, context.stages
    view = stages.processed(context.view(PUBLISHED), act, part, f"the purifier '{name}'")
    return stages.z(view.pictures, stages.judge)[view.places]


def _found(context: MeasureContext, z: Tensor) -> Estimate:
    gallery = context.gallery
    apart = retrieval_distances(z, context.labels, gallery.averages, gallery.people, metric=gallery.metric)
    return context.below(apart, gallery.threshold, gallery.levels)


def _protected(context: MeasureContext, z: Tensor) -> Estimate:
    before, labels = own_distances(context.z(TARGET), context.labels, context.gallery)
    after, _ = own_distances(z, context.labels, context.gallery)
    return protection(context, context.gallery, before, after, labels)
