"""A swap tool of two people: whom the original's pictures show before and after, and what the expression did.

    pair_<video>_<identity>, .._std   Borghetto's four comparisons (:mod:`anon.metrics.comparisons`): each picture of
                       the original, as it is and swapped, against other pictures of the original and of the donor
    pair_nearer_donor  share of the pictures that the judge takes for the donor rather than for the original
    pair_PCC_<parameter>, pair_RMSE_<parameter>, pair_PCC, pair_RMSE   what the estimator reads of the swapped picture
                       against what is true of it, or against the reading of the original where nobody knows;
                       correlation and root mean square error over the pictures, then means over the parameters

(Borghetto, MSc thesis, Milano 2020, chapter 5, with the renderer's parameters of the expression in the place of facial
action units.) Intervals are over the pictures, clips as wholes, of these two people and of one training: they say
nothing of other people.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from anon.evaluation.document.estimates import Estimate
from anon.evaluation.document.metric_info import MetricInfo, share
from anon.evaluation.harness.context import PUBLISHED, TARGET, MeasureContext
from anon.evaluation.harness.pictures import Originals
from anon.evaluation.intervals.bootstrap import Bootstrap
from anon.evaluation.measures.attributes import read, unread
from anon.faces.couple import TwoPeople
from anon.faces.synthetic.parameters import EXPRESSION
from anon.generators.subjects.contract import DONOR, ORIGINAL
from anon.metrics.comparisons import PAIRS, reference_distances

_BETTER = {"swapped_original": True, "swapped_swapped": False}


class Couple:
    """The measure."""

    metrics: ClassVar[Mapping[str, MetricInfo]] = {
        **{
            f"pair_{name}{end}": MetricInfo(
                f"pair {name}{end}".replace("_", " "), "privacy", None if end else _BETTER.get(name), low=0.0
            )
            for name in PAIRS
            for end in ("", "_std")
        },
        "pair_nearer_donor": share("nearer to the donor", "privacy", True),
        **{
            f"pair_PCC{end}": MetricInfo(f"PCC{end}".replace("_", " "), "utility", True, low=-1.0, high=1.0)
            for end in ("", *(f"_{name}" for name in EXPRESSION))
        },
        **{
            f"pair_RMSE{end}": MetricInfo(f"RMSE{end}".replace("_", " "), "utility", False, low=0.0)
            for end in ("", *(f"_{name}" for name in EXPRESSION))
        },
    }

    def __call__(self, context: MeasureContext) -> dict[str, Estimate]:
        """The figures; of the original's pictures as they are, two comparisons and the estimator's own errors; nothing
        of data that are no pair.
        """
        if not isinstance(context.stages.datasets(context.one.data), TwoPeople):
            return {}
        by = Bootstrap(units_of(context), context.stages.suite.resamples, context.stages.seed)
        return {**_comparisons(context, by), **_expression(context, by)}


def units_of(context: MeasureContext) -> Tensor:
    """(R,) what is resampled: a number for each still, and one for each clip."""
    videos = context.people.items.videos[context.rows]
    return torch.where(videos < 0, torch.arange(len(videos)), len(videos) + videos)


def _comparisons(context: MeasureContext, by: Bootstrap) -> dict[str, Estimate]:
    enrolled, units = context.people.enrolled, units_of(context)
    known = context.stages.z(Originals(enrolled), context.stages.judge)
    people = [known[enrolled.labels == person] for person in (ORIGINAL, DONOR)]
    videos = [context.z(TARGET)] if context.unchanged else [context.z(TARGET), context.z(PUBLISHED)]
    apart = [reference_distances(video, who, context.metric).double() for video in videos for who in people]
    figures: dict[str, Estimate] = {}
    for name, values in zip(PAIRS, apart, strict=False):
        figures[f"pair_{name}"] = by.mean(values, units)
        figures[f"pair_{name}_std"] = _over(by, units, values[None], lambda w, x: _deviation(w, x[0]), len(values))
    figures["pair_nearer_donor"] = by.mean((apart[-1] < apart[-2]).double(), units, share=True)
    return figures


def _expression(context: MeasureContext, by: Bootstrap) -> dict[str, Estimate]:
    kinds = ("PCC", "RMSE")
    names = [f"pair_{kind}{end}" for kind in kinds for end in ("", *(f"_{name}" for name in EXPRESSION))]
    changed, target, truth = read(context, PUBLISHED), read(context, TARGET), context.truth()
    if "expression" not in changed:
        return dict.fromkeys(names, unread(context, "expression"))
    found = changed["expression"].double()
    known = truth.get("expression", target["expression"]).double()
    if found.shape != known.shape or found.shape[1] != len(EXPRESSION):
        reason = f"n/a (the estimator reads {found.shape[1]} parameters that are not {', '.join(EXPRESSION)})"
        return dict.fromkeys(names, Estimate.absent(reason))
    units, both = units_of(context), torch.stack([found.T, known.T], 1)  # (4, 2, R)
    figures: dict[str, Estimate] = {}
    for kind, of in zip(kinds, (correlations, errors), strict=True):
        for place, name in enumerate(EXPRESSION):
            figures[f"pair_{kind}_{name}"] = _over(by, units, both[place], of, len(found))
        figures[f"pair_{kind}"] = _over(
            by, units, both, lambda w, x, of=of: torch.stack([of(w, one) for one in x]).nanmean(0), len(found)
        )
    return figures


def _over(by: Bootstrap, units: Tensor, values: Tensor, of: object, count: int) -> Estimate:
    """A figure of weighted pictures, ``of(weights (R, N), values)`` -> (R,), with its interval."""
    assert callable(of)
    place = torch.searchsorted(by.people, units)
    value = float(of(torch.ones(1, count, dtype=torch.float64), values)[0])
    if value != value:
        return Estimate.absent("n/a (nothing moves)")
    if len(by.people) < 2:
        return Estimate(value, n=count)
    draws = of(by.weights[:, place], values)
    low, high = Bootstrap.interval(draws, len(by.people))
    return Estimate(value, min(low, value), max(high, value), n=count, draws=draws)


def correlations(weights: Tensor, both: Tensor) -> Tensor:
    """Pearson's correlation of two rows (2, N), each column counted ``weights`` (R, N) times, (R,); NaN of a constant.

    >>> both = torch.tensor([[0.0, 1.0, 2.0], [0.0, 1.0, 0.0]], dtype=torch.float64)
    >>> correlations(torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]], dtype=torch.float64), both).round(decimals=6)
    tensor([1., 0.], dtype=torch.float64)
    """
    x, y = both
    total = weights.sum(1)
    x, y = (each - (weights @ each / total)[:, None] for each in (x, y))  # (R, N)
    spread = (weights * x * x).sum(1).sqrt() * (weights * y * y).sum(1).sqrt()
    return torch.where(spread > 1e-9, (weights * x * y).sum(1) / spread.clamp(min=1e-12), torch.nan)


def errors(weights: Tensor, both: Tensor) -> Tensor:
    """Root mean square difference of two rows (2, N), each column counted ``weights`` (R, N) times, (R,)."""
    return (weights @ (both[0] - both[1]).square() / weights.sum(1)).sqrt()


def _deviation(weights: Tensor, values: Tensor) -> Tensor:
    """Population deviation of values (N,), each counted ``weights`` (R, N) times, (R,)."""
    mean = weights @ values / weights.sum(1)
    return (weights * (values - mean[:, None]).square()).sum(1).div(weights.sum(1)).sqrt()
