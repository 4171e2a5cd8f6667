"""Run folders read back, whole or broken: configuration, versions, metrics.csv, results.json, how long it took.

Nothing here raises for a folder that is damaged or half written; what is the matter with it is told in
:attr:`Run.problems`, and the rest of it is still compared.
"""

from __future__ import annotations

import csv
import glob
import io
import json
import math
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from anon.errors import UserError
from anon.evaluation.document import Document, read
from anon.plain import MAX_YAML, read_json, read_text, read_yaml

CONFIG, METRICS, RESULTS, VERSIONS = "config.yaml", "metrics.csv", "results.json", "versions.json"
LAST = Path("checkpoints") / "last.ckpt"
DIVERGED = "diverged_*.pt"  # what anon.training.callbacks.guards leaves of a training that diverged
LISTED = "runs.txt"  # in the folder of a multirun: its jobs' run folders, one a line
HERE = "<run>"  # stands for a run's own folder in its configuration
MOST_RUNS = 1_000
MAX_LINES = 4 * 1024**2  # bytes of command.txt and runs.txt
MAX_METRICS = 64 * 1024**2  # bytes of metrics.csv: a million steps, every tenth logged
MOST_COLUMNS, MOST_VALUES = 10_000, 5_000_000  # of metrics.csv
_MOST_STEPS = 2**53
MEASURED = ("encoder", "judge", "data")  # what the metrics of trainings are measured by and on
_SAME_FACES = ("data.batch_size", "data.workers", "data.cache")  # with other values the figures are the same

_STAMPED = re.compile(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d_(\S+)")  # <date>_<time>_<job id or short random>
_NO_SETTING = ("run.", "paths.runs")  # keys that say where a run lies


@dataclass(frozen=True)
class Series:
    """A column of metrics.csv: ``values`` after ``steps`` batches (counted from 1), in the order of the file."""

    steps: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class Run:
    """One run folder. ``name`` tells it from the others of the comparison, see :func:`named`.

    ``config``: dotted key -> value as text; None where there is no readable config.yaml. ``wanted``: batches that it
    was to train. ``started``: seconds since the epoch; ``seconds``: how long it took, since it was resumed last.
    """

    folder: Path
    name: str = ""
    task: str = "train"
    experiment: str = ""
    config: Mapping[str, str] | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, Series] = field(default_factory=dict)
    document: Document | None = None
    wanted: int | None = None
    started: float | None = None
    seconds: float | None = None
    resumed: int = 0
    checkpoint: bool = False
    problems: tuple[str, ...] = ()

    @property
    def steps(self) -> int:
        """Batches up to the last row of metrics.csv."""
        return max((series.steps[-1] for series in self.metrics.values()), default=0)

    @property
    def losses(self) -> frozenset[str]:
        """Names of the objective's terms, which are logged under these names."""
        terms = [key.split(".") for key in self.config or () if key.startswith("objective.terms.")]
        return frozenset(parts[2] for parts in terms if len(parts) > 2)

    @property
    def commit(self) -> str:
        """The commit that it was run from, with ``+`` where the checkout had changes; empty where nobody knows."""
        return self.versions.get("commit", "") or ((self.document.commit or "") if self.document else "")

    @property
    def state(self) -> str:
        """``finished``, or how far it is from that.

        >>> Run(Path("a"), metrics={"train/loss": Series((1, 20), (2.0, 1.0))}, wanted=30, checkpoint=True).state
        'unfinished, 20 of 30 steps'
        """
        if self.task == "evaluate":
            return "; ".join(self.problems) or "finished"
        if not self.metrics:
            progress = "no step logged"
        elif self.wanted is not None and self.steps < self.wanted:
            progress = (
                f"unfinished, {self.steps:,} of {self.wanted:,} steps{'' if self.checkpoint else ', no checkpoint'}"
            )
        else:
            progress = "finished" if self.wanted is not None else f"{self.steps:,} steps"
        return "; ".join([*self.problems, progress] if self.metrics else [*self.problems] or [progress])


def found(paths: Sequence[str | Path]) -> list[Run]:
    """The runs of folders, of folders of them, of multiruns and of patterns (``runs/train/fiva/*``), each once.

    A folder that holds no run is one that broke before it wrote anything, and stands in the list as such.

    Raises:
        UserError: there is no such path, none or too many of them hold a run, or the list of a multirun is no text.
    """
    folders: dict[Path, None] = {}
    for path in paths:
        for start in _matching(str(path)):
            folders |= dict.fromkeys(Path(os.path.realpath(inside)) for inside in _runs_in(start))
    if len(folders) > MOST_RUNS:
        raise UserError(f"'{paths[0]}' names {len(folders):,} runs; at most {MOST_RUNS:,} are compared.")
    runs = [_read(folder) for folder in folders]
    if not any(_is_run(run.folder) for run in runs):
        raise UserError(f"'{paths[0]}' holds no run; give run folders, such as runs/train/<experiment>/*.")
    return named(runs)


