"""Evaluate clips: each through the pipeline of ``anon anonymize``, into the document and the report of the harness.

A clip that cannot be anonymized is a line that says why, and the line of all clips says how many it is without: what
failed is not private.
"""

from __future__ import annotations

import itertools
import platform
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from hydra.utils import instantiate

from anon.errors import Failed, UserError
from anon.evaluation.document import Column, Document, Line, Table
from anon.evaluation.document.estimates import Estimate, known
from anon.evaluation.document.metric_info import MetricInfo, check_described, info_of
from anon.evaluation.harness.documents import VERSIONS, finished, of_all
from anon.evaluation.harness.pictures import failing
from anon.evaluation.harness.run import FAILED, descriptions, publish
from anon.evaluation.harness.store import Store
from anon.evaluation.harness.suite import Plan
from anon.evaluation.results import write
from anon.plugs import check_call
from anon.printable import flat
from anon.video.pipeline import Anonymizing
from anon.video.suite.crowd import Clip, given_clips, rendered_clips
from anon.video.suite.measure import ClipContext
from anon.video.suite.records import Record, record_of
from anon.video.suite.settings import Clips, Crowds

ALL = "all clips"
OVER = "the tracks of a clip, over its people where they are known, and over the clips of several"


class Treated(NamedTuple):
    """By what clips are anonymized, as lines name it."""

    by: Anonymizing
    method: str
    policy: str = "none"


def run(
    suite: Clips, treated: Treated, store: Store, output: Path, *, seed: int = 0, commit: str | None = None
) -> Path:
    """Evaluate the clips of a suite; prints the tables, and the paths of the files with results.json last.

    Args:
        output: folder for results.json, report.html and the tables.
        seed: of rendered crowds and of the bootstrap.

    Returns:
        Path of results.json.

    Raises:
        UserError: no clip, a table or a measure that is none, or a file that cannot be written.
    """
    began, tables = time.monotonic(), suite.plans()
    measures = {name: instantiate(suite.measures[name]) for plan in tables for name in plan.measures}
    for name, measure in measures.items():
        check_call(measure, f"suite.measures.{name}", "measure(context)", "context")
    described = descriptions(measures, tables, lambda: {n: instantiate(m) for n, m in suite.measures.items() if m})
    figures = _Figures(suite, treated, measures, described, seed)
    lines, records, failed = list[Line](), list[Record](), list[str]()
    with tempfile.TemporaryDirectory(prefix="anon_") as folder:
        clips, count = _clips(suite, store, Path(folder), seed)
        for number, clip in enumerate(clips, 1):
            print(f"{number} of {count}: {flat(clip.name)}", file=sys.stderr, flush=True)
            try:
                record = record_of(clip, treated.by, store, Path(folder))
                lines.append(figures.line(clip.name, [record]))
            except UserError as error:
                lines.append(replace(figures.empty(clip.name), needs=f"failed: {_why(error, clip)}"))
                if isinstance(error, Failed) and error.__cause__ is not None:
                    failed.append(f"{clip.name}\n{''.join(traceback.format_exception(error.__cause__))}")
                    write(output / FAILED, "\n".join(failed), owners=True)
            else:
                records.append(record)
    if count > 1 and records:
        without = count - len(records)
        lines.append(figures.line(ALL if not without else f"all but the {without} that failed", records))
    document = _document(suite, treated, tables, lines, described, seed, commit)
    document = replace(document, found=_found(lines, len(records)))
    return publish(finished(document, {}, time.monotonic() - began, "cpu"), output, store)


def _clips(suite: Clips, store: Store, folder: Path, seed: int) -> tuple[Iterable[Clip], int]:
    """The clips, and how many there are."""
    if suite.input is not None:
        given = given_clips(suite.input, folder / "results")
        return given, len(given)
    crowds = Crowds(**suite.crowds)
    return rendered_clips(crowds, store, folder, seed), crowds.clips


