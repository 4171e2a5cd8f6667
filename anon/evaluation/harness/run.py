"""The door of the harness: every combination of every table, once, into one document and its report.

    python evaluate.py suite=all

What is missing (weights that nobody trained here, a file that a metric needs) is said in the tables; what is wrong in
the configuration is said before any work. A run that was killed is simply run again: the store holds what was made.

Figures are kept, too, under the keys of all that a measure could look at (a measure that resamples matrices takes
seconds): every picture, reader, gallery and setting of the context and the code of the measure and of the context. A
key may be too careful, never wrong.
"""

from __future__ import annotations

import functools
import itertools
import json
import math
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import nn

from anon.checksums import written_whole
from anon.errors import Failed, UserError
from anon.evaluation import report
from anon.evaluation import results as files
from anon.evaluation.document import Curve, Document, Histogram, Line, as_json
from anon.evaluation.document.estimates import Estimate
from anon.evaluation.document.metric_info import MetricInfo, check_described, info_of, metrics_of
from anon.evaluation.harness.attackers import adversary_of
from anon.evaluation.harness.calibrations import Calibrations, split_of
from anon.evaluation.harness.context import Measure, MeasureContext
from anon.evaluation.harness.documents import Found, document_of, finished
from anon.evaluation.harness.grids import write_grids
from anon.evaluation.harness.panel import Kin, check_panel, judged, with_others
from anon.evaluation.harness.pictures import failing, readers_of
from anon.evaluation.harness.stages import Stages
from anon.evaluation.harness.store import Store, Tensors, cache_of, key_of
from anon.evaluation.harness.suite import PLAIN, Combination, Plan, Suite, as_plain, check_attacks, plans
from anon.evaluation.intervals.bootstrap import Bootstrap
from anon.evaluation.judges.gallery import Gallery
from anon.evaluation.protocol import Data
from anon.identity.contract import JudgeLike
from anon.plugs import check_call
from anon.provenance import code, made_of

FAILED = "failed.txt"  # tracebacks of what failed, in the run's folder
BESIDE = ("draws", "each")  # tensors of a figure
# What a measure can call.
_CODE = (MeasureContext, adversary_of, Stages.rows, Stages.gallery, Calibrations, Bootstrap, Gallery)


def run(
    judge: JudgeLike | Sequence[JudgeLike],
    data: Data,
    cfg: DictConfig,
    output: Path,
    *,
    device: torch.device | str = "cpu",
    commit: str | None = None,
    methods: Mapping[str, Any] | None = None,
) -> Path:
    """Evaluate a suite; prints the tables, and the paths of the files with results.json last.

    Args:
        judge: no recognizer that trained a method or an attack; or several, a panel, whose worst case the figures are
            (:mod:`anon.evaluation.harness.panel`).
        data: gives the splits train, background and evaluation.
        cfg: ``suite`` (a :class:`Suite`), ``attributes``, ``detectors``, ``seed``, ``logger.images``, ``paths.cache``.
        output: folder for results.json, report.html, the tables and the picture grids.
        methods: further methods by name, as :class:`Suite` takes them; here an ``anonymizer`` may be built already.

    Returns:
        Path of results.json.

    Raises:
        UserError: a name that means nothing, an unfit checkpoint, a network that was trained with a judge, two judges
            that are one, nobody to enrol and probe, or too little data for the FAR.
    """
    began = time.monotonic()
    suite = cast(Suite, instantiate(cfg.suite))
    suite = replace(suite, methods={**suite.methods, **(methods or {})})
    tables = plans(suite)
    check_attacks(suite)
    judges = list(judge) if isinstance(judge, Sequence) else [judge]
    for each in judges:
        if isinstance(each, nn.Module):
            each.to(device)
    check_panel(judges, suite)
    readers = readers_of(cfg, torch.device(device))
    store = Store(cache_of(OmegaConf.select(cfg, "paths.cache")))

    @functools.cache  # one that is read from a disk is listed once
    def datasets(name: str) -> Data:
        return data if name == PLAIN else cast(Data, instantiate(suite.datasets[name]))

    first = Stages(suite, datasets, judges[0], readers, store, int(cfg.seed), torch.device(device))
    panel = [first, *map(first.beside, judges[1:])]
    measures = {name: instantiate(suite.measures[name]) for plan in tables for name in plan.measures}
    for name, measure in measures.items():
        check_call(measure, f"suite.measures.{name}", "measure(context)", "context")
    known = descriptions(measures, tables, lambda: {n: instantiate(m) for n, m in suite.measures.items() if m})
    asked: dict[Combination, dict[str, None]] = {}
    for plan in tables:
        for one in plan.combinations:
            asked.setdefault(one, {}).update(dict.fromkeys(plan.measures))
    # All mistakes of the configuration before any work; what is wrong with a checkpoint before any picture is read.
    names = list(dict.fromkeys(one.data for one in asked))
    donors = [] if suite.sources is None else [suite.sources]
    for stages in panel:
        for method, name in dict.fromkeys((one.method, one.data) for one in asked):
            stages.factory.check(method, name, donors)
    for name in dict.fromkeys([*names, *donors]):
        for each in judges:
            first.known(each, f"the judge {each.name}", name)
        first.known(readers.attributes, "the estimator of attributes", name)
    contexts = {one: [MeasureContext(stages, one) for stages in panel] for one in asked}
    for stages, name in itertools.product(panel, names):
        stages.calibrations.of_probes(name, stages.judge)
    needs = {}
    for one, own in contexts.items():  # all are asked, for an attack may have learned from any of the judges
        needs[one], *_ = [context.needs() for context in own]
    kin = Kin(panel)
    for one in (one for one, why in needs.items() if why is None):
        kin.meet(one)
    settings = {name: as_plain(suite.measures[name]) for name in measures}
    found = _evaluate(asked, contexts, needs, measures, settings, known, output)
    document = document_of(suite, tables, panel, kin, known, found, cfg, commit)
    images = bool(OmegaConf.select(cfg, "logger.images"))
    absent = {one: line.needs for one, (line, _) in found.items()}  # what failed cannot be shown either
    shown = {one: own[0] for one, own in contexts.items()}
    pictures = write_grids(output, tables, shown, absent, document, suite.grid_faces, images)
    document = finished(document, pictures, time.monotonic() - began, device)
    hidden = suite.grid_faces > 0 and not (images or all(context.people.synthetic for context in shown.values()))
    notes = ["no grid of faces that belong to somebody (logger.images=true draws it)"] if hidden else []
    return publish(document, output, store, notes)


