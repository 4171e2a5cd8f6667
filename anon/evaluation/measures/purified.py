"""Is a person found again once the pattern is washed out: ID after purification that any adversary owns.

    purified_ID          the largest of all purifiers, an adversary's choice
    purified_ID_<name>   ID of the published faces after one of them

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
from anon.evaluation.harness.context import PUBLISHED, MeasureContext
from anon.evaluation.harness.suite import NONE
from anon.metrics.retrieval import RetrievalRate, retrieval_distances
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
        found = {f"purified_ID_{name}": _found(first, name, part) for name, part in self.purifiers.items()}
        return {"purified_ID": max(found.values(), key=lambda figure: figure.number)} | found


def _found(context: MeasureContext, name: str, part: Any) -> Estimate:
    act = part.images if isinstance(part, Attack) else part
    stages, gallery = context.stages, context.gallery
    view = stages.processed(context.view(PUBLISHED), act, part, f"the purifier '{name}'")
    z = stages.z(view.pictures, stages.judge)[view.places]
    apart = retrieval_distances(z, context.labels, gallery.averages, gallery.people, metric=gallery.metric)
    return context.below(apart, gallery.threshold, gallery.levels)
