"""What must stay of the face: pose, expression, gaze, landmarks, shape, age, gender, action units.

<name>         distance of the readings of the published face and of the target, as the swap benchmarks print it
<name>_error   of the published face against what the data knows, or else against the target's reading
<name>_ratio   that error over the estimator's own error on the unchanged faces, where the data knows the truth
landmarks_error   average keypoint distance in pixels (AKD; Wen et al., Springer 2024, section 8.6)
shape_distance    of the landmarks once place, size and roll are taken out (:mod:`anon.metrics.attributes`)
age_error, age_agreement, gender_agreement      years, share within 5 years, share on the same side
action_units_rmse, action_units_pcc             over the frames of each clip (Borghetto 2020, table 3)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from anon.attributes.distances import distances
from anon.attributes.regressor import AttributeRegressor
from anon.evaluation.document.estimates import Estimate
from anon.evaluation.document.metric_info import MetricInfo, share
from anon.evaluation.harness.context import PUBLISHED, TARGET, MeasureContext
from anon.evaluation.harness.store import Tensors
from anon.evaluation.measures.temporal import no_clips
from anon.metrics.action_units import action_unit_correlation, action_unit_rmse
from anon.metrics.attributes import (
    NAMES,
    AgeAgreement,
    AttributeErrors,
    GenderAgreement,
    ShapeDistance,
    age_agrees,
    gender_agrees,
    shape_distance,
)

LEAST_POINTS = 3  # two always have one shape
UNITS = {"pose": "°", "gaze": "°", "landmarks": "px"}
#: An estimator of conf/attributes that reads it.
CHOICES = {
    "pose": "fsanet",
    "expression": "expression",
    "gaze": "l2cs",
    "landmarks": "facemesh",
    "age": "faceapi_age_gender",
    "gender": "faceapi_age_gender",
}


class Attributes:
    """The measure."""

    metrics: ClassVar[Mapping[str, MetricInfo]] = {
        **{
            f"{name}{end}": MetricInfo(
                f"{name}{end.replace('_', ' ')}",
                "utility",
                AttributeErrors.higher_is_better,
                "" if end == "_ratio" else UNITS.get(name, ""),
                low=0.0,
            )
            for name in NAMES
            for end in ("", "_error", "_ratio")
        },
        "shape_distance": MetricInfo("shape", "utility", ShapeDistance.higher_is_better, low=0.0),
        "age_error": MetricInfo("age error", "utility", False, "years", low=0.0),
        "age_agreement": share("age agrees", "utility", AgeAgreement.higher_is_better),
        "gender_agreement": share("gender agrees", "utility", GenderAgreement.higher_is_better),
        "action_units_rmse": MetricInfo("action units RMSE", "utility", False, low=0.0),
        "action_units_pcc": MetricInfo("action units correlation", "utility", True, low=-1.0, high=1.0),
    }

    def __call__(self, context: MeasureContext) -> dict[str, Estimate]:
        """The figures; of unchanged faces the estimator's own errors where the data knows the truth."""
        target, truth = read(context, TARGET), context.truth()
        known = {
            name: truth[name] if name in truth and truth[name].shape == value.shape else None
            for name, value in target.items()
        }
        before = distances(target, {name: value for name, value in known.items() if value is not None})
        if context.unchanged:
            return {f"{name}_error": _own(context, name, target, before) for name in NAMES}
        changed = read(context, PUBLISHED)
        goal = {name: target[name] if value is None else value for name, value in known.items()}
        after, moved = distances(changed, goal), distances(changed, target)
        figures: dict[str, Estimate] = {}
        for name in NAMES:
            if name not in after:
                figures |= dict.fromkeys((name, f"{name}_error", f"{name}_ratio"), unread(context, name))
                continue
            figures[name] = context.known_mean(moved[name])
            figures[f"{name}_error"] = context.known_mean(after[name])
            figures[f"{name}_ratio"] = _ratio(context, after[name], before.get(name))
        return figures | _shape(context, changed, target) | _person(context, changed, target) | _units(context)


