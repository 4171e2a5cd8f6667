"""What every detector gives, whatever its network: boxes, five points and scores of a frame, in the frame's pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from torch import Tensor


class Detections(NamedTuple):
    """The faces of one frame, best first; all on the CPU, float32. No face: ``N`` is 0, never None."""

    boxes: Tensor  # (N, 4) left, top, right, bottom in pixels of the frame; may reach over its border
    points: Tensor  # (N, 5, 2) the five points as seen in the image; NaN where the detector gives none
    scores: Tensor  # (N,) in [0, 1], falling


@runtime_checkable
class Detector(Protocol):
    """A face detector.

    ``name`` is how reports call it, ``has_points`` whether it gives the five points. Frames are uint8 ``(H, W, 3)`` RGB
    of any size, tiny ones and ones of a single colour included; a batch may mix sizes.
    """

    name: str
    has_points: bool

    def detect(self, frame: Tensor) -> Detections: ...

    def detect_batch(self, frames: Sequence[Tensor]) -> list[Detections]: ...
