"""A finished evaluation as one document: what results.json (schema 3) holds, and the report and its tables are made of.

The document is plain data: it is written as JSON and read back to the same value, and whatever is printed, drawn or
sent to W&B comes from it alone, so a report can be made again, or of another machine's results.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from anon.errors import UserError
from anon.evaluation.document.estimates import Estimate, finite
from anon.evaluation.document.metric_info import MetricInfo
from anon.evaluation.document.recognizer import Correlation, Recognizer
from anon.evaluation.document.typed import typed
from anon.plain import MAX_JSON, parse_json, read_text

SCHEMA = 3
PLACE = ("data", "split", "method", "policy", "defense", "attack", "input", "dial")  # of a line among the others
_HALVES = re.compile("[\ud800-\udfff]")  # of letters, which no file in UTF-8 holds: their numbers stand there


def by(name: str, judge: str) -> str:
    """A figure's name or title, of one judge of a panel."""
    return f"{name} by {judge}"


@dataclass(frozen=True)
class Line:
    """One combination that was evaluated, and its figures by name.

    ``input``: what was done to the pictures before they were anonymized (``clean``: nothing). ``dial``: the setting of
    the method's dial, where it was swept. ``needs``: why it could not be evaluated, with the command that changes that;
    then there are no figures. ``learned``: whom the attack learned, where it was not just this.

    Of a panel of judges ``by_judge`` has the own figures of each by the judge's name, and ``metrics`` the worst of them
    where they can be compared (:attr:`anon.evaluation.document.metric_info.MetricInfo.has_worst`), else the first
    judge's. ``worst``: whose figure that is, by metric. ``lost``: why a judge has none here, so that the worst is over
    the others.
    """

    data: str
    method: str
    policy: str = "none"
    defense: str = "none"
    attack: str = "none"
    input: str = "clean"
    dial: float | None = None
    split: str = "evaluation"
    metrics: dict[str, Estimate] = field(default_factory=dict)
    needs: str | None = None
    learned: str | None = None
    by_judge: dict[str, dict[str, Estimate]] = field(default_factory=dict)
    worst: dict[str, str] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)

    @property
    def told(self) -> dict[str, Estimate]:
        """The figures, and each judge's own under ``ID by edgeface``."""
        own = {by(name, judge): figure for judge, each in self.by_judge.items() for name, figure in each.items()}
        return {**self.metrics, **own}

    @property
    def place(self) -> tuple[Any, ...]:
        """What tells it from the others: the values of :data:`PLACE`."""
        return tuple(getattr(self, name) for name in PLACE)

    @property
    def label(self) -> str:
        """``FIVA + ITM, uniform_noise, reconstruction``: what was done, without what was not."""
        policy = {"none": "", "plain": "", "negation": "", "dial": ""}.get(self.policy, f" + {_spelled(self.policy)}")
        attack = f"{self.attack} ({self.learned})" if self.learned and self.attack != "none" else self.attack
        parts = [f"{self.method}{policy}", *(part for part in (self.defense, attack) if part != "none")]
        if not (self.needs or "").startswith("needs "):  # else it is needed whatever the input and the dial
            parts += [self.input] if self.input != "clean" else []
            parts += [] if self.dial is None else [f"{self.dial:g}"]
        return ", ".join(parts)


@dataclass(frozen=True)
class Column:
    """A column of a table: a metric of :attr:`Document.metrics`.

    ``title``: its heading here; None: the metric's own title and unit. ``attack``: the figure is that of the line with
    this attack and otherwise the same; None: the line's own. ``judge``: it is this judge's, of a panel's; None: the
    worst of them.
    """

    metric: str
    title: str | None = None
    attack: str | None = None
    judge: str | None = None

    @property
    def name(self) -> str:
        """``ID``, ``RA (reconstruction)``, ``ID by edgeface``: what tells it from the table's other columns."""
        name = self.metric if self.attack is None else f"{self.metric} ({self.attack})"
        return name if self.judge is None else by(name, self.judge)


