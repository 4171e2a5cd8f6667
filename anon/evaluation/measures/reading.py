"""What the estimator of attributes reads of a cell, and in words why it reads something not."""

from __future__ import annotations

from anon.attributes.regressor import AttributeRegressor
from anon.evaluation.figures import Figure
from anon.evaluation.harness.cell import Cell
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


def out_of_place(cell: Cell) -> bool:
    """Whether the estimator knows rendered faces only, and these are not such: the data knows no truth of them."""
    return isinstance(cell.bench.tools.attributes, AttributeRegressor) and not set(NAMES) <= set(cell.people.truth)


def read(cell: Cell, of: str) -> Tensors:
    """What is read of the rows in one of their states, each (R, ...)."""
    return {} if out_of_place(cell) else cell.read(of)


def unread(cell: Cell, name: str) -> Figure:
    """Why there is no reading of ``name``."""
    estimator = cell.bench.tools.attributes
    wanted = f"attributes@metrics.attributes={CHOICES.get(name, f'<one that reads {name}>')}"
    if estimator is None:
        return Figure.absent(f"needs {wanted}")
    if out_of_place(cell):
        return Figure.absent(f"n/a ({estimator.name} reads rendered faces only; needs {wanted})")
    return Figure.absent(f"n/a ({estimator.name} does not read it; needs {wanted})")
