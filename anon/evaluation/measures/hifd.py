"""HiFD's scores and composites of a method, and its predictions in the schema of the package ``hifd`` (0.1.0, MIT).

    hifd_P, hifd_Q, hifd_U1, hifd_U2    of the published face against the target, see :mod:`anon.metrics.hifd`
    hifd_U3                             absent: nothing here reads a pulse
    hifd_<task>                         the parts of U1: age, gender, expression, landmarks
    hifd_<profile>                      composites; hifd_<profile>_covered: the share of its weights that is measured

With ``export`` the run folder has ``hifd/<method>-<policy>/``: ``original/`` and ``deid/`` with a JSON file for each
task that was read, methods.yaml and estimators.yaml. Faces go by numbers, no names. The package's own pipeline writes
NIQE as it is in the place of Q, so compare P, U1 and U2 with it and take Q and the composites from here.

    python evaluate.py suite=hifd suite.measures.hifd.export=true
    hifd run-all --methods methods.yaml --estimators estimators.yaml --data-dir . --out scores      # in that folder
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from omegaconf import OmegaConf
from torch import Tensor

from anon.evaluation.document.estimates import Estimate
from anon.evaluation.document.metric_info import MetricInfo, share
from anon.evaluation.harness.attackers import NO_DIRECTION
from anon.evaluation.harness.context import PUBLISHED, TARGET, MeasureContext
from anon.evaluation.harness.store import Tensors
from anon.evaluation.harness.suite import CLEAN, NONE, PLAIN
from anon.evaluation.intervals.bootstrap import Bootstrap
from anon.evaluation.measures.attributes import read, unread
from anon.evaluation.measures.picture import Picture
from anon.evaluation.measures.quality import naturalness
from anon.metrics.hifd import (
    PARTS,
    PROFILES,
    age_score,
    composite,
    covered,
    directions,
    distribution_score,
    gaze_score,
    landmark_score,
    privacy_score,
    quality_score,
)

SCHEMA = "1.0"
TASKS = ("age", "gender", "expression", "landmarks")  # of U1; nothing here reads ethnicity
EYES = {5: ([0], [1]), 68: (list(range(36, 42)), list(range(42, 48)))}  # places of the eyes among K landmarks


class Hifd:
    """The measure, of published faces.

    Args:
        lpips: see :class:`anon.evaluation.measures.picture.Picture`.
        export: write the predictions.
    """

    metrics: ClassVar[Mapping[str, MetricInfo]] = {
        "hifd_P": share("HiFD's P", "privacy", True),
        "hifd_Q": share("HiFD's Q", "quality", True),
        **{f"hifd_{name}": share(f"HiFD's {name}", "utility", True) for name in ("U1", "U2", "U3", *TASKS)},
        **{f"hifd_{name}": share(f"HiFD, {name.replace('_', ' ')}", "quality", True, judged=True) for name in PROFILES},
        **{f"hifd_{name}_covered": share(f"weights of HiFD, {name}", "quality", None) for name in PROFILES},
    }

    def __init__(self, lpips: str | None = None, export: bool = False) -> None:
        self.picture, self.export = Picture(lpips), export

    def __call__(self, context: MeasureContext) -> dict[str, Estimate]:
        """The figures; none of unchanged faces, and none with an attack, whose pictures nobody publishes."""
        if context.unchanged or context.one.attack != NONE:
            return {}
        before, after = read(context, TARGET), read(context, PUBLISHED)
        found = {"P": Estimate.absent(NO_DIRECTION), "Q": self._quality(context)}
        if context.metric == "cosine":
            cosine = (context.z(TARGET) * context.z(PUBLISHED)).sum(1)
            found["P"] = context.mean(privacy_score(cosine))
        found |= {name: _of_task(context, name, before, after) for name in TASKS}
        known = [found[name] for name in TASKS if found[name].value is not None]
        found["U1"] = _joined(context, known, lambda *each: torch.stack(each).mean(0)) if known else found["age"]
        found["U2"] = unread(context, "gaze")
        if "gaze" in after:
            found["U2"] = context.known_mean(gaze_score(before["gaze"], after["gaze"]))
        found["U3"] = Estimate.absent("n/a (nothing here reads a pulse)")
        parts = {name: found[name] for name in PARTS if found[name].value is not None}
        for profile in PROFILES:
            found[profile] = Estimate.absent("n/a (no part of it is measured)")
            if parts:
                found[profile] = _joined(context, list(parts.values()), _harmonic(list(parts), profile))
            found[f"{profile}_covered"] = Estimate(covered(parts, profile), n=len(context.labels))
        return {f"hifd_{name}": figure for name, figure in found.items()}

    def _quality(self, context: MeasureContext) -> Estimate:
        apart, natural = self.picture.perceptual(context), naturalness(context)
        for each in (apart, natural):
            if isinstance(each, Estimate):
                return each
        return context.known_mean(quality_score(apart, natural))  # type: ignore[arg-type]

    def files(self, context: MeasureContext, label: str) -> dict[str, str]:
        """The predictions by path, where they are asked for."""
        if not self.export or context.unchanged or context.one.attack != NONE:
            return {}
        before, after = (_predictions(context, state) for state in (TARGET, PUBLISHED))
        natural = naturalness(context)
        if not isinstance(natural, Estimate):
            after["niqe"] = {"predictions": _rows(natural, lambda value: {"niqe": float(value)})}
        reader, judge = context.stages.readers.attributes, context.stages.judge.recognizer.name
        own = {"face_embedding": judge, "niqe": "niqe"}
        found: dict[str, str] = {}
        tasks: dict[str, dict[str, list[dict[str, str]]]] = {}
        for source, contents in (("original", before), ("deid", after)):
            for task, content in contents.items():
                who = own.get(task) or str(getattr(reader, "name", ""))
                envelope = {"task": task, "source": source, "estimator": who, "schema_version": SCHEMA}
                found[f"{source}/{task}.json"] = json.dumps(envelope | content)
                (estimator,) = tasks.setdefault(task, {"estimators": [{"name": who}]})["estimators"]
                estimator["orig_json" if source == "original" else "deid_json"] = f"{task}.json"
        methods = {"original": {"base_path": "original"}, "methods": [{"name": label, "base_path": "deid"}]}
        found["methods.yaml"] = OmegaConf.to_yaml(methods)
        found["estimators.yaml"] = OmegaConf.to_yaml({"tasks": tasks})
        named = [str(part) for part in vars(context.one).values() if part not in (None, NONE, CLEAN, PLAIN)]
        folder = re.sub(r"[^\w.]+", "-", "-".join(named))
        return {f"{folder}/{path}": text for path, text in found.items()}


def _of_task(context: MeasureContext, name: str, before: Tensors, after: Tensors) -> Estimate:
    """One part of U1."""
    if name not in after:
        return unread(context, name)
    one, other = before[name], after[name]
    if name == "age":
        return context.known_mean(age_score(one, other))
    if name == "gender":
        return context.known_mean(distribution_score(_two(one), _two(other)))
    if name == "expression":
        if not _are_probabilities(one):
            return Estimate.absent("n/a (the reader gives no probabilities of expressions)")
        return context.known_mean(distribution_score(one, other))
    eyes = _eyes(one)
    if eyes is None:
        return Estimate.absent("n/a (where the eyes are among these landmarks is not known)")
    return context.known_mean(landmark_score(one, other, *eyes))


def _two(female: Tensor) -> Tensor:
    """Probabilities (B, 2) of both classes."""
    return torch.stack([female, 1.0 - female], -1)


def _are_probabilities(values: Tensor) -> bool:
    return values.ndim == 2 and bool(((values >= 0) & ((values.sum(1, keepdim=True) - 1).abs() < 1e-3)).all())


def _eyes(points: Tensor) -> tuple[Tensor, Tensor] | None:
    """Centres (B, 2) of the left and the right eye as seen in the image."""
    places = EYES.get(points.shape[1])
    return None if places is None else (points[:, places[0]].mean(1), points[:, places[1]].mean(1))


def _harmonic(names: Sequence[str], profile: str) -> Callable[..., Tensor]:
    return lambda *values: composite(dict(zip(names, values, strict=True)), profile)


def _joined(context: MeasureContext, parts: Sequence[Estimate], function: Callable[..., Tensor]) -> Estimate:
    """A function of figures, with the interval of the same function of their resamples."""
    value = float(function(*(torch.tensor(part.number, dtype=torch.float64) for part in parts)))
    n, draws = min(part.n for part in parts), [part.draws for part in parts]
    if any(each is None for each in draws):
        return Estimate(value, n=n)
    joined = function(*draws)
    low, high = Bootstrap.interval(joined, len(context.labels.unique()))
    return Estimate(value, min(low, value), max(high, value), n=n, draws=joined)


def _rows(values: Tensor, told: Callable[[Any], dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Predictions by the number of the face; a face of which nothing is known is left out."""
    known = [not bool(value.isnan().any()) for value in values]
    return {f"{row:06d}": told(value) for row, value in enumerate(values) if known[row]}


