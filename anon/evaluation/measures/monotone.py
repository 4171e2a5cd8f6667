"""Whether a degree of anonymization is one: Spearman's correlation of distance and degree, per person.

distance_spearman   mean over the evaluation people of the rank correlation of the degrees and of how far, by the judge,
                    person's anonymized pictures are from the originals at each (mean over the person's pictures)

1: whoever turns the degree up is further away, every time and for everybody. It stands on the line of the last degree.

    python evaluate.py suite=degree
    python evaluate.py suite=made_simple_degree
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor
from torchmetrics.functional import spearman_corrcoef

from anon.evaluation.document.estimates import Estimate
from anon.evaluation.document.metric_info import MetricInfo
from anon.evaluation.harness.context import PUBLISHED, TARGET, MeasureContext
from anon.identity.clusters import means
from anon.identity.verification import distance

KEYS = ("policy.degree", "anonymizer.degree")  # what is turned


class Monotone:
    """The measure.

    Args:
        degrees: of the sweep, rising.
    """

    metrics: ClassVar[Mapping[str, MetricInfo]] = {
        "distance_spearman": MetricInfo("Spearman, distance by degree", "privacy", True, low=-1.0, high=1.0)
    }

    def __init__(self, degrees: Sequence[float]) -> None:
        self.degrees = tuple(float(degree) for degree in degrees)

    def __call__(self, context: MeasureContext) -> dict[str, Estimate]:
        """The figure on the line of the last degree; nothing elsewhere."""
        one = context.one
        if one.turns not in KEYS or one.dial != self.degrees[-1]:
            return {}
        people, place = context.labels.unique(return_inverse=True)
        found = []
        for degree in self.degrees:
            at = MeasureContext(context.stages, replace(one, dial=degree), context.rows)
            apart = distance(at.z(PUBLISHED), at.z(TARGET), context.metric)
            found.append(means(apart.double()[:, None], place, len(people))[:, 0])
        rho = spearman(torch.tensor(self.degrees).double(), torch.stack(found))
        return {"distance_spearman": context.bootstrap.mean(rho, people)}


def spearman(degrees: Tensor, values: Tensor) -> Tensor:
    """Rank correlations (P,) of values (V, P) with degrees (V,).

    >>> spearman(torch.arange(3.0), torch.tensor([[1.0, 3.0], [2.0, 2.0], [5.0, 1.0]])).round(decimals=5).tolist()
    [1.0, -1.0]
    """
    return spearman_corrcoef(values, degrees[:, None].expand_as(values))
