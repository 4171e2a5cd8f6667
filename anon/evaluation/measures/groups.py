"""Figures by group of people or pictures, and the largest gap between two groups of a label.

    <figure>:<label>=<group>   the figure of the probes in a group: ID:beard=no beard
    <figure>_gap:<label>       the largest difference between two groups of the label

Labels are what the data says of its pictures: of rendered faces skin tone, shape, beard and glasses
(:func:`anon.faces.synthetic.parameters.known_labels`), of photographs the columns of data.labels=<csv> or of the packed
set. Numbers are cut at quantiles of all pictures of the evaluation; the groups' names state where. A group of fewer
people than ``least`` has no figure, and no part in a gap.

The two groups of a gap are chosen because they differ most, so its interval is corrected for the m pairs that they were
chosen from (Bonferroni): it is a 100 - 5 / m % interval of one pair. Of shares it is made of the groups' own intervals
at that level (Zou and Donner, Statistics in Medicine 27, 2008; exact where nobody is found, too wide where the same
people are in both groups), of other figures from the differences in the same resamples. Where it leaves 0 out, the
groups differ; the gap itself is above 0 by chance alone.

    python evaluate.py suite=groups [data=folder data.root=<folder> data.labels=<csv>]
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import NamedTuple

from torch import Tensor

from anon.attributes.distances import distances
from anon.errors import UserError
from anon.evaluation.document.estimates import Estimate
from anon.evaluation.document.metric_info import MetricInfo
from anon.evaluation.harness.context import ATTACKED, PUBLISHED, TARGET, Measure, MeasureContext
from anon.evaluation.harness.suite import NONE
from anon.evaluation.intervals.bootstrap import Bootstrap
from anon.evaluation.intervals.shares import TAIL, share_ends
from anon.evaluation.measures.attacked import Attacked
from anon.evaluation.measures.attributes import Attributes, read, unread
from anon.evaluation.measures.distance import TargetDistance
from anon.evaluation.measures.picture import Picture
from anon.evaluation.measures.retrieval import Retrieval
from anon.faces.labels import groups
from anon.identity.verification import distance
from anon.metrics.preservation import ssim
from anon.metrics.retrieval import retrieval_distances

OfRows = Callable[[Tensor], Estimate]  # the figure of some rows, chosen by a mask (R,)


class Figure(NamedTuple):
    """A figure that can be told by group: the measure that describes it, and what gives it of some rows.

    ``of`` gives the reason where it cannot be taken at all, and None where it does not apply.
    """

    measure: Callable[[], Measure]
    of: Callable[[MeasureContext], OfRows | Estimate | None]


def _identified(context: MeasureContext) -> OfRows:
    """The share of rows that are found, as :mod:`anon.evaluation.measures.retrieval` has it."""
    gallery = context.gallery
    found = retrieval_distances(
        context.z(ATTACKED), context.labels, gallery.averages, gallery.people, metric=gallery.metric
    )

    def of(rows: Tensor) -> Estimate:
        return context.bootstrap.below(found[rows], gallery.threshold, gallery.levels, context.labels[rows])

    return of


def _mean(context: MeasureContext, values: Tensor) -> OfRows:
    return lambda rows: context.known_mean(values[rows], labels=context.labels[rows])


def _distance(context: MeasureContext) -> OfRows | None:
    if context.unchanged:
        return None
    return _mean(context, distance(context.z(PUBLISHED), context.z(TARGET), context.metric))


def _ssim(context: MeasureContext) -> OfRows | None:
    return None if context.unchanged else _mean(context, context.compared("ssim", ssim))


def _pose(context: MeasureContext) -> OfRows | Estimate | None:
    after = read(context, PUBLISHED).get("pose")
    if after is None:
        return unread(context, "pose")
    goal = context.truth().get("pose")
    if goal is None or goal.shape != after.shape:
        if context.unchanged:
            return Estimate.absent("n/a (no ground truth)")
        goal = read(context, TARGET)["pose"]
    return _mean(context, distances({"pose": after}, {"pose": goal})["pose"])


def _published(context: MeasureContext) -> OfRows | None:
    return _identified(context) if context.one.attack == NONE else None


def _attacked(context: MeasureContext) -> OfRows | None:
    return None if context.one.attack == NONE else _identified(context)


FIGURES: Mapping[str, Figure] = {
    "ID": Figure(Retrieval, _published),
    "RA": Figure(Attacked, _attacked),
    "target_distance": Figure(TargetDistance, _distance),
    "ssim": Figure(Picture, _ssim),
    "pose_error": Figure(Attributes, _pose),
}


class Groups:
    """The measure.

    Args:
        figures: some of :data:`FIGURES`.
        quantiles: where numbers are cut.
        least: people of a group.

    Raises:
        UserError: a figure that is none of them, or no quantiles between 0 and 1.
    """

    def __init__(
        self,
        figures: Sequence[str] = ("ID", "RA", "ssim", "pose_error"),
        quantiles: Sequence[float] = (1 / 3, 2 / 3),
        least: int = 10,
    ) -> None:
        odd = next((name for name in figures if name not in FIGURES), None)
        if odd is not None:
            near = get_close_matches(odd, FIGURES, 1)
            hint = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(FIGURES)}."
            raise UserError(f"suite.measures.groups.figures names '{odd}', which is not told by group; {hint}")
        self.figures, self.quantiles, self.least = tuple(figures), tuple(quantiles), least

    @property
    def metrics(self) -> Mapping[str, MetricInfo]:
        """What it gives."""
        found = {"groups": MetricInfo("groups", "privacy")}  # only ever absent: the data says nothing of its pictures
        for name in self.figures:
            info = replace(FIGURES[name].measure().metrics[name], identifies=False)
            found[f"{name}:<group>"] = replace(info, title=f"{info.title} of <group>")
            share = (info.low, info.high) == (0.0, 1.0)
            found[f"{name}_gap:<label>"] = replace(
                info,
                title=f"gap of {info.title} over <label>",
                higher_is_better=False,
                low=0.0 if share else None,  # of the gap, which is no difference's sign; its interval may hold 0
                high=1.0 if share else None,
            )
        return found

    def __call__(self, context: MeasureContext) -> dict[str, Estimate]:
        """The figures of every group and the gaps; why not, where the data has no labels."""
        if not context.annotations:
            return {"groups": Estimate.absent("n/a (the data has no labels: data.labels=<csv>)")}
        found: dict[str, Estimate] = {}
        for name in self.figures:
            of = FIGURES[name].of(context)
            for label, values in context.annotations.items() if of is not None else ():
                gap = f"{name}_gap:{label}"
                if isinstance(of, Estimate):
                    found[gap] = of
                    continue
                assert of is not None
                chosen = groups(values, self.quantiles)
                own = {group: self._group(context, rows[context.rows], of) for group, rows in chosen.items()}
                found |= {f"{name}:{label}={group}": figure for group, (figure, _) in own.items()}
                found[gap] = gap_of(list(own.values()), self.least)
        return found

    def _group(self, context: MeasureContext, rows: Tensor, of: OfRows) -> tuple[Estimate, int]:
        """The figure of a group, and how many people it has."""
        people = len(context.labels[rows].unique())
        if people < self.least:
            return Estimate.absent(f"n/a ({people} people, fewer than {self.least})"), people
        return of(rows), people


def gap_of(figures: Sequence[tuple[Estimate, int]], least: int) -> Estimate:
    """The largest difference between two groups' figures, with the interval of these two among all pairs.

    Args:
        figures: of the groups of a label, with the people's own values or the resamples', and how many people each has.
        least: people of a group, for the reason where there are no two.
    """
    known = [(figure, people) for figure, people in figures if figure.value is not None]
    if len(known) < 2:
        return Estimate.absent(f"n/a (fewer than two groups of {least} people)")
    (low, of_low), *_, (high, of_high) = sorted(known, key=lambda each: each[0].number)
    tail = TAIL / math.comb(len(known), 2)
    value, n = high.number - low.number, high.n + low.n
    if high.each is not None and low.each is not None:
        (above, highest), (lowest, below) = _ends(high, tail), _ends(low, tail)
        start = value - math.hypot(high.number - above, below - low.number)
        end = value + math.hypot(highest - high.number, low.number - lowest)
        return Estimate(value, max(start, -1.0), min(end, 1.0), n=n)
    if high.draws is None or low.draws is None:
        return Estimate(value, n=n)
    start, end = Bootstrap.interval(high.draws - low.draws, min(of_high, of_low), tail)
    return Estimate(value, min(start, value), max(end, value), n=n)


def _ends(share: Estimate, tail: float) -> tuple[float, float]:
    """The interval of a group's share that leaves ``tail`` beyond each end; it holds the share."""
    assert share.each is not None
    low, high = share_ends(share.each[:, share.each.isfinite().all(0)], tail)
    return min(low, share.number), max(high, share.number)
