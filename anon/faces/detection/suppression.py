"""Non-maximum suppression: of boxes that overlap, the best one stays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def suppress(
    boxes: Floats, scores: Floats, iou: float, groups: NDArray[np.int64] | None = None, smaller: bool = False
) -> NDArray[np.int64]:
    """Greedy suppression, best first; of equal scores the earlier one is the better.

    One vectorised step per box that stays, so memory is linear in N.

    Args:
        boxes: ``(N, 4)`` left, top, right, bottom.
        scores: ``(N,)``.
        iou: a box that overlaps a better one by more goes.
        groups: ``(N,)``; boxes of different groups (images, scales) do not suppress each other.
        smaller: overlap is the share of the smaller box rather than intersection over union (MTCNN's last step).

    Returns:
        Indices of the boxes that stay, by falling score.
    """
    order = np.argsort(-scores, kind="stable")
    area = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0), 1)
    kept = []
    while order.size:
        best, rest = order[0], order[1:]
        kept.append(best)
        low = np.maximum(boxes[best, :2], boxes[rest, :2])
        high = np.minimum(boxes[best, 2:], boxes[rest, 2:])
        shared = np.prod(np.maximum(high - low, 0.0), 1)
        whole = np.minimum(area[best], area[rest]) if smaller else area[best] + area[rest] - shared
        stays = shared <= iou * whole
        if groups is not None:
            stays |= groups[rest] != groups[best]
        order = rest[stays]
    return np.array(kept, np.int64)
