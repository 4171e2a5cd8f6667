"""What must stay of the face: error of pose, expression, gaze and landmarks, places of points and box, age and gender.

The functional twin of :class:`AttributeErrors` is :func:`anon.attributes.regressor.attribute_errors`. The estimates
come from a regressor that has an error of its own on unchanged faces too, so a table shows both and their ratio.

The shape is the distance of landmarks once place, size and roll are taken out (Procrustes). Both sets of points are
centred and scaled to unit size; the changed one is then turned and scaled onto the target's by least squares, never
mirrored. In the plane, with points as complex numbers u and v of unit norm, that is one product (Dryden and Mardia,
Statistical Shape Analysis, 2nd ed. 2016, chapter 8), which is what the singular value decomposition with its guard
against reflection gives:

    d = | v - <u, v> u |        <u, v> = Σ conj(u_k) v_k

Where the paper "Face Anonymization Made Simple" says shape, it means the coefficients of a 3-D face model; this is the
same question asked of landmarks, which see the pose too: yaw and pitch are not taken out.
"""

from __future__ import annotations

import torch
from torch import Tensor

from anon.attributes.distances import distances
from anon.attributes.regressor import attribute_errors
from anon.metrics.states import FaceMeans, KnownMean

NAMES = ("pose", "expression", "gaze", "landmarks")


def keypoint_distance(changed: Tensor, target: Tensor) -> Tensor:
    """Average keypoint distance of each face (AKD; the book, section 8.6), (B,) pixels; NaN where a point is unknown.

    Args:
        changed, target: (B, K, 2) landmarks that one detector finds in the changed and the original picture.

    >>> keypoint_distance(torch.tensor([[[3.0, 4.0], [0.0, 1.0]]]), torch.zeros(1, 2, 2))
    tensor([3.])
    """
    return distances({"landmarks": changed}, {"landmarks": target})["landmarks"]


def box_distance(changed: Tensor, target: Tensor) -> Tensor:
    """How far the sides of each face's box move, mean of the four, (B,) pixels (the book's Pixel-dis, section 3.3).

    The book gives no formula: "the mean pixel deviation of the detected face box" is read as the mean |difference| of
    its sides.

    Args:
        changed, target: (B, 4) left, top, right, bottom; NaN where no face was found.

    >>> box_distance(torch.tensor([[1.0, 2.0, 10.0, 13.0]]), torch.tensor([[0.0, 2.0, 10.0, 10.0]]))
    tensor([1.])
    """
    return (changed - target).abs().mean(-1)


def age_agrees(changed: Tensor, target: Tensor, years: float = 5.0) -> Tensor:
    """Whether the ages (B,) read before and after differ by at most ``years``, (B,) float; NaN where one is unknown.

    >>> age_agrees(torch.tensor([30.0, 30.0]), torch.tensor([35.0, 36.0]))
    tensor([1., 0.])
    """
    apart = (changed - target).abs()
    return torch.where(apart.isnan(), apart, (apart <= years).to(apart.dtype))


def gender_agrees(changed: Tensor, target: Tensor) -> Tensor:
    """Whether both probabilities (B,) lie on one side of a half, (B,) float; NaN where one is unknown.

    >>> gender_agrees(torch.tensor([0.9, 0.4]), torch.tensor([0.5, 0.6]))
    tensor([1., 0.])
    """
    same = ((changed >= 0.5) == (target >= 0.5)).to(changed.dtype)
    return torch.where(changed.isnan() | target.isnan(), float("nan"), same)


def shape_distance(changed: Tensor, target: Tensor) -> Tensor:
    """Full Procrustes distance of each face, (B,) in [0, 1]: root mean square distance of the points, in shares of the
    target's root mean square distance from their centre; NaN where a point is unknown or all fall together.

    It does not depend on K, and is the root of scipy.spatial.procrustes' disparity wherever that does not mirror.

    Args:
        changed, target: (B, K, 2) landmarks in any unit, K >= 3.

    >>> square = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]])
    >>> turned = 3 * square.flip(-1) * torch.tensor([-1.0, 1.0]) + 7
    >>> shape_distance(turned, square).round(decimals=6)
    tensor([0.])
    """
    u, v = (_unit(torch.view_as_complex(points.double().contiguous())) for points in (changed, target))  # (B, K)
    match = (u.conj() * v).sum(1, keepdim=True)
    return torch.linalg.vector_norm(v - match * u, dim=1).to(target.dtype)


def _unit(points: Tensor) -> Tensor:
    centred = points - points.mean(1, keepdim=True)
    return centred / torch.linalg.vector_norm(centred, dim=1, keepdim=True)


class AttributeErrors(FaceMeans):
    """Mean error of each attribute over all faces: degrees, expression units, degrees, pixels.

    >>> from anon.attributes.regressor import Attributes
    >>> truth = Attributes(pose=torch.zeros(1, 3), expression=torch.zeros(1, 4), gaze=torch.zeros(1, 2),
    ...                    landmarks=torch.zeros(1, 5, 2))
    >>> metric = AttributeErrors()
    >>> metric.update({**truth, "pose": torch.tensor([[3.0, 4.0, 0.0]])}, truth)
    >>> metric.compute()["pose"]
    tensor(5.)
    """

    higher_is_better = False
    names = NAMES
    each = staticmethod(attribute_errors)  # type: ignore[assignment]


class KeypointDistance(KnownMean):
    """The class of :func:`keypoint_distance`, over the faces whose points are all known in both pictures.

    >>> metric = KeypointDistance()
    >>> metric.update(torch.tensor([[[3.0, 4.0]], [[float("nan"), 0.0]]]), torch.zeros(2, 1, 2))
    >>> metric.compute(), metric.faces
    (tensor(5.), tensor(1))
    """

    higher_is_better = False
    each = staticmethod(keypoint_distance)  # type: ignore[assignment]


class BoxDistance(KnownMean):
    """The class of :func:`box_distance`, over the faces that are found in both pictures."""

    higher_is_better = False
    each = staticmethod(box_distance)  # type: ignore[assignment]


class ShapeDistance(KnownMean):
    """The class of :func:`shape_distance`, over the faces whose points are all known in both pictures."""

    higher_is_better = False
    each = staticmethod(shape_distance)  # type: ignore[assignment]


class AgeAgreement(KnownMean):
    """Share of faces whose age stays within ``years``; the class of :func:`age_agrees`."""

    higher_is_better = True

    def __init__(self, years: float = 5.0) -> None:
        super().__init__()
        self.years = years

    def each(self, *inputs: Tensor) -> Tensor:
        """Ages (B,) after and before -> (B,)."""
        changed, target = inputs
        return age_agrees(changed, target, self.years)


class GenderAgreement(KnownMean):
    """Share of faces whose gender stays; the class of :func:`gender_agrees`."""

    higher_is_better = True
    each = staticmethod(gender_agrees)  # type: ignore[assignment]
