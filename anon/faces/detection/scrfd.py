"""insightface's detectors as ONNX files: SCRFD (Guo et al. 2021, arXiv:2105.04714) and its RetinaFace exports.

The format is told by the number of outputs: scores, then boxes, then points for every stride; 6 or 9 outputs are
strides 8, 16, 32 with two anchors a place, 10 or 15 are strides 8 to 128 with one; without points it is 6 or 10. Boxes
and points are distances from the place (column, row) x stride, in strides. Input RGB, (x - 127.5) / 128.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anon.faces.detection.files import Network
from anon.faces.detection.frames import Candidates, Floats, FrameDetector, no_points

ORIGIN = (
    "take det_10g.onnx of insightface's pack buffalo_l, det_500m.onnx of buffalo_s or scrfd_10g_bnkps.onnx "
    "(github.com/deepinsight/insightface, weights for research only)"
)
_LEVELS = {6: 3, 9: 3, 10: 5, 15: 5}  # outputs: strides


class Scrfd(FrameDetector):
    """SCRFD or RetinaFace from an insightface ONNX file.

    Args:
        weights: the file, such as ``det_10g.onnx``.
        threshold, nms, frames: see :class:`FrameDetector`. Files that are fixed to one image, as those of insightface's
            packs, take one after the other.

    Raises:
        UserError: no such file, damaged, or another network.
    """

    name = "scrfd"

    def __init__(self, weights: str | Path | None, threshold: float = 0.5, nms: float = 0.4, **frames: Any) -> None:
        super().__init__(threshold, nms, **frames)
        self._network = Network(weights, self.name, ORIGIN)
        outputs = len(self._network.ranks)
        if outputs not in _LEVELS or not set(self._network.ranks) <= {2, 3}:
            raise self._network.refuse(f"it has {outputs} outputs; SCRFD has 6, 9, 10 or 15 tables")
        self.name = self._network.file.stem
        self._levels = _LEVELS[outputs]
        self._anchors = 2 if self._levels == 3 else 1
        self.has_points = outputs == 3 * self._levels
        self.canvas = self._network.canvas
        self.stride = 8 << (self._levels - 1)
        if self.canvas is not None and any(side % self.stride for side in self.canvas):
            raise self._network.refuse(f"its input {self.canvas} is no multiple of {self.stride}")
        self._single = self._network.inputs[0] is not None or 2 in self._network.ranks
        height, width = self.canvas or (self.stride, self.stride)
        self.find(np.zeros((1, height, width, 3), np.uint8), 0.0)  # checks the outputs' shapes

    def find(self, images: NDArray[np.uint8], smallest: float) -> list[Candidates]:
        """See :meth:`FrameDetector.find`."""
        blob = ((images.astype(np.float32) - 127.5) / 128.0).transpose(0, 3, 1, 2)
        parts = np.split(blob, len(blob)) if self._single else [blob]
        return [found for part in parts for found in self._decode(self._network.run(part), part.shape)]

    def _decode(self, outputs: list[Floats], shape: tuple[int, ...]) -> list[Candidates]:
        """Outputs for a blob of ``shape`` (B, 3, H, W) to candidates."""
        count, _, height, width = shape
        places = []
        tables: list[list[Floats]] = [[], [], []]  # scores (B, N, 1), boxes (B, N, 4), points (B, N, 10) of all strides
        for level in range(self._levels):
            stride = 8 << level
            y, x = np.mgrid[0 : height // stride, 0 : width // stride].astype(np.float32) * stride
            place = np.repeat(np.stack((x, y), -1).reshape(-1, 2), self._anchors, 0)  # (N, 2)
            places.append(place)
            for kind in range(3 if self.has_points else 2):
                table, columns = outputs[kind * self._levels + level], (1, 4, 10)[kind]
                table = table[None] if table.ndim == 2 else table
                if table.shape != (count, len(place), columns):
                    raise self._network.refuse(f"an output is {table.shape}, not {(count, len(place), columns)}")
                tables[kind].append(table if kind == 0 else table * stride)
        scores, boxes = np.concatenate(tables[0], 1)[..., 0], np.concatenate(tables[1], 1)
        points = np.concatenate(tables[2], 1) if self.has_points else None
        centres = np.concatenate(places)
        found = []
        for image in range(count):
            chosen = np.flatnonzero(scores[image] >= self.threshold)
            centre, distance = centres[chosen], boxes[image, chosen]
            corners = np.concatenate((centre - distance[:, :2], centre + distance[:, 2:]), 1)
            five = no_points(len(chosen))
            if points is not None:
                five = points[image, chosen].reshape(-1, 5, 2) + centre[:, None]
            found.append(Candidates(corners, five, scores[image, chosen]))
        return found
