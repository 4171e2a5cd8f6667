"""What runs differ in, as tables with a column a run: settings, versions, metrics, figures of evaluations.

Decided here once for the page, the Markdown and the CSV.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from anon.evaluation.compare.directions import Better
from anon.evaluation.compare.runs import MEASURED, Run, Series, apart, of_task
from anon.evaluation.document import Document, Line, Recognizer
from anon.evaluation.estimates import Estimate
from anon.evaluation.metric_info import ARROWS, MetricInfo
from anon.evaluation.report.sheet import UNCHANGED, Cell, best_printed

ABSENT = "-"
FOLDED = 25  # rows that a table shows; a longer one is folded
OTHER = "†"  # measured on other faces than the first run


@dataclass(frozen=True)
class Grid:
    """A table: rows of a label and a cell for each column. ``about`` stands above it, ``notes`` below."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    about: str = ""
    notes: tuple[str, ...] = ()
    folded: bool = False
    figures: bool = False  # numbers, which stand to the right


def overview(runs: Sequence[Run]) -> Grid:
    """A line a run: what it is, how far it came, how long it took."""
    rows = []
    for run in runs:
        steps = f"{run.steps:,}" if run.metrics else ABSENT
        commit = run.commit[:12] + "+" * run.commit.endswith("+") or ABSENT
        cells = (run.state, steps, _duration(run), run.task, run.experiment or ABSENT, _date(run.started), commit)
        rows.append((run.name, tuple(map(Cell, cells))))
    head = ("state", "steps", "duration", "task", "experiment", "started", "commit")
    notes = ("A commit with + had changes beside it.",) if any(run.commit.endswith("+") for run in runs) else ()
    return Grid("Runs", head, tuple(rows), notes=notes)


def folders(runs: Sequence[Run]) -> Grid:
    """Where the runs lie."""
    return Grid("Folders", ("",), tuple((run.name, (Cell(str(run.folder)),)) for run in runs), folded=True)


def settings(runs: Sequence[Run], title: str = "Settings that differ") -> Grid:
    """The keys of config.yaml whose values differ.

    A key that ends like a shorter one and has the same values is not shown: ``model.steps`` is ``${steps}``.
    """
    known = [run for run in runs if run.config is not None]
    configs = [run.config for run in known if run.config is not None]
    values: dict[str, tuple[str, ...]] = {}
    for key in dict.fromkeys(key for config in configs for key in config):
        row = tuple(config.get(key, ABSENT) for config in configs)
        if len(set(row)) > 1:
            values[key] = row
    kept: set[str] = set()
    for key in sorted(values, key=lambda key: key.count(".")):
        ends = (key[at + 1 :] for at, letter in enumerate(key) if letter == ".")
        if not any(end in kept and values[end] == values[key] for end in ends):
            kept.add(key)
    rows = tuple((key, tuple(map(Cell, values[key]))) for key in values if key in kept)
    unknown = [run.name for run in runs if run.config is None]
    notes = (f"Without a readable config.yaml: {', '.join(unknown)}.",) if unknown else ()
    same = "" if rows or len(known) < 2 else "All settings are the same."
    return Grid(title, tuple(run.name for run in known), rows, same, notes, len(rows) > FOLDED)


def versions(runs: Sequence[Run]) -> Grid:
    """Packages, interpreter, machine and commit, where they differ."""
    known = [run for run in runs if run.versions or run.commit]
    told = [{**run.versions, "commit": run.commit} for run in known]
    names = dict.fromkeys(name for one in told for name in one)
    rows = []
    for name in names:
        row = [one.get(name) or ABSENT for one in told]
        if len(set(row)) > 1:
            rows.append((name, tuple(map(Cell, row))))
    unknown = [run.name for run in runs if run not in known]
    notes = (f"Unknown of: {', '.join(unknown)}.",) if unknown else ()
    same = "" if rows or len(known) < 2 else "Commit, packages and platform are the same."
    return Grid("Versions that differ", tuple(run.name for run in known), tuple(rows), same, notes)


