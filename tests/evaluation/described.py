"""The descriptions of all figures of the shipped measures, for documents that are made up."""

from __future__ import annotations

from anon.evaluation.document.metric_info import MetricInfo, share
from anon.evaluation.document.schema_2 import MEASURES
from anon.evaluation.measures.attribute_path import AttributePath
from anon.evaluation.measures.clip_recovery import ClipRecovery
from anon.evaluation.measures.cost import Cost
from anon.evaluation.measures.couple import Couple
from anon.evaluation.measures.groups import Groups
from anon.evaluation.measures.hifd import Hifd
from anon.evaluation.measures.keys import Keys
from anon.evaluation.measures.look import Look
from anon.evaluation.measures.monotone import Monotone
from anon.evaluation.measures.pairs import Pairs
from anon.evaluation.measures.poisoned import Poisoned
from anon.evaluation.measures.pulse import Pulse
from anon.evaluation.measures.purified import PurifiedRetrieval
from anon.evaluation.measures.spectrum import Spectrum

METRICS: dict[str, MetricInfo] = {
    name: info
    for measure in (*MEASURES, Pairs, ClipRecovery, Cost, Couple, Groups, Hifd, Keys, Pulse)
    for name, info in measure().metrics.items()
}
for given in (PurifiedRetrieval, Look, Spectrum, Monotone, Poisoned, AttributePath):  # which are built of parts
    METRICS |= given.metrics
METRICS |= {"age_kept": share("age", "utility", True)}  # of somebody's own measure