@dataclass(frozen=True)
class Table:
    """A table of the report: its lines by their place in :attr:`Document.lines`, in the order in which they are shown.

    ``published``: the name of the printed table (:mod:`anon.evaluation.published`) whose rows stand beside ours.
    ``dial``: what the lines' ``dial`` is, where the table is a sweep. ``matrix``: it is shown figure by figure, the
    attacks down and what they attack across.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    lines: tuple[int, ...]
    published: str | None = None
    dial: str | None = None
    about: str = ""
    matrix: bool = False


@dataclass(frozen=True)
class Difference:
    """A figure of one line minus that of another on the same faces, resampled together (paired).

    ``significant``: the 95 % interval leaves 0 out.
    """

    table: str
    metric: str
    line: int
    baseline: int
    figure: Estimate

    @property
    def significant(self) -> bool:
        low, high = self.figure.low, self.figure.high
        return low is not None and high is not None and (low > 0 or high < 0)


@dataclass(frozen=True)
class Curve:
    """A line of a plot: points (x, y) with an optional band, of one line of the document.

    ``plot``: ``errors`` (x: FAR, y: FRR, for ROC and DET) or ``temporal`` (x: frame, y: cosine distance to the clip's
    first frame, with its 95 % band).
    """

    plot: str
    label: str
    line: int
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


@dataclass(frozen=True)
class Histogram:
    """Densities of distances over common bins: ``edges`` (n + 1), ``densities`` (n) by what was compared."""

    label: str
    line: int
    edges: tuple[float, ...]
    densities: dict[str, tuple[float, ...]]
    threshold: float
    distance: str = "cosine distance"
    below: str = "the same person"  # what lies below the threshold counts as


@dataclass(frozen=True)
class People:
    """Who was evaluated: how many, and what chance would give.

    ``split``: ``everyone`` where all people of the data are evaluated. ``enrolment``: ``same`` where one picture of
    each is enrolled, and what becomes of the same picture probes. ``reference``: other data that calibrates and gives
    anchors.
    """

    name: str
    split: str
    identities: int
    probes: int
    gallery: int
    clips: int
    impostor_pairs: int
    synthetic: bool
    enrolment: str = "apart"
    reference: str | None = None

    @property
    def chance(self) -> float:
        """Rank-1 by guessing."""
        return 1.0 / self.gallery if self.gallery else math.nan


@dataclass(frozen=True)
class Document:
    """All of an evaluation.

    ``metrics``: descriptions of all metrics that lines and columns have, by name. ``judges`` and ``people`` are by the
    data set's name; of a panel ``judges`` has the first, ``panel`` all of them in order, ``correlations`` each two.
    ``pictures``: file names of the picture grids beside
    results.json, with what they show; empty where the faces belong to somebody and were not asked for.
    ``made``: date, duration and machine, the only part that differs between two runs of one evaluation.
    ``found``: what was found, in a sentence without its full stop; empty: the report ranks the methods. ``resampled``:
    what the intervals are over.
    """

    title: str
    seed: int
    lines: tuple[Line, ...]
    tables: tuple[Table, ...]
    judges: dict[str, Recognizer]
    people: dict[str, People]
    metrics: dict[str, MetricInfo] = field(default_factory=dict)
    differences: tuple[Difference, ...] = ()
    curves: tuple[Curve, ...] = ()
    histograms: tuple[Histogram, ...] = ()
    notes: tuple[str, ...] = ()
    pictures: dict[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    commit: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    made: dict[str, Any] = field(default_factory=dict)
    panel: dict[str, tuple[Recognizer, ...]] = field(default_factory=dict)
    correlations: tuple[Correlation, ...] = ()
    found: str = ""
    resampled: str = "identities"

    def info(self, column: Column) -> MetricInfo:
        """What the column's metric says of itself."""
        return self.metrics[column.metric]

    @property
    def told(self) -> dict[str, MetricInfo]:
        """The descriptions of what lines tell (:attr:`Line.told`)."""
        pairs = dict.fromkeys(
            (name, judge) for line in self.lines for judge, figures in line.by_judge.items() for name in figures
        )
        infos = {by(name, judge): (self.metrics[name], judge) for name, judge in pairs}
        own = {name: replace(info, title=by(info.title, judge)) for name, (info, judge) in infos.items()}
        return {**self.metrics, **own}

    def title_of(self, column: Column) -> str:
        """How the column is named: its own title, or the metric's with its unit."""
        title = self.info(column).heading if column.title is None else column.title
        return title if column.judge is None else by(title, column.judge)

    def heading(self, column: Column) -> str:
        """The same with the arrow that says which way is better."""
        return f"{self.title_of(column)}{self.info(column).arrow}"

    def figure(self, line: int, column: Column) -> Estimate | None:
        """What stands in a cell of a table; None where nobody measured it."""
        shown = self.line_of(line, column)
        if shown is None:
            return None
        if shown.needs and shown is not self.lines[line]:
            return Estimate.absent(shown.needs)
        if column.judge is None:
            return shown.metrics.get(column.metric)
        lost = shown.lost.get(column.judge)
        return Estimate.absent(lost) if lost else shown.by_judge.get(column.judge, {}).get(column.metric)

    def line_of(self, line: int, column: Column) -> Line | None:
        """The line whose figure a column shows: the own one, or the same with the column's attack; None: no such."""
        own = self.lines[line]
        if column.attack is None or column.attack == own.attack:
            return own
        place = replace(own, attack=column.attack).place
        return next((line for line in self.lines if line.place == place), None)


