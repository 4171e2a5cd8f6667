"""The document of an evaluation: lines, tables, judges, people, differences and what a reader must know of them."""

from __future__ import annotations

import datetime
import math
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from importlib import metadata
from typing import Any

import torch
from omegaconf import DictConfig

from anon.evaluation import results as files
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
)
from anon.evaluation.document.estimates import Estimate
from anon.evaluation.document.metric_info import MetricInfo, info_of
from anon.evaluation.harness.calibrations import set_notes, split_of
from anon.evaluation.harness.panel import Kin, correlations, panel_notes
from anon.evaluation.harness.stages import Stages
from anon.evaluation.harness.suite import Combination, Plan, Suite
from anon.evaluation.intervals.bootstrap import apart
from anon.evaluation.judges.judging import architecture, settings_of
from anon.evaluation.judges.pairs import pair_notes
from anon.machine import computes

VERSIONS = ("torch", "torchmetrics", "numpy", "pytorch-lightning", "hydra-core")

Found = dict[Combination, tuple[Line, list[Curve | Histogram]]]


def document_of(
    suite: Suite,
    tables: list[Plan],
    panel: Sequence[Stages],
    kin: Kin,
    known: Mapping[str, MetricInfo],
    found: Found,
    cfg: DictConfig,
    commit: str | None,
) -> Document:
    """
    Args:
        panel: the stages of every judge, the first one's first.
        kin: what they have in common with the encoders of the methods.
        known: what the measures say of their figures.
    """
    stages = panel[0]
    places = {one: place for place, one in enumerate(found)}
    datasets = dict.fromkeys(one.data for one in found)
    plots = [plot for _, own in found.values() for plot in own]
    shown = [column.metric for plan in tables for column in plan.columns]
    alike = correlations(panel, list(datasets))
    noted = [note for name in datasets for each in panel for note in _set_notes(each, name, each is stages)]
    return Document(
        title=suite.title,
        seed=int(cfg.seed),
        lines=tuple(line for line, _ in found.values()),
        tables=tuple(_table(plan, places, found) for plan in tables),
        judges={stages.subjects(name).name: _judge(stages, name) for name in datasets},
        people={stages.subjects(name).name: _people(stages, name) for name in datasets},
        metrics=of_all([*shown, *(metric for line, _ in found.values() for metric in line.metrics)], known),
        differences=tuple(part for plan in tables for part in _differences(plan, found, places)),
        curves=tuple(plot for plot in plots if isinstance(plot, Curve)),
        histograms=tuple(plot for plot in plots if isinstance(plot, Histogram)),
        notes=(
            *dict.fromkeys(noted),
            *stages.factory.notes,
            *stages.factory.notes_of_methods(),
            *kin.notes(),
            *panel_notes(panel, list(datasets), alike),
            *stages.provenance.notes(),
        ),
        config=_kept_config(cfg),
        commit=commit,
        versions={
            **{name: metadata.version(name) for name in VERSIONS},
            "python": platform.python_version(),
            **stages.factory.versions(),
        },
        panel={stages.subjects(name).name: _panel(panel, kin, name) for name in datasets if len(panel) > 1},
        correlations=alike,
    )


def of_all(names: Iterable[str], known: Mapping[str, MetricInfo]) -> dict[str, MetricInfo]:
    """The description of each of these metrics."""
    return {name: info for name in dict.fromkeys(names) if (info := info_of(known, name)) is not None}


def _kept_config(cfg: DictConfig) -> dict[str, Any]:
    """What the figures depend on: not where the files lie."""
    kept = ("data", "judge", "suite", "attributes", "lpips", "detectors", "seed")
    found = {name: files.plain(cfg[name]) for name in kept if name in cfg}
    if cfg.get("panel"):
        found["panel"] = files.plain(cfg.panel)
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


def _panel(panel: Sequence[Stages], kin: Kin, data: str) -> tuple[Recognizer, ...]:
    return tuple(
        replace(_judge(each, data), architecture=architecture(each.judge.recognizer), kin=kin.of(number))
        for number, each in enumerate(panel)
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


def _set_notes(stages: Stages, data: str, pairs: bool) -> list[str]:
    """
    Args:
        pairs: with what is to be known of the pairs that the data set brings.
    """
    judge, people = stages.judge, stages.subjects(data)
    known = stages.calibrations.of_probes(data, judge).found
    notes = set_notes(people, stages.suite, judge.recognizer, stages.given, known)
    if people.pairs is not None and pairs:
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


def finished(document: Document, pictures: dict[str, str], seconds: float, device: torch.device | str) -> Document:
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    made = {"date": now, "seconds": round(seconds, 1), "device": str(device), "cores": os.cpu_count() or 0}
    made["computed by"] = computes(device)  # costs are of this machine
    lines = tuple(
        replace(
            line,
            metrics=_alone(line.metrics),
            by_judge={judge: _alone(figures) for judge, figures in line.by_judge.items()},
        )
        for line in document.lines
    )
    return replace(document, lines=lines, pictures=pictures, made=made)


def _alone(figures: Mapping[str, Estimate]) -> dict[str, Estimate]:
    """Without what they are compared with each other by."""
    return {name: replace(figure, draws=None, each=None) for name, figure in figures.items()}