def _own(context: MeasureContext, name: str, target: Tensors, errors: Tensors) -> Estimate:
    if name not in target:
        return unread(context, name)
    if name not in errors:
        return Estimate.absent("n/a (no ground truth)")
    return context.known_mean(errors[name])


def _ratio(context: MeasureContext, after: Tensor, before: Tensor | None) -> Estimate:
    """Error on changed faces over the estimator's own on the same faces unchanged."""
    if before is None:
        return Estimate.absent("n/a (compared with the unchanged face)")
    both = ~(after.isnan() | before.isnan())
    if not bool(before[both].any()):
        return Estimate.absent("n/a (no error of its own)")
    return context.bootstrap.ratio(after[both], before[both], context.labels[both])


def _shape(context: MeasureContext, changed: Tensors, target: Tensors) -> dict[str, Estimate]:
    if "landmarks" not in changed:
        return {"shape_distance": unread(context, "landmarks")}
    if changed["landmarks"].shape[1] < LEAST_POINTS:
        return {"shape_distance": Estimate.absent("n/a (two points have no shape)")}
    return {"shape_distance": context.known_mean(shape_distance(changed["landmarks"], target["landmarks"]))}


def _person(context: MeasureContext, changed: Tensors, target: Tensors) -> dict[str, Estimate]:
    figures = dict.fromkeys(("age_error", "age_agreement"), unread(context, "age"))
    if "age" in changed:
        after, before = changed["age"], target["age"]
        figures["age_error"] = context.known_mean((after - before).abs())
        figures["age_agreement"] = context.known_mean(age_agrees(after, before), share=True)
    figures["gender_agreement"] = unread(context, "gender")
    if "gender" in changed:
        agrees = gender_agrees(changed["gender"], target["gender"])
        figures["gender_agreement"] = context.known_mean(agrees, share=True)
    return figures


def _units(context: MeasureContext) -> dict[str, Estimate]:
    """Each clip by itself, for the mean intensity differs from person to person; then the mean over clips."""
    names = ("action_units_rmse", "action_units_pcc")
    estimator = context.stages.readers.attributes
    if estimator is None or out_of_place(context) or "action_units" not in estimator.reads:
        return dict.fromkeys(names, unread(context, "action_units"))
    changed, target = (context.read_clips(of).get("action_units") for of in (PUBLISHED, TARGET))
    if changed is None or target is None:
        return dict.fromkeys(names, Estimate.absent(no_clips(context)))
    pairs = list(zip(changed, target, strict=True))  # (n, A) each
    values = (
        torch.stack([action_unit_rmse(after, before) for after, before in pairs]),
        torch.stack([action_unit_correlation(after, before).nanmean() for after, before in pairs]),
    )
    return {
        name: context.known_mean(value, labels=context.clip_labels) for name, value in zip(names, values, strict=True)
    }


def out_of_place(context: MeasureContext) -> bool:
    """Whether the estimator knows rendered faces only, and these are not such: the data knows no truth of them."""
    return isinstance(context.stages.readers.attributes, AttributeRegressor) and not set(NAMES) <= set(
        context.people.truth
    )


def read(context: MeasureContext, of: str) -> Tensors:
    """What is read of the rows in one of their states, each (R, ...)."""
    return {} if out_of_place(context) else context.read(of)


def unread(context: MeasureContext, name: str) -> Estimate:
    """Why there is no reading of ``name``."""
    estimator = context.stages.readers.attributes
    wanted = f"attributes={CHOICES.get(name, f'<one that reads {name}>')}"
    if estimator is None:
        return Estimate.absent(f"needs {wanted}")
    if out_of_place(context):
        return Estimate.absent(f"n/a ({estimator.name} reads rendered faces only; needs {wanted})")
    return Estimate.absent(f"n/a ({estimator.name} does not read it; needs {wanted})")
