"""What a metric says of itself: title, unit, direction, kind and range, once, beside the measure that gives it.

Tables, plots, reports and comparisons read it from the document (:mod:`anon.evaluation.document`); nothing is guessed
from a metric's name. Directions are from the side of who anonymizes: that a person is found again is bad.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from anon.errors import UserError

Kind = Literal["privacy", "utility", "quality", "cost"]

ARROWS = {True: " ↑", False: " ↓", None: ""}  # by ``higher_is_better``, as they stand behind a title
_PLACEHOLDER = re.compile(r"<\w+>")
FORM = "MetricInfo('<title>', '<privacy, utility, quality or cost>', higher_is_better=<True, False or None>)"


@dataclass(frozen=True)
class MetricInfo:
    """A metric's description.

    Args:
        title: as tables head it, without unit and arrow; no two metrics of this package share one.
        kind: ``privacy`` (who is seen), ``utility`` (what stays of the face), ``quality`` (how the picture looks),
            ``cost`` (what it takes: time, memory). None: unknown, as of some metrics in older results.
        higher_is_better: torchmetrics' word; None: neither way is better by itself.
        unit: such as ``°``, ``px``, ``dB``, ``years``; empty for shares and other plain numbers.
        low, high: the values lie between them; None: open.
        identifies: a share of the probes that somebody names rightly at a threshold of his own (open-set
            identification): the privacy of the trade-off plots is the largest of these.
        judged: the judge measures it, so each of a panel's judges has its own; None: what is ``privacy`` is.
        mean_of: the metric whose mean over the judges of a panel this is; one judge alone has none.
        whole: it is a count, and printed as one.
    """

    title: str
    kind: Kind | None
    higher_is_better: bool | None = None
    unit: str = ""
    low: float | None = None
    high: float | None = None
    identifies: bool = False
    judged: bool | None = None
    mean_of: str | None = None
    whole: bool = False

    @property
    def by_judge(self) -> bool:
        """Whether each judge has a figure of its own."""
        return self.kind == "privacy" if self.judged is None else self.judged

    @property
    def has_worst(self) -> bool:
        """Whether one of several judges' figures is the worst: shares, but no distances, for each has its own scale.

        >>> share("ID", "privacy", False).has_worst, MetricInfo("distance", "privacy", True, low=0.0).has_worst
        (True, False)
        """
        return self.by_judge and self.higher_is_better is not None and (self.low, self.high) == (0.0, 1.0)

    @property
    def heading(self) -> str:
        """Title and unit.

        >>> MetricInfo("pose error", "utility", higher_is_better=False, unit="°").heading
        'pose error °'
        """
        return f"{self.title} {self.unit}".rstrip()

    @property
    def arrow(self) -> str:
        """Which way is better, as it stands behind a heading."""
        return ARROWS[self.higher_is_better]


def share(
    title: str, kind: Kind, higher_is_better: bool | None, identifies: bool = False, judged: bool | None = None
) -> MetricInfo:
    """Of a share of faces, people or pairs, in [0, 1]."""
    return MetricInfo(title, kind, higher_is_better, low=0.0, high=1.0, identifies=identifies, judged=judged)


def info_of(metrics: Mapping[str, MetricInfo], name: str) -> MetricInfo | None:
    """The description of a figure; None where there is none.

    A name and its title may hold one part in angle brackets that only the run knows, such as a detector's name.

    >>> info_of({"detected_<detector>": share("detected by <detector>", "utility", True)}, "detected_yunet").title
    'detected by yunet'
    """
    if name in metrics:
        return metrics[name]
    for pattern, info in metrics.items():
        place = _PLACEHOLDER.search(pattern)
        named = place and re.fullmatch("(.+)".join(map(re.escape, pattern.split(place[0], 1))), name, re.DOTALL)
        if place and named:
            return replace(info, title=info.title.replace(place[0], named[1]))
    return None


def metrics_of(measure: object, who: str) -> Mapping[str, MetricInfo]:
    """The descriptions that a measure brings as its attribute ``metrics``.

    Args:
        who: of whom the sentence speaks, such as ``suite.measures.mine``.

    Raises:
        UserError: it has none, or something else stands there.
    """
    found = getattr(measure, "metrics", None)
    if (
        not isinstance(found, Mapping)
        or not found
        or not all(isinstance(name, str) and isinstance(info, MetricInfo) for name, info in found.items())
    ):
        raise UserError(
            f"{who} does not describe its figures; give it metrics = {{'<figure>': {FORM}}}, "
            "from anon.evaluation.document.metric_info."
        )
    return found


def check_described(figures: Iterable[str], metrics: Mapping[str, MetricInfo], who: str) -> None:
    """See that a measure describes what it gives.

    Raises:
        UserError: not this figure.
    """
    for name in figures:
        if info_of(metrics, name) is None:
            raise UserError(f"{who} gives '{name}', which its metrics do not describe; add '{name}': {FORM}.")
