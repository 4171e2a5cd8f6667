"""Swaps, where another person's face is put on the target: whose face it is, and what the expression did.

    swap_ID            the nearest enrolled person is the source; no threshold, as published (FIVA, table 4). Sources
                       of other data (suite.sources) are found among those who are enrolled there
    swap_ID_threshold  and below the judge's threshold            swap_ID_target   it is the target
    cosine_source, cosine_target   to the pictures that were swapped, by the judge

``C_<video>_<identity>`` and ``.._std`` are Borghetto's four comparisons (:mod:`anon.metrics.comparisons`): original and
swapped faces against the original and the swapped person, who are the averages of their enrolled pictures.

``swap_<read>_t2c``, ``_closer`` and ``_error`` are Paper II's (Rosberg's thesis, table 5.2) for the expression and for
landmarks, which are centred, scaled and turned onto each other: mean distance of target and changed; share of the swaps
that are closer to the target than to the source; root mean square of the difference between the distances
target-source and target-changed (how the paper's "L2 error" is averaged is not said).

Paper I's distributions of a swap are three pairings, target-source, target-changed and source-changed, under four
distances, their means and how much they overlap: an area of 1 means that two distributions are one
(:class:`anon.metrics.distances.Distributions` names the areas by what that would say of the changed face).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import ClassVar

import torch
from torch import Tensor

from anon.evaluation.document.estimates import Estimate
from anon.evaluation.document.metric_info import MetricInfo, share
from anon.evaluation.harness.context import PUBLISHED, TARGET, MeasureContext
from anon.evaluation.harness.pictures import Originals
from anon.evaluation.harness.store import Tensors
from anon.evaluation.judges.gallery import Gallery
from anon.evaluation.measures.attributes import read, unread
from anon.evaluation.measures.intervals import around, columns, resampled
from anon.identity.verification import distance
from anon.metrics.attributes import shape_distance
from anon.metrics.comparisons import PAIRS
from anon.metrics.distances import CONVENTIONS, PAIRINGS, Distributions, distributions, identity_distances
from anon.metrics.retrieval import retrieval_distances

AREAS = Distributions._fields[len(PAIRINGS) :]
_BETTER = {
    **{"swapped_original": True, "swapped_swapped": False},  # of Borghetto's comparisons, as distances
    # the changed face shall be a stranger to the target as the source is, and none to the source
    **{"target_changed": True, "source_changed": False, "stranger_to_target": True, "stranger_to_source": False},
}


class Swap:
    """The measure.

    Args:
        bins: of the histograms whose overlap is measured.
    """

    metrics: ClassVar[Mapping[str, MetricInfo]] = {
        "swap_ID": share("swap ID", "privacy", True),
        "swap_ID_threshold": share("swap ID below the threshold", "privacy", True),
        "swap_ID_target": share("target found", "privacy", False),
        "cosine_source": MetricInfo("cosine to the source", "privacy", True, low=-1.0, high=1.0),
        "cosine_target": MetricInfo("cosine to the target", "privacy", False, low=-1.0, high=1.0),
        **{
            f"C_{name}{end}": MetricInfo(
                f"C {name}{end}".replace("_", " "), "privacy", None if end else _BETTER.get(name), low=0.0
            )
            for name in PAIRS
            for end in ("", "_std")
        },
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
        **{
            f"swap_{name}_{what}": MetricInfo(f"swap {name} {what}", "utility", better, low=0.0, high=high)
            for name in ("expression", "landmarks")
            for what, better, high in (("t2c", False, None), ("closer", True, 1.0), ("error", None, None))
        },
    }

    def __init__(self, bins: int = 50) -> None:
        self.bins = bins

    def __call__(self, context: MeasureContext) -> dict[str, Estimate]:
        """The figures; none where nobody is swapped in."""
        if not context.method.source:
            return {}
        unknown = int((context.sources < 0).sum())
        if unknown:
            told = f"the sources of {unknown:,} of {len(context.sources):,} swaps are not among the evaluated people"
            return {"swap_ID": Estimate.absent(f"n/a ({told})")}
        same = context.donors is context.people
        if same and bool((context.source_labels == context.labels).all()):
            return {"swap_ID": Estimate.absent("n/a (nobody else to swap in)")}
        gallery = context.stages.gallery(context.one.data, context.stages.judge)
        changed, target, source = context.z(PUBLISHED), context.z(TARGET), context.z_of_sources()
        return {
            **_whose(context, gallery, changed),
            "cosine_source": context.cosine(changed, source),
            "cosine_target": context.cosine(changed, target),
            **_comparisons(context, gallery, target, changed),
            **pairing_figures(context, target, source, changed, self.bins),
            **_kept(context),
        }


def _whose(context: MeasureContext, gallery: Gallery, z: Tensor) -> dict[str, Estimate]:
    donors = context.source_gallery
    asked = {
        "swap_ID": (context.source_labels, donors, float("inf"), None),
        "swap_ID_threshold": (context.source_labels, donors, donors.threshold, donors.levels),
        "swap_ID_target": (context.labels, gallery, float("inf"), None),
    }
    return {
        name: context.below(
            retrieval_distances(z, who, among.averages, among.people, metric=among.metric), limit, levels
        )
        for name, (who, among, limit, levels) in asked.items()
    }


def _comparisons(context: MeasureContext, gallery: Gallery, original: Tensor, swapped: Tensor) -> dict[str, Estimate]:
    """Means and population deviations of :data:`PAIRS`, video by identity."""
    references = []  # of every row's own person and of the one that was put on, (R, D)
    for among, who in ((gallery, context.labels), (context.source_gallery, context.source_labels)):
        order = among.people.argsort()
        references.append(among.averages[order[torch.searchsorted(among.people[order], who)]])
    apart = [distance(video, who, gallery.metric).double() for video in (original, swapped) for who in references]
    figures: dict[str, Estimate] = {}
    for name, values in zip(PAIRS, apart, strict=True):
        figures[f"C_{name}"] = context.mean(values)
        figures[f"C_{name}_std"] = _deviation(context, values)
    return figures


def _deviation(context: MeasureContext, values: Tensor) -> Estimate:
    people, weights = columns(context.bootstrap, context.labels), context.bootstrap.weights
    centred = values - values.mean()
    powers = torch.stack([torch.ones_like(values), centred, centred.square()], 1)
    sums = torch.zeros(weights.shape[1], 3, dtype=torch.float64).index_add_(0, people, powers)
    count, first, second = (weights @ sums).unbind(1)
    draws = (second / count - (first / count).square()).clamp_min(0).sqrt()
    return resampled(float(values.std(correction=0)), draws, context.labels)


def _kept(context: MeasureContext) -> dict[str, Estimate]:
    """Paper II's table 5.2: is the swap's expression the target's or the source's?"""
    changed, target = read(context, PUBLISHED), read(context, TARGET)
    source = _read_sources(context) if changed else {}
    figures: dict[str, Estimate] = {}
    for name in ("expression", "landmarks"):
        names = tuple(f"swap_{name}_{what}" for what in ("t2c", "closer", "error"))
        if name not in changed:
            figures |= dict.fromkeys(names, unread(context, name))
            continue
        t2s, t2c, s2c = (
            _apart(name, one[name], other[name])
            for one, other in ((source, target), (changed, target), (changed, source))
        )
        closer = torch.where(t2c.isnan() | s2c.isnan(), torch.nan, (t2c < s2c).double())
        error = _root(context.known_mean((t2s - t2c).square()))
        values = (context.known_mean(t2c), context.known_mean(closer, share=True), error)
        figures |= dict(zip(names, values, strict=True))
    return figures


def _apart(name: str, one: Tensor, other: Tensor) -> Tensor:
    """(R,): L2 of expressions, Procrustes' distance of landmarks."""
    return shape_distance(one, other) if name == "landmarks" else (one - other).norm(dim=1)


def _root(figure: Estimate) -> Estimate:
    """The root of a mean and of its interval, which the root keeps."""
    if figure.value is None:
        return figure
    low, high = (None if end is None else end**0.5 for end in (figure.low, figure.high))
    draws = None if figure.draws is None else figure.draws.sqrt()
    return Estimate(figure.value**0.5, low, high, n=figure.n, draws=draws)


def _read_sources(context: MeasureContext) -> Tensors:
    """Of the pictures that were swapped in, row by row."""
    every = context.sources.unique()
    place = torch.searchsorted(every, context.sources)
    found = context.stages.read(Originals(context.stages.group(context.stages.donors.data(context.one), every)))
    return {name: value[place] for name, value in found.items()}


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
