"""Does the changed face look like somebody else: what can be read of the renderer's identity parameters.

    look_moved   mean distance of the published face's look to the original's, over the mean distance of two different
                 people's originals: 0 nothing moved, 1 as different as two people
    look_floor   of unchanged faces: the same of two pictures of one person, whose pose, expression and light differ

The look is :class:`anon.attributes.look.LookRegressor`'s: each of the renderer's identity parameters by how well it can
be told from a picture. The shipped one tells skin, hair, beard and the outline of the head, and hardly eyes, nose and
mouth (anon/weights/look.md), so a change of these alone is not seen. A network reads it, which patterns may deceive, as
they do recognizers; it learned faces under patterns and looks through a blur. Of rendered faces only: of a photograph
nobody knows these. Of the first probes of each person (``suite.attacked_probes``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from anon.attributes.look import LookRegressor
from anon.evaluation.document.estimates import Estimate
from anon.evaluation.document.metric_info import MetricInfo
from anon.evaluation.harness.context import PUBLISHED, TARGET, MeasureContext
from anon.evaluation.harness.suite import NONE
from anon.metrics.look import LookMoved, mean_distances

NEEDS = "needs python train.py experiment=look, then suite.measures.look.regressor.weights=<its checkpoints/last.ckpt>"
RENDERED = "n/a (the look is read of rendered faces only)"
BLIND = "n/a (the regressor reads the same of everybody)"
NOBODY = "n/a (one person has nobody to look like)"


class Look:
    """The measure.

    Args:
        regressor: reads the look; None: nobody does, and the figures say what is needed.
    """

    metrics: ClassVar[Mapping[str, MetricInfo]] = {
        "look_moved": MetricInfo("look moved", "privacy", LookMoved.higher_is_better, low=0.0, judged=False),
        "look_floor": MetricInfo("look floor", "privacy", None, low=0.0, judged=False),
    }

    def __init__(self, regressor: LookRegressor | None = None) -> None:
        self.regressor = regressor

    def __call__(self, context: MeasureContext) -> dict[str, Estimate]:
        """``look_moved``; of unchanged faces ``look_floor``; nothing with an attack."""
        if context.one.attack != NONE:
            return {}
        context = context.of_first()
        name = "look_floor" if context.unchanged else "look_moved"
        if not context.people.synthetic:
            return {name: Estimate.absent(RENDERED)}
        if self.regressor is None:
            return {name: Estimate.absent(NEEDS)}
        context.stages.known(self.regressor, "the look regressor", context.one.data)
        target = _read(context, self.regressor, TARGET)
        own, others = mean_distances(target, context.labels)
        if bool(others.isnan().all()):
            return {name: Estimate.absent(NOBODY)}
        moved = own if context.unchanged else (_read(context, self.regressor, PUBLISHED) - target).norm(dim=1)
        known = ~(moved.isnan() | others.isnan())
        if not bool(known.any()):
            return {name: Estimate.absent("n/a (one picture of each person)")}
        if not bool((others[known] > 0).any()):
            return {name: Estimate.absent(BLIND)}
        return {name: context.bootstrap.ratio(moved[known], others[known], context.labels[known])}


def _read(context: MeasureContext, regressor: LookRegressor, of: str) -> Tensor:
    return context.applied("look", regressor.to(context.stages.device).eval(), of)
