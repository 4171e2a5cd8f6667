"""The door of the harness: every combination of every table, once, into one document and its report.

    python evaluate.py suite=all

What is missing (weights that nobody trained here, a file that a metric needs) is said in the tables; what is wrong in
the configuration is said before any work. A run that was killed is simply run again: the store holds what was made.
"""

from __future__ import annotations

import datetime
import functools
import math
import os
import platform
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import metadata
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
from anon.evaluation.bootstrap import apart
from anon.evaluation.document import (
    Column,
    Curve,
    Difference,
    Document,
    Histogram,
    Line,
    People,
    Recognizer,
    Table,
    as_json,
)
from anon.evaluation.estimates import Estimate
from anon.evaluation.harness.cached_figures import figures_of
from anon.evaluation.harness.context import Measure, MeasureContext
from anon.evaluation.harness.described import descriptions, of_all
from anon.evaluation.harness.grids import write_grids
from anon.evaluation.harness.pictures import failing
from anon.evaluation.harness.readers import readers_of
from anon.evaluation.harness.small_sets import set_notes, split_of
from anon.evaluation.harness.stages import Stages
from anon.evaluation.harness.store import Store, cache_of
from anon.evaluation.harness.suite import PLAIN, Combination, Plan, Suite, as_plain, check_attacks, plans
from anon.evaluation.judging import settings_of
from anon.evaluation.metric_info import MetricInfo, check_described
from anon.evaluation.pairs import pair_notes
from anon.evaluation.protocol import Data
from anon.identity.contract import JudgeLike
from anon.plugs import check_call

FAILED = "failed.txt"  # tracebacks of what failed, in the run's folder
VERSIONS = ("torch", "torchmetrics", "numpy", "pytorch-lightning", "hydra-core")


