"""Does the face keep its shape? Distance of landmarks once place, size and roll are taken out (Procrustes).

Both sets of points are centred and scaled to unit size; the changed one is then turned and scaled onto the target's by
least squares, never mirrored. In the plane, with points as complex numbers u and v of unit norm, that is one product
(Dryden and Mardia, Statistical Shape Analysis, 2nd ed. 2016, chapter 8), which is what the singular value decomposition
with its guard against reflection gives:

    d = | v - <u, v> u |        <u, v> = Σ conj(u_k) v_k

Where the paper "Face Anonymization Made Simple" says shape, it means the coefficients of a 3-D face model; this is the
same question asked of landmarks, which see the pose too: yaw and pitch are not taken out.
"""

from __future__ import annotations

import torch
from torch import Tensor

from anon.metrics.attributes import KnownMean


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


class ShapeDistance(KnownMean):
    """The class of :func:`shape_distance`, over the faces whose points are all known in both pictures."""

    higher_is_better = False
    each = staticmethod(shape_distance)  # type: ignore[assignment]
