"""The figures of evaluations side by side, a table a metric, and how each run measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from anon.evaluation.compare.runs import Run, of_task
from anon.evaluation.compare.tables import ABSENT, Grid
from anon.evaluation.document import Document, Line, Recognizer
from anon.evaluation.document.estimates import Estimate, known, significant
from anon.evaluation.document.metric_info import MetricInfo
from anon.evaluation.report.sheet import UNCHANGED, Cell, best_printed

OTHER = "†"  # measured on other faces than the first run
_BEST = "Bold: the best of a run, by one judge and on the same faces; runs are not ranked against each other."
_RULE = (
    "the 95 % interval of the difference, made of the two intervals (Zou and Donner, Statistics in Medicine 2008), "
    "leaves 0 out. It takes the runs for independent, so on the same faces it marks too few rather than too many."
)

Place = tuple[str, ...]  # of a line, see :func:`place`


class _Run(NamedTuple):
    """An evaluation: its lines by place, and by data set why it was not measured like the first."""

    name: str
    document: Document
    lines: Mapping[Place, Line]
    strange: Mapping[str, str]


def evaluations(runs: Sequence[Run]) -> list[Grid]:
    """The figures of the evaluations side by side, a table a metric, and how each run measured."""
    documents = {run.name: run.document for run in of_task(runs, "evaluate") if run.document is not None}
    if not documents:
        return []
    first = next(iter(documents.values()))
    lines = {name: {place(line): line for line in reversed(one.lines)} for name, one in documents.items()}
    places = list(dict.fromkeys(place(line) for document in documents.values() for line in document.lines))
    datasets = sorted({key[0] for key in places})
    done = [
        _Run(name, document, lines[name], {data: unlike(document, first, data) for data in datasets})
        for name, document in documents.items()
    ]
    infos, shown = _described(list(documents.values()))
    grids = [_grid(done, places, metric, info, metric not in shown) for metric, info in infos.items()]
    return [_conditions(done, datasets), *sorted((grid for grid in grids if grid), key=lambda grid: grid.folded)]


def _grid(runs: Sequence[_Run], places: Sequence[Place], metric: str, info: MetricInfo, folded: bool) -> Grid | None:
    """The best by the first run first; as they came where neither way is better. Unchanged faces come last."""
    lines = {key: [run.lines.get(key) for run in runs] for key in places}
    figures = {key: [line.told.get(metric) if line else None for line in own] for key, own in lines.items()}
    if not any(known(figure) for own in figures.values() for figure in own):
        return None

    def rank(key: Place) -> tuple[bool, bool, float]:
        value = next((figure.number for figure in figures[key] if known(figure)), None)
        return key[2] in UNCHANGED, value is None, (value or 0.0) * (-1 if info.higher_is_better else 1)

    best = [_best({key: own[at] for key, own in figures.items()}, info.higher_is_better) for at in range(len(runs))]
    rows = []
    for key in places if info.higher_is_better is None else sorted(places, key=rank):
        first = figures[key][0]
        cells = [_cell(first, figure, run.strange[key[0]]) for figure, run in zip(figures[key], runs, strict=True)]
        cells = [replace(cell, best=key in places) for cell, places in zip(cells, best, strict=True)]
        label = next(line.label for line in lines[key] if line)
        if any(figure is not None for figure in figures[key]):
            rows.append((f"{label}, {key[0]}" if len(runs[0].strange) > 1 else label, tuple(cells)))
    every = [cell for _, cells in rows for cell in cells]
    told = {
        _BEST: any(cell.best for cell in every),
        f"* differs from {runs[0].name} on the same faces: {_RULE}": any(cell.differs for cell in every),
        f"{OTHER} measured unlike {runs[0].name}, see above; no mark is given.": any(cell.note for cell in every),
    }
    notes = tuple(note for note, needed in told.items() if needed)
    head = tuple(run.name for run in runs)
    return Grid(f"{info.heading}{info.arrow}", head, tuple(rows), notes=notes, folded=folded, figures=True)


def _cell(first: Estimate | None, figure: Estimate | None, strange: str) -> Cell:
    if figure is None:
        return Cell(ABSENT)
    if not known(figure):
        return Cell(figure.text(), n=figure.n)
    note = OTHER if strange and known(first) else ""
    differs = not note and significant(first, figure)
    return Cell(*figure.printed, differs=differs, note=note, n=figure.n, full=repr(float(figure.number)))


def _best(figures: Mapping[Place, Estimate | None], higher: bool | None) -> set[Place]:
    """The best of one run, by one judge, among lines of the same data, defense, attack and input; no sweep has one."""
    groups: dict[Place, dict[Place, Estimate]] = {}
    for key, figure in figures.items():
        if known(figure) and key[2] not in UNCHANGED and not key[7]:
            groups.setdefault((*key[:2], *key[4:7]), {})[key] = figure
    found: set[Place] = set()
    for own in groups.values():
        best = best_printed(own.values(), higher)
        found |= {key for key, figure in own.items() if figure.printed[0] in best}
    return found


def place(line: Line) -> Place:
    """What two lines must share to be the same measurement of two runs."""
    return (*line.place[:-1], "" if line.dial is None else f"{line.dial:g}")


def unlike(document: Document, first: Document, data: str) -> str:
    """Why two documents' figures of a data set are not of the same faces by the same measure; empty: they are."""
    panels = [[each.fingerprint for each in one.panel.get(data, ())] for one in (document, first)]
    reasons = {
        "seed": document.seed == first.seed,
        "people": document.people.get(data) == first.people.get(data),
        "judge": _is_one(document.judges.get(data), first.judges.get(data)) and panels[0] == panels[1],
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


def _judges(document: Document, data: str) -> Sequence[Recognizer]:
    judge = document.judges.get(data)
    return document.panel.get(data) or ([judge] if judge else [])


def _told(judge: Recognizer) -> str:
    return f"{judge.name}, threshold {judge.threshold:.4g}"


def _conditions(runs: Sequence[_Run], datasets: Sequence[str]) -> Grid:
    rows = [("seed", tuple(Cell(str(run.document.seed)) for run in runs))]
    for data in datasets:
        judges = [_judges(run.document, data) for run in runs]
        people = [run.document.people.get(data) for run in runs]
        against = [
            run.strange[data] or "same faces" if who and people[0] else ABSENT
            for run, who in zip(runs, people, strict=True)
        ]
        facts = {
            "judge": ["; ".join(map(_told, some)) or ABSENT for some in judges],
            "people": [f"{who.identities:,}, {who.probes:,} probes" if who else ABSENT for who in people],
            "against the first": [ABSENT, *against[1:]],
        }
        rows += [(f"{data}: {name}", tuple(map(Cell, told))) for name, told in facts.items()]
    return Grid("Evaluations: how they were measured", tuple(run.name for run in runs), tuple(rows))


def _described(documents: Sequence[Document]) -> tuple[dict[str, MetricInfo], set[str]]:
    """The metrics in the order of the tables' columns, then the rest; of several versions the first says what it is.

    Further: those that are columns.
    """
    columns = [column.metric for document in documents for table in document.tables for column in table.columns]
    every = [metric for document in documents for line in document.lines for metric in line.told]
    infos: dict[str, MetricInfo] = {}
    for document in reversed(documents):
        infos |= document.told
    return {metric: infos[metric] for metric in [*columns, *every]}, set(columns)