def run(
    judge: JudgeLike,
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
        judge: no recognizer that trained a method or an attack.
        data: gives the splits train, background and evaluation.
        cfg: ``protocol`` (a :class:`Suite`), ``metrics``, ``seed``, ``logger.images``, ``paths.cache``.
        output: folder for results.json, report.html, the tables and the picture grids.
        methods: further methods by name, as :class:`Suite` takes them; here an ``anonymizer`` may be built already.

    Returns:
        Path of results.json.

    Raises:
        UserError: a name that means nothing, an unfit checkpoint, a network that was trained with the judge, nobody to
            enrol and probe, or too little data for the FAR.
    """
    began = time.monotonic()
    suite = cast(Suite, instantiate(cfg.suite))
    suite = replace(suite, methods={**suite.methods, **(methods or {})})
    tables = plans(suite)
    check_attacks(suite)
    if isinstance(judge, nn.Module):
        judge.to(device)
    readers = readers_of(cfg, torch.device(device))
    store = Store(cache_of(OmegaConf.select(cfg, "paths.cache")))

    @functools.cache  # one that is read from a disk is listed once
    def datasets(name: str) -> Data:
        return data if name == PLAIN else cast(Data, instantiate(suite.datasets[name]))

    stages = Stages(suite, datasets, judge, readers, store, int(cfg.seed), torch.device(device))
    measures = {name: instantiate(suite.measures[name]) for plan in tables for name in plan.measures}
    for name, measure in measures.items():
        check_call(measure, f"suite.measures.{name}", "measure(context)", "context")
    known = descriptions(measures, tables, lambda: {n: instantiate(m) for n, m in suite.measures.items() if m})
    asked: dict[Combination, dict[str, None]] = {}
    for plan in tables:
        for one in plan.combinations:
            asked.setdefault(one, {}).update(dict.fromkeys(plan.measures))
    # All mistakes of the configuration before any work; what is wrong with a checkpoint before any picture is read.
    for method, name in dict.fromkeys((one.method, one.data) for one in asked):
        stages.factory.check(method, name)
    for name in dict.fromkeys(one.data for one in asked):
        stages.known(judge, f"the judge {judge.name}", name)
        stages.known(readers.attributes, "the estimator of attributes", name)
    contexts = {one: MeasureContext(stages, one) for one in asked}
    for name in dict.fromkeys(one.data for one in asked):
        stages.calibrations.of_probes(name, stages.judge)
    needs = {one: context.needs() for one, context in contexts.items()}
    for one in (one for one, why in needs.items() if why is None):
        stages.compare_judge(one)
    settings = {name: as_plain(suite.measures[name]) for name in measures}
    found = _evaluate(asked, contexts, needs, measures, settings, output)
    document = _document(suite, tables, stages, known, found, cfg, commit)
    images = bool(OmegaConf.select(cfg, "logger.images"))
    absent = {one: line.needs for one, (line, _) in found.items()}  # what failed cannot be shown either
    pictures = write_grids(output, tables, contexts, absent, document, suite.grid_faces, images)
    document = _finished(document, pictures, time.monotonic() - began, device)
    print("writing the report", file=sys.stderr, flush=True)
    written = report.write(document, output)
    path = output / "results.json"
    files.write(path, as_json(document))
    print(f"\n{(output / 'table.md').read_text(encoding='utf-8')}")
    if suite.grid_faces > 0 and not (images or all(context.people.synthetic for context in contexts.values())):
        print("no grid of faces that belong to somebody (logger.images=true draws it)")
    print(f"made {sum(store.made.values())} intermediate results, found {sum(store.found.values())} kept ones")
    for file in written:
        print(f"{file.stem} {file}")
    print(f"run folder {output}\n{path}", flush=True)
    return path


Found = dict[Combination, tuple[Line, list[Curve | Histogram]]]


def _evaluate(
    asked: Mapping[Combination, Mapping[str, None]],
    contexts: Mapping[Combination, MeasureContext],
    needs: Mapping[Combination, str | None],
    measures: Mapping[str, Measure],
    settings: Mapping[str, Mapping[str, Any]],
    output: Path,
) -> Found:
    """The lines, in the order in which they were asked for; how one failed is in ``failed.txt`` of the folder."""
    found: Found = {}
    failed: list[str] = []
    for number, (one, names) in enumerate(asked.items()):
        context, why = contexts[one], needs[one]
        label = _line(context, one, {}, None).label
        if why is None:
            print(f"{number + 1} of {len(asked)}: {label}", file=sys.stderr, flush=True)
        figures: dict[str, Estimate] = {}
        plots: list[Curve | Histogram] = []
        try:
            for name in names if why is None else ():
                with failing(f"the measure '{name}'"):
                    own = figures_of(measures[name], settings[name], context)
                    draw = getattr(measures[name], "plots", None)
                    plots += [] if draw is None else draw(context, label, number)
                check_described(own, measures[name].metrics, f"suite.measures.{name}")
                twice = sorted(figures.keys() & own.keys())
                if twice:
                    raise UserError(f"suite.measures.{name} gives '{twice[0]}', which another measure gives, too.")
                figures |= own
        except Failed as error:
            figures, plots, why = {}, [], f"failed: {error}"
            if error.__cause__ is not None:
                failed.append(f"{label}\n{''.join(traceback.format_exception(error.__cause__))}")
                _write_failed(output / FAILED, failed)
                why += f" [traceback: {FAILED}]"
        found[one] = _line(context, one, figures, why), plots
    return found


def _write_failed(path: Path, failed: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as beside:
        beside.write("\n".join(failed).encode("utf-8", "replace"))


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


def _document(
    suite: Suite,
    tables: list[Plan],
    stages: Stages,
    known: Mapping[str, MetricInfo],
    found: Found,
    cfg: DictConfig,
    commit: str | None,
) -> Document:
    places = {one: place for place, one in enumerate(found)}
    datasets = dict.fromkeys(one.data for one in found)
    plots = [plot for _, own in found.values() for plot in own]
    return Document(
        title=suite.title,
        seed=int(cfg.seed),
        lines=tuple(line for line, _ in found.values()),
        tables=tuple(_table(plan, places, found) for plan in tables),
        judges={stages.subjects(name).name: _judge(stages, name) for name in datasets},
        people={stages.subjects(name).name: _people(stages, name) for name in datasets},
        metrics=_metrics(tables, found, known),
        differences=tuple(part for plan in tables for part in _differences(plan, found, places)),
        curves=tuple(plot for plot in plots if isinstance(plot, Curve)),
        histograms=tuple(plot for plot in plots if isinstance(plot, Histogram)),
        notes=(
            *(note for name in datasets for note in _set_notes(stages, name)),
            *stages.factory.notes,
            *stages.provenance.notes(),
        ),
        config=_kept_config(cfg),
        commit=commit,
        versions={
            **{name: metadata.version(name) for name in VERSIONS},
            "python": platform.python_version(),
            **stages.factory.versions(),
        },
    )


def _metrics(tables: Sequence[Plan], found: Found, known: Mapping[str, MetricInfo]) -> dict[str, MetricInfo]:
    """Of all lines and columns."""
    names = [column.metric for plan in tables for column in plan.columns]
    names += [metric for line, _ in found.values() for metric in line.metrics]
    return of_all(names, known)


def _kept_config(cfg: DictConfig) -> dict[str, Any]:
    """What the figures depend on: not where the files lie."""
    kept = ("data", "judge", "suite", "attributes", "lpips", "detectors", "seed")
    found = {name: files.plain(cfg[name]) for name in kept if name in cfg}
    for data in (found.get("data"), *(found["suite"].get("datasets") or {}).values()):
        if isinstance(data, dict):
            data.pop("cache", None)
    return found


def _table(plan: Plan, places: Mapping[Combination, int], found: Found) -> Table:
    lines = tuple(places[one] for one in _once(plan.shown, found))
    return Table(plan.name, plan.title, plan.columns, lines, plan.published, plan.dial, plan.about, plan.matrix)


def _once(shown: Sequence[Combination], found: Found) -> list[Combination]:
    """Of a method that needs something at every setting of its dial and for every input only the first."""
    told: dict[tuple[str | None, ...], Combination] = {}
    for one in shown:
        needs = found[one][0].needs
        rest = (None, None) if (needs or "").startswith("needs ") else (str(one.input), str(one.dial))
        told.setdefault((one.data, one.method, one.policy, one.defense, one.attack, needs, *rest), one)
    return list(told.values())


def _judge(stages: Stages, data: str) -> Recognizer:
    known = stages.calibrations.of_probes(data, stages.judge).found
    pictures = stages.calibrations.of_pictures(data, stages.judge)
    judge, people = stages.judge.recognizer, stages.subjects(data)
    source = None if stages.given is None else stages.given.source
    if stages.calibrations.by_pairs(data):
        source = "unchanged pairs of the other folds"
    return Recognizer(
        name=judge.name,
        metric=judge.metric,
        threshold=known.threshold,
        far=stages.suite.far,
        far_achieved=known.far,
        impostor_pairs=known.impostor_pairs,
        eer=None if math.isnan(known.eer) else known.eer,
        split="background" if source is None else split_of(people),
        threshold_low=known.low,
        threshold_high=known.high,
        picture_threshold=pictures.threshold,
        picture_threshold_low=pictures.low,
        picture_threshold_high=pictures.high,
        threshold_levels=known.levels,
        picture_threshold_levels=pictures.levels,
        source=source,
        fingerprint=settings_of(judge),
    )


def _people(stages: Stages, data: str) -> People:
    people = stages.subjects(data)
    labels = people.items.labels[people.probes]
    counts = labels.bincount().double()
    impostors = int((counts.sum() ** 2 - counts.square().sum()) / 2)
    return People(
        name=people.name,
        split=split_of(people),
        identities=len(labels.unique()),
        probes=len(labels),
        gallery=len(people.enrolled.labels.unique()),
        clips=len(people.clips),
        impostor_pairs=impostors,
        synthetic=people.synthetic,
        enrolment=stages.suite.enrolment,
        reference=people.reference,
    )


def _set_notes(stages: Stages, data: str) -> list[str]:
    judge, people = stages.judge, stages.subjects(data)
    known = stages.calibrations.of_probes(data, judge).found
    notes = set_notes(people, stages.suite, judge.recognizer, stages.given, known)
    if people.pairs is not None:
        placed = getattr(people.items.faces, "placed", {})
        notes += pair_notes(stages.calibrations.of_pairs(data), known, len(people.items.faces), placed)
    return [*notes, *people.notes]


def _differences(plan: Plan, found: Found, places: Mapping[Combination, int]) -> list[Difference]:
    """Every line's columns minus the baseline's, on the same people."""
    base = plan.baseline
    if base is None:
        return []
    parts = []
    for one in plan.shown:
        if one == base or one.data != base.data or one.method == "real":
            continue
        for column in plan.columns:
            own, other = (_figure(found, place, column) for place in (one, base))
            found_apart = None if own is None or other is None else apart(own, other)
            if found_apart is not None:
                parts.append(Difference(plan.name, column.name, places[one], places[base], found_apart))
    return parts


def _figure(found: Found, one: Combination, column: Column) -> Estimate | None:
    place = one if column.attack is None else replace(one, attack=column.attack)
    return found[place][0].metrics.get(column.metric) if place in found else None


def _finished(document: Document, pictures: dict[str, str], seconds: float, device: torch.device | str) -> Document:
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    made = {"date": now, "seconds": round(seconds, 1), "device": str(device), "cores": os.cpu_count() or 0}
    lines = tuple(
        replace(line, metrics={name: replace(figure, draws=None, each=None) for name, figure in line.metrics.items()})
        for line in document.lines
    )
    return replace(document, lines=lines, pictures=pictures, made=made)