def named(runs: Sequence[Run]) -> list[Run]:
    """The runs with names that are short and differ: what is theirs alone in their paths, as little of it as will do.

    >>> stamps = ("2026-11-21_19-54-22_bd501d", "2026-11-21_20-25-11_e91538")
    >>> [run.name for run in named([Run(Path("/r/jpeg", stamps[0])), Run(Path("/r/pgd", stamps[1]))])]
    ['jpeg', 'pgd']
    >>> [run.name for run in named([Run(Path("/r/jpeg", stamp)) for stamp in stamps])]
    ['bd501d', 'e91538']
    """
    parts = [run.folder.parts for run in runs]
    if len({len(part) for part in parts}) == 1:
        kept = [at for at in range(len(parts[0])) if len({part[at] for part in parts}) > 1] or [-1]
        long = [[part[at] for at in kept] for part in parts]
    else:
        shared = len(os.path.commonpath([run.folder for run in runs]).strip(os.sep).split(os.sep)) + 1
        long = [list(part[shared:]) or [part[-1]] for part in parts]
    short = [[_STAMPED.sub(r"\1", part) for part in name] for name in long]
    plain = [[part for part in name if not _STAMPED.fullmatch(part)] for name in long]
    for names in (plain, short, long, parts):
        joined = ["/".join(name) for name in names]
        if all(joined) and len(set(joined)) == len(joined):
            break
    return [replace(run, name=name) for run, name in zip(runs, joined, strict=True)]


def flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values; a list is one value.

    >>> dict(flat({"model": {"lr": 0.1, "betas": [0.5, 0.9]}, "seed": 0}))
    {'model.lr': 0.1, 'model.betas': [0.5, 0.9], 'seed': 0}
    """
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _matching(path: str) -> list[Path]:
    """The path itself, or what a pattern that the shell left alone matches.

    Raises:
        UserError: nothing.
    """
    expanded = os.path.expanduser(path)
    if os.path.lexists(expanded):
        return [Path(expanded)]
    matches = sorted(glob.glob(expanded, recursive=True))
    if not matches:
        raise UserError(f"there is no '{path}'; give run folders, such as runs/train/<experiment>/*.")
    return [Path(match) for match in matches]


def _runs_in(start: Path) -> list[Path]:
    """Run folders in and below a folder, in the order of their names; the folder itself where there are none."""
    if os.path.isfile(start) and start.name in (CONFIG, METRICS, RESULTS):
        return [start.parent]
    if _is_run(start):
        return [start]
    runs: list[Path] = []
    for folder, below, files in os.walk(start):
        if _is_run(Path(folder)):
            runs.append(Path(folder))
            below.clear()  # what lies in a run belongs to it
        elif LISTED in files:
            lines = read_text(Path(folder) / LISTED, MAX_LINES, "replace").splitlines()
            runs += [Path(line) for line in dict.fromkeys(lines) if line.strip() and "\0" not in line]
        below.sort()
    return runs or [start]


def _is_run(folder: Path) -> bool:
    # os.path: a runs.txt may hold names that no file can have, and those are no runs
    return any(os.path.isfile(folder / name) for name in (CONFIG, METRICS, RESULTS))


def _read(folder: Path) -> Run:
    if not os.path.isdir(folder):
        return Run(folder, problems=(f"{'is no folder' if os.path.exists(folder) else 'is gone'}",))
    if not _is_run(folder):
        return Run(folder, problems=(f"holds no {CONFIG}, {METRICS} or {RESULTS}",))
    problems: list[str] = []
    config = _config(folder, problems)
    task = "evaluate" if config.get("task") == "evaluate" or (folder / RESULTS).is_file() else "train"
    document = _document(folder, problems) if task == "evaluate" else None
    config = config or (dict(document.config) if document else {})
    metrics = _metrics(folder, problems) if task == "train" else {}
    for left in sorted(folder.glob(DIVERGED)):
        problems.append(f"diverged at step {left.stem.rpartition('_')[2].lstrip('0')}")
    started, seconds, resumed = _times(folder)
    made = document.made.get("seconds") if document else seconds
    place = config.get("run")
    own = str(place.get("dir") or "") if isinstance(place, dict) else ""
    values = dict(flat(config))
    steps = values.get("callbacks.stop.steps", values.get("steps"))
    return Run(
        folder,
        task=task,
        experiment=str(config.get("experiment", "")),
        config={key: _told(value, own) for key, value in values.items() if not key.startswith(_NO_SETTING)} or None,
        versions=(dict(document.versions) if document else {}) | _versions(folder, problems),
        metrics=metrics,
        document=document,
        wanted=steps if isinstance(steps, int) else None,
        started=started,
        seconds=float(made) if isinstance(made, int | float) else None,
        resumed=resumed,
        checkpoint=(folder / LAST).is_file(),
        problems=tuple(problems),
    )


@contextmanager
def _telling(problems: list[str], problem: str, error: type[Exception]) -> Iterator[None]:
    """What cannot be read (:class:`UserError`, or ``error``) ends what is done in the context, and is told."""
    try:
        yield
    except (UserError, error):
        problems.append(problem)


def _config(folder: Path, problems: list[str]) -> dict[str, Any]:
    if (folder / CONFIG).is_file():
        with _telling(problems, f"{CONFIG} cannot be read", AttributeError):
            return {str(key): value for key, value in read_yaml(folder / CONFIG).items()}
    elif not (folder / RESULTS).is_file():  # an evaluation's document holds its own
        problems.append(f"no {CONFIG}")
    return {}


def _told(value: Any, own: str) -> str:
    """A value as text; the run's own folder is the same in all."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text.replace(own, HERE) if own else text