def _predictions(context: MeasureContext, state: str) -> dict[str, dict[str, Any]]:
    """By task, what the judge and the reader say of the rows in one of their states."""
    values = read(context, state)
    found: dict[str, dict[str, Any]] = {
        "face_embedding": {"predictions": _rows(context.z(state), lambda z: {"embedding": z.tolist()})}
    }
    if "age" in values:
        found["age"] = {"predictions": _rows(values["age"], lambda age: {"value": float(age)})}
    if "gender" in values:
        rows = _rows(_two(values["gender"].clamp(0.0, 1.0)), lambda each: {"probs": each.tolist()})
        found["gender"] = {"class_names": ["female", "male"], "predictions": rows}
    expression = values.get("expression")
    if expression is not None and _are_probabilities(expression):
        names = [f"class {number}" for number in range(expression.shape[1])]
        rows = _rows(expression, lambda each: {"probs": each.tolist()})
        found["macro_exp"] = {"class_names": names, "predictions": rows}
    points = values.get("landmarks")
    eyes = None if points is None else _eyes(points)
    if points is not None and eyes is not None:
        both = torch.cat([points, torch.stack(eyes, 1)], 1)
        found["landmark"] = {"predictions": _rows(both, _landmarks)}
    if "gaze" in values:
        rows = _rows(directions(values["gaze"]), lambda each: {"direction": each.tolist()})
        found["gaze"] = {"predictions": rows}
    return found


def _landmarks(points: Tensor) -> dict[str, Any]:
    *rest, left, right = points.tolist()
    return {"points": rest, "left_eye_center": left, "right_eye_center": right}
