"""What must stay of the face: error of pose, expression, gaze and landmarks against the truth, one value per face.

Estimates come from a regressor that has an error of its own, also on unchanged faces; a table shows both and the ratio.
``estimate`` and ``truth`` hold the keys of :class:`anon.faces.contract.Sample`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from anon.metrics.preservation import FaceMean

ATTRIBUTES = ("pose", "expression", "gaze", "landmarks")


def attribute_error(estimate: Tensor, truth: Tensor) -> Tensor:
    """L2 distance of each face's attribute, (B,); for points (B, 5, 2) the mean distance of a point.

    Pose and gaze in degrees (angles differ by less than 180), landmarks in pixels, expression in its own units.

    >>> attribute_error(torch.tensor([[3.0, 4.0, 0.0]]), torch.zeros(1, 3))
    tensor([5.])
    """
    return torch.linalg.vector_norm(estimate - truth, dim=-1).reshape(len(truth), -1).mean(1)


def attribute_errors(estimate: Mapping[str, Tensor], truth: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """:func:`attribute_error` of every attribute that both have, by name."""
    return {name: attribute_error(estimate[name], truth[name]) for name in ATTRIBUTES if name in estimate and name in truth}


class AttributeErrorMean(FaceMean):
    """The class of :func:`attribute_error`, for one attribute."""

    each = staticmethod(attribute_error)  # type: ignore[assignment]
