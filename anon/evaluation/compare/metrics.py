"""The metrics of trainings side by side, and which way each is better.

A training leaves no document that describes its metrics, only their names in metrics.csv, so what this package's own
Lightning modules log is listed here, by its whole name.

Losses are known from the run's configuration (``objective.terms``). All other metrics, also of one's own modules, go
neither way until the user says it (``--lower``, ``--higher``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from anon.evaluation.compare.runs import MEASURED, Run, Series, apart, of_task
from anon.evaluation.compare.tables import ABSENT, Grid
from anon.evaluation.document.estimates import Estimate
from anon.evaluation.document.metric_info import ARROWS
from anon.evaluation.report.sheet import Cell, best_printed
from anon.metrics.attributes import AttributeErrors

#: ``higher_is_better`` of what :mod:`anon.training` logs.
LOGGED: dict[str, bool] = {
    "train/loss": False,
    "train/images_per_s": True,
    **dict.fromkeys(("train/accuracy", "val/accuracy", "val/macro_recall", "val/macro_F1"), True),
    **dict.fromkeys(("val/valence_CCC", "val/arousal_CCC"), True),
    **dict.fromkeys(("val/valence_RMSE", "val/arousal_RMSE"), False),
    # recognizers: a good judge errs little, whatever an anonymizer would like
    **{"val/eer": False, "val/tar": True, "val/top1": True},
    # regressors of attributes; their losses are logged under the attributes' names
    **{
        f"{split}/{name}": AttributeErrors.higher_is_better
        for split in ("train", "val")
        for name in ("pose", "expression", "gaze", "landmarks")
    },
    # generators: swaps reach the person who is put on; what their other cosines shall be depends on `steers`
    **{"train/swap_raw": True, "train/swap_blended": True, "val/cos_swap": True, "val/l1": False},
    # reconstruction: the attacker's side
    **{"val/cos_found": True, "val/l1_found": False},
}


@dataclass(frozen=True)
class Better:
    """Metrics of which the user said which way is better."""

    lower: frozenset[str] = field(default_factory=frozenset)
    higher: frozenset[str] = field(default_factory=frozenset)

    def higher_is_better(self, name: str, losses: Iterable[str] = ()) -> bool | None:
        """As torchmetrics has it; None: neither. ``losses``: names of the objective's terms.

        >>> Better().higher_is_better("val/cos_swap"), Better().higher_is_better("train/pixel", ["pixel"])
        (True, False)
        """
        if name in self.lower or name in self.higher:
            return name in self.higher
        if name in LOGGED:
            return LOGGED[name]
        return False if name in {f"train/{loss}" for loss in losses} else None


def metrics(runs: Sequence[Run], better: Better) -> list[Grid]:
    """Last and best value of every metric of the trainings: what was validated, then the rest, folded."""
    runs = [run for run in of_task(runs, "train") if run.metrics]
    losses = {name for run in runs for name in run.losses}
    names = list(dict.fromkeys(name for run in runs for name in run.metrics))
    measured, trained = apart(runs, MEASURED), apart(runs, (*MEASURED, "objective"))
    about = "The last value; below it the best with its step, or the range where neither way is better."
    grids = []
    for title, validated, differing in (("Validation", True, measured), ("Training", False, trained)):
        rows = []
        for name in (name for name in names if name.startswith("val/") is validated):
            higher = better.higher_is_better(name, losses)
            found = [run.metrics.get(name) for run in runs]
            cells = [_cell(series, higher) for series in found]
            last = [Estimate(series.values[-1]) for series in found if series and math.isfinite(series.values[-1])]
            alike = not (trained if name.startswith("train/") else measured)
            best = best_printed(last, higher if alike else None, number)
            rows.append((f"{name}{ARROWS[higher]}", tuple(replace(cell, best=cell.value in best) for cell in cells)))
        if rows:
            head = tuple(run.name for run in runs)
            notes = (f"No best is marked: the runs differ in their {' and '.join(differing)}.",) if differing else ()
            grids.append(Grid(f"{title}: last and best", head, tuple(rows), about, notes, not validated, figures=True))
    return grids


def _cell(series: Series | None, higher: bool | None) -> Cell:
    if series is None:
        return Cell(ABSENT)
    known, last = finite(series), series.values[-1]
    if not known:
        return Cell(number(last))
    if higher is None:
        low, high = (number(extreme(known, highest)[1]) for highest in (False, True))
        return Cell(number(last), f"{low} to {high}" if low != high else "", full=repr(last))
    step, value = extreme(known, higher)
    return Cell(number(last), f"{number(value)} at {step:,}", full=repr(last))


def extreme(known: Sequence[tuple[int, float]], highest: bool) -> tuple[int, float]:
    """Step and value of the lowest or highest; the first of equals."""
    return (max if highest else min)(known, key=lambda point: point[1])


def finite(series: Series | None) -> list[tuple[int, float]]:
    """Steps and values without those that are not finite."""
    if series is None:
        return []
    return [point for point in zip(series.steps, series.values, strict=True) if math.isfinite(point[1])]


def number(value: float) -> str:
    """Four digits; of large numbers all that stand before the point.

    >>> number(0.123456), number(1234567.0), number(3e20), number(float("nan"))
    ('0.1235', '1,234,567', '3e+20', 'nan')
    """
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"