def as_json(document: Document) -> str:
    """results.json; a number that is not finite is null, with a reason.

    >>> made = Document("a", 0, (Line("faces", "FIVA", metrics={"ID": Estimate(float("nan"))}),), (), {}, {},
    ...                 {"ID": MetricInfo("ID", "privacy", higher_is_better=False)})
    >>> from_json(as_json(made)).lines[0].metrics["ID"]
    Estimate(value=None, low=None, high=None, reason='not finite', n=0)
    """
    content = asdict(document)
    for line in content["lines"]:
        for figures in (line["metrics"], *line["by_judge"].values()):
            figures |= {name: finite(figure) for name, figure in figures.items()}
    for difference in content["differences"]:
        difference["figure"] = finite(difference["figure"])
    text = json.dumps({"schema": SCHEMA, **content}, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    return _HALVES.sub(lambda half: "\\" + ascii(half[0])[1:-1], text)


def from_json(text: str, where: str | Path = "results.json") -> Document:
    """The document that :func:`as_json` wrote, or a version of this package with the schema before it.

    Raises:
        UserError: it is no results.json of this schema, or a part of it is not what stands there in one.
    """
    content = parse_json(text, f"'{where}'")
    try:
        schema = content.pop("schema", None) if isinstance(content, dict) else None
        if schema == 2:
            from anon.evaluation.document.schema_2 import upgraded  # it imports the measures, which import this module

            content = upgraded(content)
        elif schema != SCHEMA:
            raise ValueError("its schema is another")
        document: Document = typed(Document, content)
        _check_places(document)
        return document
    except (ValueError, RecursionError) as error:
        told = f"'{where}' is no results.json of schema {SCHEMA} ({error}); make it with evaluate.py."
        raise UserError(told) from error


def _check_places(document: Document) -> None:
    """Lines and metrics that parts refer to are there, and what belongs together is equally long.

    Raises:
        ValueError: which are not.
    """
    named = [(f"table {table.name}", line) for table in document.tables for line in table.lines]
    for what, parts in (("curve", document.curves), ("histogram", document.histograms)):
        named += [(f"{what} {part.label}", part.line) for part in parts]  # type: ignore[attr-defined]
    named += [("a difference", line) for part in document.differences for line in (part.line, part.baseline)]
    for what, line in named:
        if not 0 <= line < len(document.lines):
            raise ValueError(f"{what[:60]} shows line {line}, which there is none of")
    shown = {column.metric: f"table {table.name}" for table in document.tables for column in table.columns}
    for at, one in enumerate(document.lines):
        for figures in (one.metrics, *one.by_judge.values()):
            shown |= dict.fromkeys(figures, f"line {at}")
    for metric, what in shown.items():
        if metric not in document.metrics:
            raise ValueError(f"{what[:60]} has '{metric[:60]}', which no description is of")
    for curve in document.curves:
        if not curve.x or any(len(band) not in (0, len(curve.x)) for band in (curve.low, curve.high)):
            raise ValueError(f"curve {curve.label[:60]} has no points, or a band of another length")
        if len(curve.y) != len(curve.x) or len(curve.low) != len(curve.high):
            raise ValueError(f"curve {curve.label[:60]} has other numbers of x and y")
    for part in document.histograms:
        if any(len(density) + 1 != len(part.edges) for density in part.densities.values()) or not (
            len(part.edges) > 1 and all(a < b for a, b in itertools.pairwise(part.edges))
        ):
            raise ValueError(f"histogram {part.label[:60]} has bins that are none")


def read(path: str | Path) -> Document:
    """The document of a results.json, or of the folder that holds it.

    Raises:
        UserError: there is none, or it is of another schema.
    """
    path = Path(path).expanduser()
    file = path / "results.json" if path.is_dir() else path
    if not file.is_file():
        raise UserError(f"'{file}' cannot be read; give the folder of an evaluation.")
    return from_json(read_text(file, MAX_JSON), file)


def _spelled(policy: str) -> str:
    return {"itm": "ITM", "sampling": "Sampling", "source": "source"}.get(policy, policy)