def publish(document: Document, output: Path, store: Store, notes: Sequence[str] = ()) -> Path:
    """Write an evaluation's report and results.json, and print the tables, the notes and the paths.

    Returns:
        Path of results.json.

    Raises:
        UserError: a file cannot be written.
    """
    print("writing the report", file=sys.stderr, flush=True)
    written = report.write(document, output)
    path = output / "results.json"
    files.write(path, as_json(document))
    print(f"\n{(output / 'table.md').read_text(encoding='utf-8')}")
    for note in notes:
        print(note)
    print(f"made {sum(store.made.values())} intermediate results, found {sum(store.found.values())} kept ones")
    for file in written:
        print(f"{file.stem} {file}")
    print(f"run folder {output}\n{path}", flush=True)
    return path


def _evaluate(
    asked: Mapping[Combination, Mapping[str, None]],
    contexts: Mapping[Combination, Sequence[MeasureContext]],
    needs: Mapping[Combination, str | None],
    measures: Mapping[str, Measure],
    settings: Mapping[str, Mapping[str, Any]],
    known: Mapping[str, MetricInfo],
    output: Path,
) -> Found:
    """The lines, in the order in which they were asked for; how one failed is in ``failed.txt`` of the folder.

    Args:
        contexts: of every judge; what fails with the first fails altogether.
        known: what the measures say of their figures.
    """
    found: Found = {}
    failed: list[str] = []

    def told(label: str, error: Failed) -> str:
        if error.__cause__ is None:
            return f"failed: {error}"
        failed.append(f"{label}\n{''.join(traceback.format_exception(error.__cause__))}")
        _write(output / FAILED, "\n".join(failed))
        return f"failed: {error} [traceback: {FAILED}]"

    def take(names: Iterable[str], context: MeasureContext) -> dict[str, Estimate]:
        figures: dict[str, Estimate] = {}
        for name in names:
            with failing(f"the measure '{name}'"):
                own = figures_of(measures[name], settings[name], context)
            check_described(own, measures[name].metrics, f"suite.measures.{name}")
            twice = sorted(figures.keys() & own.keys())
            if twice:
                raise UserError(f"suite.measures.{name} gives '{twice[0]}', which another measure gives, too.")
            figures |= own
        return figures

    for number, (one, names) in enumerate(asked.items()):
        context, why = contexts[one][0], needs[one]
        label = _line(context, one, {}, None).label
        if why is None:
            print(f"{number + 1} of {len(asked)}: {label}", file=sys.stderr, flush=True)
        figures: dict[str, Estimate] = {}
        plots: list[Curve | Histogram] = []
        try:
            figures = take(names if why is None else (), context)
            for name in names if why is None else ():
                with failing(f"the measure '{name}'"):
                    draw = getattr(measures[name], "plots", None)
                    plots += [] if draw is None else draw(context, label, number)
                files_of = getattr(measures[name], "files", None)
                for path, text in {} if files_of is None else files_of(context, label).items():
                    _write(output / name / path, text)
        except Failed as error:
            figures, plots, why = {}, [], told(label, error)
        line = _line(context, one, figures, why)
        if why is None and len(contexts[one]) > 1:
            own = [name for name in names if judged(measures[name])]
            line = with_others(line, contexts[one], partial(take, own), partial(told, label), known)
        found[one] = line, plots
    return found


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path, 0o600) as beside:  # what is told of faces is their owner's
        beside.write(text.encode("utf-8", "replace"))


