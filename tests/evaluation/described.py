"""The descriptions of all figures of the shipped measures, for documents that are made up."""

from __future__ import annotations

from anon.evaluation.measures.pairs import Pairs
from anon.evaluation.metric_info import MetricInfo, share
from anon.evaluation.schema_2 import MEASURES

METRICS: dict[str, MetricInfo] = {
    name: info for measure in (*MEASURES, Pairs) for name, info in measure().metrics.items()
}
METRICS |= {"age_kept": share("age", "utility", True)}  # of somebody's own measure