def metrics(runs: Sequence[Run], better: Better) -> list[Grid]:
    """Last and best value of every metric of the trainings: what was validated, then the rest, folded."""
    runs = [run for run in of_task(runs, "train") if run.metrics]
    losses = {name for run in runs for name in run.losses}
    names = list(dict.fromkeys(name for run in runs for name in run.metrics))
    head = tuple(run.name for run in runs)
    grids = []
    for title, chosen in (
        ("Validation", [name for name in names if name.startswith("val/")]),
        ("Training", [name for name in names if not name.startswith("val/")]),
    ):
        rows = []
        for name in chosen:
            higher = better.higher_is_better(name, losses)
            cells = [_metric(run.metrics.get(name), higher) for run in runs]
            parts = (*MEASURED, "objective") if name.startswith("train/") else MEASURED
            alike = not apart(runs, parts)
            best = _best([_last(run.metrics.get(name)) for run in runs], higher) if alike else set()
            cells = [replace(cell, best=at in best) for at, cell in enumerate(cells)]
            rows.append((f"{name}{ARROWS[higher]}", tuple(cells)))
        if rows:
            about = "The last value; below it the best with its step, or the range where neither way is better."
            differing = apart(runs, (*MEASURED, "objective") if title == "Training" else MEASURED)
            notes = (f"No best is marked: the runs differ in their {' and '.join(differing)}.",) if differing else ()
            grids.append(
                Grid(f"{title}: last and best", head, tuple(rows), about, notes, title == "Training", figures=True)
            )
    return grids


def evaluations(runs: Sequence[Run]) -> list[Grid]:
    """The figures of the evaluations side by side, a table a metric, and how each run measured."""
    done = [(run, run.document) for run in of_task(runs, "evaluate") if run.document is not None]
    if not done:
        return []
    head = tuple(run.name for run, _ in done)
    documents = [document for _, document in done]
    places = dict.fromkeys(place(line) for document in documents for line in document.lines)
    lines = [{place(line): line for line in reversed(document.lines)} for document in documents]
    datasets = {key[0] for key in places}
    titles, shown, infos = _titles(documents)
    strange = {data: [unlike(document, documents[0], data) for document in documents] for data in datasets}
    grids = []
    for metric in titles:
        rows, differs, other, anywhere = [], False, False, False
        higher = infos[metric].higher_is_better
        best = [_best_lines(own, metric, higher) for own in lines]
        for key in _ranked(places, lines, metric, higher):
            figures = [_figure(own.get(key), metric) for own in lines]
            if all(figure is None for figure in figures):
                continue
            anywhere = anywhere or any(figure and figure.value is not None for figure in figures)
            cells = []
            for at, figure in enumerate(figures):
                both = all(one is not None and one.value is not None for one in (figures[0], figure))
                odd = both and bool(strange[key[0]][at])
                mark = both and not odd and significant(figures[0], figure)
                differs, other = differs or mark, other or odd
                cells.append(replace(_cell(figure, mark, odd), best=key in best[at]))
            line = next(own[key] for own in lines if key in own)
            rows.append((f"{line.label}, {line.data}" if len(datasets) > 1 else line.label, tuple(cells)))
        notes = [_BEST] if any(cell.best for _, own in rows for cell in own) else []
        notes += [f"* differs from {head[0]} on the same faces: {_RULE}"] if differs else []
        notes += [f"{OTHER} measured unlike {head[0]}, see above; no mark is given."] if other else []
        if anywhere:
            grids.append(
                Grid(titles[metric], head, tuple(rows), notes=tuple(notes), folded=metric not in shown, figures=True)
            )
    return [_conditions(head, documents, strange), *sorted(grids, key=lambda grid: grid.folded)]


