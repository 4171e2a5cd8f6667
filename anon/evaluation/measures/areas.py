"""Paper I's distributions of a swap: three pairings under four distances, their means and how much they overlap.

The pairings are target-source, target-changed and source-changed; an area of 1 means that two distributions are one
(:class:`anon.metrics.distances.Distributions` names the areas by what that would say of the changed face).
"""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor

from anon.evaluation.estimates import Estimate
from anon.evaluation.harness.context import MeasureContext
from anon.evaluation.measures.intervals import around, columns, resampled
from anon.evaluation.metric_info import MetricInfo, share
from anon.metrics.distances import CONVENTIONS, PAIRINGS, Distributions, distributions, identity_distances

AREAS = Distributions._fields[len(PAIRINGS) :]

# The changed face shall be a stranger to the target as the source is, and none to the source.
_BETTER = {"target_changed": True, "source_changed": False, "stranger_to_target": True, "stranger_to_source": False}
METRICS: dict[str, MetricInfo] = {
    **{
        f"mean_{name}_{pair}": MetricInfo(
            f"mean {name} {pair}".replace("_", " "),
            "privacy",
            _BETTER.get(pair),
            low=0.0,
            high=2.0 if name == "cosine" else None,
        )
        for name in CONVENTIONS
        for pair in PAIRINGS
    },
    **{
        f"area_{name}_{area}": share(f"area {name} {area}".replace("_", " "), "privacy", _BETTER.get(area))
        for name in CONVENTIONS
        for area in AREAS
    },
}


def pairing_figures(
    context: MeasureContext, target: Tensor, source: Tensor, changed: Tensor, bins: int
) -> dict[str, Estimate]:
    """``mean_<distance>_<pairing>`` and ``area_<distance>_<area>`` of embeddings (R, D) each.

    Args:
        bins: of the histograms; fewer faces than that overlap by chance, and their areas are absent.
    """
    pairs = ((target, source), (target, changed), (source, changed))
    found = [identity_distances(one, other) for one, other in pairs]
    figures: dict[str, Estimate] = {}
    for name in found[0]:
        pairings = torch.stack([part[name] for part in found], 1)  # (R, 3)
        figures |= {f"mean_{name}_{pair}": context.mean(pairings[:, at]) for at, pair in enumerate(PAIRINGS)}
        if len(pairings) < bins:
            few = Estimate.absent(f"n/a ({len(pairings)} faces in {bins} bins)")
            figures |= {f"area_{name}_{area}": few for area in AREAS}
            continue
        values = distributions(pairings, bins)
        people, weights = columns(context.bootstrap, context.labels), context.bootstrap.weights
        for area, (one, other) in zip(AREAS, combinations(range(len(PAIRINGS)), 2), strict=True):
            value = float(getattr(values, area))
            draws = resampled_areas(pairings[:, one], pairings[:, other], people, weights, bins)
            figures[f"area_{name}_{area}"] = resampled(value, around(value, draws).clamp(0.0, 1.0), context.labels)
    return figures


def resampled_areas(first: Tensor, second: Tensor, people: Tensor, weights: Tensor, bins: int) -> Tensor:
    """:func:`anon.metrics.distances.intersection_area` with every person's values counted as often as drawn, (R,).

    Args:
        first, second: (N,) values of the same faces.
        people: (N,) whose they are, columns of ``weights``.
        weights: (R, I).

    The bins are those of all values, in every resample.
    """
    both = torch.cat([first, second]).double()
    low, high = both.min(), both.max()
    if float(high - low) == 0.0:
        return torch.ones(len(weights), dtype=torch.float64)
    place = ((both - low) / ((high - low) / bins)).long().clamp_(max=bins - 1)
    contexts = weights.shape[1] * bins
    shares = []
    for part in place.split(len(first)):
        counts = torch.bincount(people * bins + part, minlength=contexts).view(-1, bins).double()  # (I, bins)
        drawn = weights @ counts
        shares.append(drawn / drawn.sum(1, keepdim=True))
    return torch.minimum(*shares).sum(1)