def _versions(folder: Path, problems: list[str]) -> dict[str, str]:
    if (folder / VERSIONS).is_file():
        with _telling(problems, f"{VERSIONS} cannot be read", AttributeError):
            told = read_json(folder / VERSIONS, MAX_YAML)
            return {str(name): str(version) for name, version in told.items() if version is not None}
    return {}


def _document(folder: Path, problems: list[str]) -> Document | None:
    if not (folder / RESULTS).is_file():
        problems.append(f"unfinished, no {RESULTS}")
        return None
    with _telling(problems, f"{RESULTS} is damaged, or of another schema", RecursionError):
        return read(folder)
    return None


def _metrics(folder: Path, problems: list[str]) -> dict[str, Series]:
    """Columns that hold numbers; a row that was cut off gives what it has. A step that stands twice counts once."""
    if not (folder / METRICS).is_file():
        return {}
    points: dict[str, dict[int, float]] = {}
    with _telling(problems, f"{METRICS} cannot be read to its end", csv.Error):
        table = csv.DictReader(io.StringIO(read_text(folder / METRICS, MAX_METRICS, "replace"), newline=""))
        if len(table.fieldnames or ()) > MOST_COLUMNS:
            raise csv.Error
        count = 0
        for row in table:
            step = _number(row.get("step"))
            if abs(step) < _MOST_STEPS:  # NaN is not
                for name, text in row.items():
                    if text and isinstance(text, str) and name not in (None, "", "step", "epoch"):
                        points.setdefault(name, {})[int(step) + 1] = _number(text)
                        count += 1
            if count > MOST_VALUES:
                raise csv.Error
    return {name: Series(tuple(sorted(at)), tuple(at[step] for step in sorted(at))) for name, at in points.items()}


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan


def _times(folder: Path) -> tuple[float | None, float | None, int]:
    """When it was first started, the seconds from its last start to its last write, and how often it was resumed."""
    try:
        lines = read_text(folder / "command.txt", MAX_LINES, "replace").splitlines()
        starts = [time.mktime(time.strptime(line[:19], "%Y-%m-%d %H:%M:%S")) for line in lines if line.strip()]
    except (UserError, ValueError, OverflowError):
        starts = []
    ends = [path.stat().st_mtime for path in (folder / METRICS, folder / RESULTS, folder / LAST) if path.is_file()]
    if not starts:
        return None, None, 0
    seconds = max(0.0, max(ends) - starts[-1]) if ends else None
    return starts[0], seconds, len(starts) - 1


def of_task(runs: Iterable[Run], task: str) -> list[Run]:
    """Those that train, or those that evaluate."""
    return [run for run in runs if run.task == task]


def apart(runs: Sequence[Run], parts: Sequence[str]) -> list[str]:
    """The parts of the configuration in which runs differ, so that their figures cannot be ranked."""
    return [part for part in parts if len({_part(run.config, part) for run in runs}) > 1]


def _part(config: Mapping[str, str] | None, part: str) -> frozenset[tuple[str, str]] | None:
    """What a configuration says of a part, as far as figures depend on it."""
    if config is None:
        return None
    told = ((key, value) for key, value in config.items() if f"{key}.".startswith(f"{part}."))
    return frozenset((key, value) for key, value in told if key not in _SAME_FACES)