def _ranked(
    places: Iterable[tuple[str, ...]],
    lines: Sequence[Mapping[tuple[str, ...], Line]],
    metric: str,
    higher: bool | None,
) -> list[tuple[str, ...]]:
    """The best by the first run first; as they came where neither way is better. Unchanged faces come last."""

    def rank(key: tuple[str, ...]) -> tuple[bool, bool, float]:
        figures = [_figure(own.get(key), metric) for own in lines]
        value = next((figure.value for figure in figures if figure and figure.value is not None), None)
        return key[2] in UNCHANGED, value is None, (value or 0.0) * (-1 if higher else 1)

    return list(places) if higher is None else sorted(places, key=rank)


def _best_lines(own: Mapping[tuple[str, ...], Line], metric: str, higher: bool | None) -> set[tuple[str, ...]]:
    """The best of one run, by one judge, among lines of the same data, defense, attack and input; no sweep has one."""
    groups: dict[tuple[str, ...], dict[tuple[str, ...], Estimate | None]] = {}
    for key, line in own.items():
        if key[2] not in UNCHANGED and line.dial is None:
            groups.setdefault((*key[:2], *key[4:7]), {})[key] = _figure(line, metric)
    found: set[tuple[str, ...]] = set()
    for figures in groups.values():
        best = best_printed(figures.values(), higher)
        found |= {key for key, figure in figures.items() if figure and figure.text().partition(" ")[0] in best}
    return found


_BEST = "Bold: the best of a run, by one judge and on the same faces; runs are not ranked against each other."
_RULE = (
    "the 95 % interval of the difference, made of the two intervals (Zou and Donner, Statistics in Medicine 2008), "
    "leaves 0 out. It takes the runs for independent, so on the same faces it marks too few rather than too many."
)


def significant(first: Estimate | None, second: Estimate | None) -> bool:
    """Whether two figures differ, by the interval of their difference made of their own intervals.

    ``d - sqrt((b - b_low)² + (a_high - a)²)`` to ``d + sqrt((b_high - b)² + (a - a_low)²)`` with ``d = b - a``, which
    holds for independent samples and is too wide for positively correlated ones, such as two methods on the same faces.
    Zou and Donner, Construction of confidence limits about effect measures, Statistics in Medicine 27, 2008.

    >>> significant(Estimate(0.5, 0.4, 0.6), Estimate(0.65, 0.55, 0.75))  # 0.15 ± 0.141
    True
    >>> significant(Estimate(0.5, 0.4, 0.6), Estimate(0.64, 0.54, 0.74))  # 0.14 ± 0.141
    False
    """
    ends = [None if one is None else (one.value, one.low, one.high) for one in (first, second)]
    if any(one is None or None in one for one in ends):
        return False
    (a, a_low, a_high), (b, b_low, b_high) = ends  # type: ignore[misc]
    low = b - a - math.hypot(b - b_low, a_high - a)  # type: ignore[operator, arg-type]
    high = b - a + math.hypot(b_high - b, a - a_low)  # type: ignore[operator, arg-type]
    return low > 0 or high < 0


def place(line: Line) -> tuple[str, ...]:
    """What two lines must share to be the same measurement of two runs."""
    own = (line.data, line.split, line.method, line.policy, line.defense, line.attack, line.input)
    return (*own, "" if line.dial is None else f"{line.dial:g}")


def unlike(document: Document, first: Document, data: str) -> str:
    """Why two documents' figures of a data set are not of the same faces by the same measure; empty: they are."""
    reasons = {
        "seed": document.seed == first.seed,
        "people": document.people.get(data) == first.people.get(data),
        "judge": _is_one(document.judges.get(data), first.judges.get(data)),
    }
    return ", ".join(f"other {name}" for name, same in reasons.items() if not same)


def _is_one(judge: Recognizer | None, other: Recognizer | None) -> bool:
    """Whether two judges are alike in what both documents know of them: older ones kept no fingerprint."""
    if judge is None or other is None or (judge.fingerprint is None) == (other.fingerprint is None):
        return judge == other
    one, two = (
        replace(each, fingerprint=None, threshold_levels=(), picture_threshold_levels=()) for each in (judge, other)
    )
    return one == two