def _line(context: MeasureContext, one: Combination, figures: dict[str, Estimate], needs: str | None) -> Line:
    return Line(
        data=context.people.name,
        method=context.title,
        policy=one.policy,
        defense=one.defense,
        attack=one.attack,
        input=one.input,
        dial=one.dial,
        split=split_of(context.people),
        metrics=figures,
        needs=needs,
        learned=context.learned,
    )


def figures_of(measure: Measure, settings: Mapping[str, Any], context: MeasureContext) -> dict[str, Estimate]:
    """``measure(context)``, or what is kept of it.

    Args:
        settings: the measure's configuration.
    """
    key = key_of(made_by=[made_of(settings), context.stages.made_of(measure), code(*_CODE)], context=context.keys)
    return _decoded(context.stages.store.get("figures", key, lambda: _encoded(_made(measure, context))))


def _made(measure: Measure, context: MeasureContext) -> dict[str, Estimate]:
    """
    Raises:
        Failed: the measure gave no figures by name.
    """
    found = measure(context)
    if not isinstance(found, Mapping) or not all(isinstance(figure, Estimate) for figure in found.values()):
        what = type(found).__name__ if not isinstance(found, Mapping) else "other things than figures"
        raise Failed(f"the measure {type(measure).__name__} gave {what}, not an Estimate for each name")
    return dict(found)


def _encoded(figures: Mapping[str, Estimate]) -> Tensors:
    """Names and reasons as bytes of JSON, numbers, draws and people's values as tensors."""
    words = [[name, figure.reason, figure.n] for name, figure in figures.items()]
    numbers = [
        [math.nan if part is None else part for part in (figure.value, figure.low, figure.high)]
        for figure in figures.values()
    ]
    found = {
        "words": torch.tensor(list(json.dumps(words).encode()), dtype=torch.uint8),
        "numbers": torch.tensor(numbers, dtype=torch.float64).view(-1, 3),
    }
    beside = ((f"{kind} {name}", getattr(figure, kind)) for kind in BESIDE for name, figure in figures.items())
    # Copies, for a figure may stand under two names and a file holds no tensor twice.
    return found | {name: tensor.clone() for name, tensor in beside if tensor is not None}


def _decoded(kept: Tensors) -> dict[str, Estimate]:
    words = json.loads(bytes(kept["words"].tolist()))
    found = {}
    for (name, reason, n), row in zip(words, kept["numbers"].tolist(), strict=True):
        value, low, high = (None if math.isnan(part) else part for part in row)
        found[name] = Estimate(value, low, high, reason, n, *(kept.get(f"{kind} {name}") for kind in BESIDE))
    return found


def descriptions(
    measures: Mapping[str, Measure], tables: Sequence[Plan], others: Callable[[], Mapping[str, Measure]]
) -> dict[str, MetricInfo]:
    """By metric, what the measures say of what they give.

    Args:
        measures: those that are asked for, by their names in ``suite.measures``.
        others: makes the rest of them, where a column shows a metric of one that its table does not ask for.

    Raises:
        UserError: one describes nothing, two differ about a metric, or a column shows what none of them gives, with the
            nearest that one does.
    """
    known = _together(measures)
    shown = {column.metric: plan for plan in tables for column in plan.columns}
    if any(info_of(known, metric) is None for metric in shown):
        known = _together({**measures, **others()})
    for metric, plan in shown.items():
        if info_of(known, metric) is None:
            near = get_close_matches(metric, known, 1)
            raise UserError(
                f"suite.tables.{plan.name}.columns shows '{metric}', which no measure gives; "
                + (f"did you mean '{near[0]}'?" if near else f"those of the table are: {', '.join(plan.measures)}.")
            )
    return known


def _together(measures: Mapping[str, Measure]) -> dict[str, MetricInfo]:
    found: dict[str, tuple[str, MetricInfo]] = {}
    for name, measure in measures.items():
        for metric, info in metrics_of(measure, f"suite.measures.{name}").items():
            other, before = found.setdefault(metric, (name, info))
            if before != info:
                raise UserError(
                    f"suite.measures.{other} and suite.measures.{name} describe '{metric}' differently; "
                    "give it another name in one of them."
                )
    return {metric: info for metric, (_, info) in found.items()}
