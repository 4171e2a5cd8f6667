"""Who is found where the *enrolled* pictures are the changed ones, as those who protect themselves would have it.

    poisoned_ID    a clean probe is found though its person's enrolled pictures are changed
    poisoned_PSR   of the clean pairs that are accepted, the share that is rejected with changed enrolled pictures

The other way round from :mod:`anon.evaluation.measures.retrieval` and PSR, where the probe is changed (evasion). One
person at a time enrols changed pictures and everybody else clean ones (Shan et al., USENIX Security 2020); nothing is
trained on them here, a recognizer that is there compares. The first ``enrolled`` pictures of each person are enrolled,
for each may take many gradients. The threshold is ID's, of people who enrol all of theirs, so clean pairs are rejected
a little more often than elsewhere; PSR is of those accepted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import torch

from anon.evaluation.document.estimates import Estimate
from anon.evaluation.document.metric_info import MetricInfo, share
from anon.evaluation.harness.context import TARGET, MeasureContext
from anon.evaluation.harness.pictures import Originals, Pictures
from anon.evaluation.harness.suite import NONE
from anon.evaluation.judges.gallery import Gallery, templates
from anon.evaluation.measures.verification import own_distances, protection
from anon.evaluation.protocol import first_of_each
from anon.identity.verification import distances
from anon.metrics.retrieval import RetrievalRate
from anon.metrics.verification import ProtectionSuccess


class Poisoned:
    """The measure.

    Args:
        enrolled: pictures of a person that are enrolled changed.
    """

    metrics: ClassVar[Mapping[str, MetricInfo]] = {
        "poisoned_ID": share("poisoned ID", "privacy", RetrievalRate.higher_is_better),
        "poisoned_PSR": share("poisoned PSR", "privacy", ProtectionSuccess.higher_is_better),
    }

    def __init__(self, enrolled: int = 1) -> None:
        self.enrolled = enrolled

    def __call__(self, context: MeasureContext) -> dict[str, Estimate]:
        """The figures; none of unchanged faces, of swaps, and with an attack or a defense."""
        one = context.one
        if context.unchanged or one.attack != NONE or one.defense != NONE or context.method.source:
            return {}
        stages, people = context.stages, context.people
        group = people.enrolled
        first = first_of_each(group.labels, self.enrolled) & torch.isin(group.labels, context.labels)
        chosen = stages.group(one.data, group.indices[first])
        changed = stages.changed_by(context.method, Originals(chosen), people, people.sources[:0])

        def enrolled(pictures: Pictures) -> Gallery:
            z, gallery = stages.z(pictures, stages.judge), context.gallery
            averages, owners = templates(z, chosen.labels, chosen.videos, gallery.metric)
            return replace(gallery, averages=averages, people=owners, pictures=z, owners=chosen.labels)

        clean, cloaked = enrolled(Originals(chosen)), enrolled(changed)
        z, labels = context.z(TARGET), context.labels
        before, whose = own_distances(z, labels, clean)
        after, _ = own_distances(z, labels, cloaked)
        strangers = distances(z, clean.averages, clean.metric)  # (R, G)
        strangers[labels[:, None] == clean.people[None]] = math.inf
        known = torch.isin(labels, clean.people)
        found = torch.where(after < strangers.amin(1)[known], after, math.inf)
        return {
            "poisoned_ID": context.bootstrap.below(found, clean.threshold, clean.levels, whose),
            "poisoned_PSR": protection(context, clean, before, after, whose),
        }
