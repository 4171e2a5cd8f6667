"""The door of measures: each describes its figures, no two describe one differently, and columns show what there is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches

from anon.errors import UserError
from anon.evaluation.harness.context import Measure
from anon.evaluation.harness.suite import Plan
from anon.evaluation.metric_info import MetricInfo, info_of, metrics_of


def descriptions(
    measures: Mapping[str, Measure], tables: Sequence[Plan], others: Callable[[], Mapping[str, Measure]]
) -> dict[str, MetricInfo]:
    """By metric, what the measures say of what they give.

    Args:
        measures: those that are asked for, by their names in ``suite.measures``.
        others: makes the rest of them, where a column shows a metric of one that its table does not ask for.

    Raises:
        UserError: one describes nothing, two differ about a metric, or a column shows what none of them gives, with the
            nearest that one does.
    """
    known = _together(measures)
    shown = {column.metric: plan for plan in tables for column in plan.columns}
    if any(info_of(known, metric) is None for metric in shown):
        known = _together({**measures, **others()})
    for metric, plan in shown.items():
        if info_of(known, metric) is None:
            near = get_close_matches(metric, known, 1)
            raise UserError(
                f"suite.tables.{plan.name}.columns shows '{metric}', which no measure gives; "
                + (f"did you mean '{near[0]}'?" if near else f"those of the table are: {', '.join(plan.measures)}.")
            )
    return known


def _together(measures: Mapping[str, Measure]) -> dict[str, MetricInfo]:
    found: dict[str, tuple[str, MetricInfo]] = {}
    for name, measure in measures.items():
        for metric, info in metrics_of(measure, f"suite.measures.{name}").items():
            other, before = found.setdefault(metric, (name, info))
            if before != info:
                raise UserError(
                    f"suite.measures.{other} and suite.measures.{name} describe '{metric}' differently; "
                    "give it another name in one of them."
                )
    return {metric: info for metric, (_, info) in found.items()}


def of_all(names: Iterable[str], known: Mapping[str, MetricInfo]) -> dict[str, MetricInfo]:
    """The description of each of these metrics."""
    return {name: info for name in dict.fromkeys(names) if (info := info_of(known, name)) is not None}