class _Figures:
    """Makes lines of records."""

    def __init__(
        self,
        suite: Clips,
        treated: Treated,
        measures: Mapping[str, Any],
        described: Mapping[str, MetricInfo],
        seed: int,
    ) -> None:
        self.suite, self.treated, self.measures = suite, treated, measures
        self.described, self.seed = described, seed
        self.judges = [each.judge.name for each in treated.by.gate.judging]

    def empty(self, data: str) -> Line:
        """A line without figures."""
        split = "everyone" if self.suite.input is not None else "evaluation"
        return Line(data=data, method=self.treated.method, policy=self.treated.policy, split=split)

    def line(self, data: str, records: Sequence[Record]) -> Line:
        """The figures of clips: the first judge's, and, of several judges, each one's own."""
        found = self._of(records, 0 if self.judges else None)
        own = {judge: self._judged(self._of(records, place)) for place, judge in enumerate(self.judges)}
        return replace(self.empty(data), metrics=found, by_judge=own if len(own) > 1 else {})

    def _of(self, records: Sequence[Record], judge: int | None) -> dict[str, Estimate]:
        context, found = ClipContext(records, self.suite.resamples, self.seed, judge), dict[str, Estimate]()
        for name, measure in self.measures.items():
            with failing(f"the measure '{name}'"):
                own = measure(context)
            check_described(own, measure.metrics, f"suite.measures.{name}")
            found |= own
        return found

    def _judged(self, figures: Mapping[str, Estimate]) -> dict[str, Estimate]:
        infos = {name: info_of(self.described, name) for name in figures}
        return {name: figures[name] for name, info in infos.items() if info is not None and info.by_judge}


def _why(error: UserError, clip: Clip) -> str:
    """Without the folder that the clip lies in."""
    return flat(str(error).replace(str(clip.file), clip.file.name)).rstrip(".")


def _document(
    suite: Clips,
    treated: Treated,
    tables: Sequence[Plan],
    lines: Sequence[Line],
    described: Mapping[str, MetricInfo],
    seed: int,
    commit: str | None,
) -> Document:
    judging, rendered = treated.by.gate.judging, suite.input is None
    several = [each.judge.name for each in judging] if len(judging) > 1 else []
    wanted = [column.metric for plan in tables for column in plan.columns]
    own = {"resamples": suite.resamples, **({"crowds": dict(suite.crowds)} if rendered else {})}
    settings = {name: value for name, value in treated.by.settings.items() if name != "weights"}
    return Document(
        title=suite.title,
        seed=seed,
        lines=tuple(lines),
        tables=tuple(_table(plan, described, len(lines), several) for plan in tables),
        judges={},
        people={},
        metrics=of_all([*wanted, *(metric for line in lines for metric in line.metrics)], described),
        notes=tuple(_notes(treated, rendered)),
        config={**settings, "suite": own},  # not where the clips lie
        commit=commit,
        versions={
            **{name: metadata.version(name) for name in VERSIONS},
            "python": platform.python_version(),
            **{f"weights of the {name}": str(value) for name, value in treated.by.settings.get("weights", {}).items()},
        },
        resampled=OVER,
    )


def _table(plan: Plan, described: Mapping[str, MetricInfo], lines: int, judges: Sequence[str]) -> Table:
    """The table; columns of what a judge measures stand there once for each of several, those of a judge together."""
    columns = list[Column]()

    def judged(column: Column) -> bool:
        info = info_of(described, column.metric)
        return info is not None and info.by_judge

    for own, group in itertools.groupby(plan.columns, judged):
        some = tuple(group)
        columns += [replace(column, judge=judge) for judge in judges for column in some] if own and judges else some
    return Table(plan.name, plan.title, tuple(columns), tuple(range(lines)), about=plan.about)


def _notes(treated: Treated, rendered: bool) -> list[str]:
    gate, notes = treated.by.gate, list[str]()
    if gate.judging:
        told = (f"{each.judge.name} below {each.threshold:.4g} ({each.judge.metric})" for each in gate.judging)
        notes.append(f"A judge takes two pictures for one person: {', '.join(told)}.")
    else:
        notes.append("No judge looked at these faces: none is verified, and nobody knows who would be recognized.")
    if not rendered:
        notes.append("Whom the detector missed altogether is in no figure: nobody knows who is where in these clips.")
    return notes


def _found(lines: Sequence[Line], whole: int) -> str:
    """What was found, in a sentence, of the last line: all clips, or the only one."""
    figures = lines[-1].metrics
    if not figures:
        return "No clip could be anonymized"

    def count(name: str) -> str:
        figure = figures.get(name)
        return f"{figure.number:,.0f}" if known(figure) else ""

    text = f"{whole} clip{'s' if whole > 1 else ''}"
    if count("faces_due") and count("unchanged_faces"):
        text += f", {count('faces_due')} faces due: {count('unchanged_faces')} left unchanged"
    text += f", {count('missed_faces')} missed" if count("missed_faces") else ""
    switches = count("switches")
    return text + (f"; tracks were switched {switches} time{'' if switches == '1' else 's'}" if switches else "")