def _conditions(head: tuple[str, ...], documents: Sequence[Document], strange: Mapping[str, Sequence[str]]) -> Grid:
    rows = [("seed", tuple(Cell(str(document.seed)) for document in documents))]
    for data in sorted(strange):
        judges = [document.judges.get(data) for document in documents]
        people = [document.people.get(data) for document in documents]
        facts = {
            "judge": [f"{judge.name}, threshold {judge.threshold:.4g}" if judge else ABSENT for judge in judges],
            "people": [f"{who.identities:,}, {who.probes:,} probes" if who else ABSENT for who in people],
            "against the first": [_against(at, of, documents, data) for at, of in enumerate(strange[data])],
        }
        rows += [(f"{data}: {name}", tuple(map(Cell, told))) for name, told in facts.items()]
    return Grid("Evaluations: how they were measured", head, tuple(rows))


def _against(at: int, reasons: str, documents: Sequence[Document], data: str) -> str:
    both = data in documents[0].people and data in documents[at].people
    return (reasons or "same faces") if at and both else ABSENT


def _titles(documents: Sequence[Document]) -> tuple[dict[str, str], set[str], dict[str, MetricInfo]]:
    """Metrics in the order of the tables' columns, then the rest, with their titles.

    Further: those that are columns, and what they say of themselves.
    """
    columns = [column for document in documents for table in document.tables for column in table.columns]
    shown = dict.fromkeys(column.metric for column in columns)
    every = [metric for document in documents for line in document.lines for metric in line.metrics]
    infos: dict[str, MetricInfo] = {}
    for document in documents:
        infos = {**document.metrics, **infos}  # of documents of several versions the first says it
    titles = {metric: f"{infos[metric].heading}{infos[metric].arrow}" for metric in [*shown, *every]}
    return titles, set(shown), infos


def _figure(line: Line | None, metric: str) -> Estimate | None:
    if line is None:
        return None
    return line.metrics.get(metric)


def _cell(figure: Estimate | None, differs: bool, odd: bool) -> Cell:
    if figure is None:
        return Cell(ABSENT)
    value, _, interval = figure.text().partition(" ") if figure.value is not None else (figure.text(), "", "")
    return Cell(value, interval, differs=differs, note=OTHER if odd else "", n=figure.n, full=_full(figure.value))


def _metric(series: Series | None, higher: bool | None) -> Cell:
    known = finite(series)
    if series is None:
        return Cell(ABSENT)
    last, full = number(series.values[-1]), _full(series.values[-1])
    if not known:
        return Cell(last)
    if higher is None:
        low, high = (number(ends(value for _, value in known)) for ends in (min, max))
        return Cell(last, f"{low} to {high}" if low != high else "", full=full)
    step, value = extreme(known, higher)
    return Cell(last, f"{number(value)} at {step:,}", full=full)


def _full(value: float | None) -> str:
    return "" if value is None else repr(float(value))


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


def _last(series: Series | None) -> float | None:
    return series.values[-1] if series is not None and math.isfinite(series.values[-1]) else None


def _best(values: Sequence[float | None], higher: bool | None) -> set[int]:
    """Columns with the best printed value; none where all are alike or one stands alone."""
    known = [value for value in values if value is not None]
    if higher is None or len({number(value) for value in known}) < 2:
        return set()
    best = number(max(known) if higher else min(known))
    return {at for at, value in enumerate(values) if value is not None and number(value) == best}


def _duration(run: Run) -> str:
    if run.seconds is None:
        return ABSENT
    minutes, seconds = divmod(round(run.seconds), 60)
    hours, minutes = divmod(minutes, 60)
    clock = f"{hours}:{minutes:02d}:{seconds:02d}"
    return f"{clock} since resumed" if run.resumed else clock


def _date(started: float | None) -> str:
    return ABSENT if started is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(started))
