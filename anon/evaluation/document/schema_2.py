"""results.json of schema 2, in which columns said which way is better and metrics said nothing of themselves.

What a figure of schema 2 meant is what the measure that gave it says of it today; directions and titles are those of
the file's own columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

from anon.evaluation.document.metric_info import MetricInfo, info_of
from anon.evaluation.measures.attacked import Attacked
from anon.evaluation.measures.attributes import Attributes
from anon.evaluation.measures.change_detection import ChangeDetection
from anon.evaluation.measures.detection import Detection
from anon.evaluation.measures.distance import TargetDistance
from anon.evaluation.measures.distribution import Distribution
from anon.evaluation.measures.encoder import EncoderRetrieval
from anon.evaluation.measures.identities import Identities
from anon.evaluation.measures.picture import Picture
from anon.evaluation.measures.quality import Quality
from anon.evaluation.measures.recovery import Recovery
from anon.evaluation.measures.retrieval import Retrieval
from anon.evaluation.measures.swap import Swap
from anon.evaluation.measures.temporal import Temporal
from anon.evaluation.measures.verification import Verification

MEASURES = (
    *(Retrieval, EncoderRetrieval, Attacked, TargetDistance, Verification, Temporal, Attributes, Picture, Detection),
    *(Distribution, Quality, Swap, Identities, Recovery, ChangeDetection),
)
_BETTER: dict[Any, bool] = {"lower": False, "higher": True}


def upgraded(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content of such a file, as schema 3 has it; what is no content is left for its reader to refuse.

    A metric that no measure of this package gives is of no kind.

    Raises:
        ValueError: a column's ``better`` is no direction.
    """
    known: dict[str, MetricInfo] = {}
    for measure in MEASURES:
        known |= measure().metrics
    found: dict[str, MetricInfo] = {}
    tables = [dict(table) if isinstance(table, dict) else table for table in _list(content.get("tables"))]
    for table in (table for table in tables if isinstance(table, dict)):
        table["columns"] = [
            _column(column, known, found) if isinstance(column, dict) else column
            for column in _list(table.get("columns"))
        ]
    for name in _names(content):
        found.setdefault(name, info_of(known, name) or MetricInfo(name, None))
    metrics = {name: asdict(info) for name, info in found.items()}
    return {**content, "tables": tables if isinstance(content.get("tables"), list) else None, "metrics": metrics}


def _column(given: dict[str, Any], known: Mapping[str, MetricInfo], found: dict[str, MetricInfo]) -> dict[str, Any]:
    """Without its direction, which goes into ``found``: of a metric in several columns the first that has one."""
    column = {name: value for name, value in given.items() if name != "better"}
    metric, title, better = given.get("metric"), given.get("title"), given.get("better")
    if better not in ("lower", "higher", None):
        raise ValueError(f"better is {better!r:.40}")
    if isinstance(metric, str) and isinstance(title, str):
        info = found.get(metric) or replace(
            info_of(known, metric) or MetricInfo(title if given.get("attack") is None else metric, None),
            higher_is_better=None,
        )
        known_way = info.higher_is_better is not None
        found[metric] = info if known_way else replace(info, higher_is_better=_BETTER.get(better))
    return column


def _names(content: Mapping[str, Any]) -> Iterator[str]:
    for line in _list(content.get("lines")):
        if isinstance(line, dict) and isinstance(line.get("metrics"), dict):
            yield from line["metrics"]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
