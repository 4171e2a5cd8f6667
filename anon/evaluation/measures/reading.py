"""What the estimator of attributes reads of a context, and in words why it reads something not."""

from __future__ import annotations

from anon.attributes.regressor import AttributeRegressor
from anon.evaluation.estimates import Estimate
from anon.evaluation.harness.context import MeasureContext
from anon.evaluation.harness.store import Tensors
from anon.metrics.attributes import NAMES

#: An estimator of conf/attributes that reads it.
CHOICES = {
    "pose": "fsanet",
    "expression": "expression",
    "gaze": "l2cs",
    "landmarks": "facemesh",
    "age": "faceapi_age_gender",
    "gender": "faceapi_age_gender",
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
