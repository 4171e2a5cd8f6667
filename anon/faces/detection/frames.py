"""What all detectors share: frames of any size into canvases that a network takes, and its faces back into the frame.

A frame is scaled down until its longer side is ``max_side`` (never up, except into a network of fixed input) and put at
the top left of a canvas whose sides the network's strides divide; what it finds is suppressed and scaled back.
Coordinates are divided by the scale, without a half pixel, as the published code does: see docs/detectors.md.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from anon.faces.detection.contract import Detections

Floats = NDArray[np.float32]
_MOST = 5000  # candidates of a canvas that reach the suppression; noise can give more


class Candidates(NamedTuple):
    """What a network found on one canvas, in its pixels, in any order and with repetitions."""

    boxes: Floats  # (N, 4) left, top, right, bottom
    points: Floats  # (N, 5, 2), NaN where there are none
    scores: Floats  # (N,)


class FrameDetector(ABC):
    """A detector but for its network: see :class:`anon.faces.detection.contract.Detector`.

    Args:
        threshold: least score.
        nms: of two boxes with a larger intersection over union the better stays.
        min_size: least shorter side of a box, in pixels of the frame.
        max_side: longer side in pixels to which a larger frame is scaled down first.
        batch: how many frames of one size go through the network together, where it takes more than one.

    Raises:
        ValueError: an option outside its range.
    """

    name: str
    has_points: bool = True
    stride: int = 1  # sides of the canvas are multiples of it
    canvas: tuple[int, int] | None = None  # (height, width) of a network with a fixed input

    def __init__(self, threshold: float, nms: float, min_size: float = 16, max_side: int = 640, batch: int = 8) -> None:
        if not (0 < threshold <= 1 and 0 <= nms <= 1 and min_size >= 0 and max_side >= 32 and batch >= 1):
            raise ValueError(
                "threshold must be in (0, 1], nms in [0, 1], min_size >= 0, max_side >= 32 and batch >= 1; got "
                f"{threshold}, {nms}, {min_size}, {max_side}, {batch}."
            )
        self.threshold, self.nms = threshold, nms
        self.min_size, self.max_side, self.batch = min_size, max_side, batch

    @abstractmethod
    def find(self, images: NDArray[np.uint8], smallest: float) -> list[Candidates]:
        """Candidates with at least ``threshold`` on each canvas.

        Args:
            images: ``(B, H, W, 3)`` RGB.
            smallest: ``min_size`` in pixels of the canvas, for networks that can save work by it.
        """

    def detect(self, frame: Tensor) -> Detections:
        """The faces of one frame, uint8 ``(H, W, 3)`` RGB."""
        return self.detect_batch([frame])[0]

    def detect_batch(self, frames: Sequence[Tensor]) -> list[Detections]:
        """The faces of each frame; those of one size go through the network together.

        Raises:
            ValueError: a frame is not uint8 ``(H, W, 3)`` with at least one pixel.
        """
        sizes: dict[tuple[int, int], list[int]] = {}
        for index, frame in enumerate(frames):
            if frame.dtype != torch.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or not frame.numel():
                raise ValueError(f"a frame must be uint8 (H, W, 3) RGB, got {frame.dtype} {tuple(frame.shape)}.")
            sizes.setdefault((frame.shape[0], frame.shape[1]), []).append(index)
        found: dict[int, Detections] = {}
        for size, members in sizes.items():
            for start in range(0, len(members), self.batch):
                chunk = members[start : start + self.batch]
                found.update(zip(chunk, self._detect_equal([frames[i] for i in chunk], size), strict=True))
        return [found[index] for index in range(len(frames))]

    def _detect_equal(self, frames: list[Tensor], size: tuple[int, int]) -> list[Detections]:
        """Frames of one size."""
        (height, width), canvas = self._fit(size)
        images = np.zeros((len(frames), *canvas, 3), np.uint8)
        for image, frame in zip(images, frames, strict=True):
            pixels = frame.cpu().numpy()
            if (height, width) != size:
                shrinks = height * width < size[0] * size[1]
                pixels = cv2.resize(
                    pixels, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
                )
            image[:height, :width] = pixels
        scale = np.array([width / size[1], height / size[0]], np.float32)
        candidates = self.find(images, self.min_size * float(scale.min()))
        return [self._select(each, scale) for each in candidates]

    def _fit(self, size: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
        """(Height, width) of the scaled frame and of the canvas that it lies on."""
        scale = self.max_side / max(size)
        if self.canvas is None:
            scale = min(scale, 1.0)
        else:
            scale = min(scale, *(room / side for room, side in zip(self.canvas, size, strict=True)))
        height, width = (max(1, round(side * scale)) for side in size)
        if self.canvas is not None:
            return (height, width), self.canvas
        return (height, width), (-(-height // self.stride) * self.stride, -(-width // self.stride) * self.stride)

    def _select(self, found: Candidates, scale: Floats) -> Detections:
        """Candidates of one canvas to the faces of its frame."""
        boxes, points, scores = found
        sound = np.isfinite(boxes).all(1) & (boxes[:, 2:] > boxes[:, :2]).all(1) & (scores >= self.threshold)
        chosen = np.flatnonzero(sound)
        chosen = chosen[np.argsort(-scores[chosen], kind="stable")[:_MOST]]
        boxes, points, scores = boxes[chosen], points[chosen], scores[chosen]
        kept = suppress(boxes, scores, self.nms)
        boxes = (boxes[kept].reshape(-1, 2, 2) / scale).reshape(-1, 4)
        points = points[kept] / scale
        large = (boxes[:, 2:] - boxes[:, :2]).min(1) >= self.min_size if len(boxes) else np.zeros(0, bool)
        return Detections(
            torch.from_numpy(boxes[large].astype(np.float32)),
            torch.from_numpy(points[large].astype(np.float32)),
            torch.from_numpy(scores[kept][large].astype(np.float32)).clamp(0.0, 1.0),
        )


def no_points(count: int) -> Floats:
    """``(count, 5, 2)`` NaN."""
    return np.full((count, 5, 2), np.nan, np.float32)


def suppress(
    boxes: Floats, scores: Floats, iou: float, groups: NDArray[np.int64] | None = None, smaller: bool = False
) -> NDArray[np.int64]:
    """Greedy non-maximum suppression, best first; of equal scores the earlier one is the better.

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


def overlaps(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of boxes (T, 4) with boxes (N, 4), (T, N).

    >>> overlaps(torch.tensor([[0.0, 0, 2, 2]]), torch.tensor([[0.0, 1, 2, 3], [5, 5, 6, 6]]))
    tensor([[0.3333, 0.0000]])
    """
    low, high = torch.maximum(first[:, None, :2], second[:, :2]), torch.minimum(first[:, None, 2:], second[:, 2:])
    shared = (high - low).clamp_min(0).prod(-1)
    return shared / (areas(first)[:, None] + areas(second) - shared).clamp_min(1e-6)


def areas(boxes: Tensor) -> Tensor:
    """Of boxes (..., 4), (...)."""
    return (boxes[..., 2:] - boxes[..., :2]).clamp_min(0).prod(-1)
