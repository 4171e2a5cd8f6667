"""What must stay of the face: error of pose, expression, gaze and landmarks against the truth.

The functional twin is :func:`anon.attributes.regressor.attribute_errors`. The estimates come from a regressor that has
an error of its own on unchanged faces too, so a table shows both and their ratio.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from anon.attributes.regressor import Attributes, attribute_errors

NAMES = ("pose", "expression", "gaze", "landmarks")


class AttributeErrors(Metric):
    """Mean error of each attribute over all faces: degrees, expression units, degrees, pixels.

    >>> truth = Attributes(pose=torch.zeros(1, 3), expression=torch.zeros(1, 4), gaze=torch.zeros(1, 2),
    ...                    landmarks=torch.zeros(1, 5, 2))
    >>> metric = AttributeErrors()
    >>> metric.update({**truth, "pose": torch.tensor([[3.0, 4.0, 0.0]])}, truth)
    >>> metric.compute()["pose"]
    tensor(5.)
    """

    full_state_update = False
    higher_is_better = False
    faces: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("faces", torch.tensor(0), dist_reduce_fx="sum")
        for name in NAMES:
            self.add_state(name, torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, read: Attributes, truth: Attributes) -> None:
        """Estimates and truth of the same faces."""
        for name, errors in attribute_errors(read, truth).items():
            setattr(self, name, getattr(self, name) + errors.double().sum())
        self.faces += len(truth["pose"])

    def compute(self) -> dict[str, Tensor]:
        """By name, () float32; NaN without faces."""
        return {name: (getattr(self, name) / self.faces).float() for name in NAMES}
