"""Ultra-Light-Fast-Generic-Face-Detector-1MB (github.com/Linzaer, 2019): the independent second detector, boxes only.

Other authors, other architecture and other training than YuNet and insightface: what both find is a face. The files
decode their priors inside the graph and give corners as shares of the canvas. The input is fixed, 320 x 240 (``slim``)
or 640 x 480 (``RFB``); frames keep their aspect in it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anon.faces.detection.files import Network
from anon.faces.detection.frames import Candidates, FrameDetector, no_points

ORIGIN = (
    "take models/onnx/version-RFB-640.onnx or version-slim-320.onnx of "
    "github.com/Linzaer/Ultra-Light-Fast-Generic-Face-Detector-1MB (MIT)"
)


class UltraLight(FrameDetector):
    """UltraLight from its ONNX file.

    Args:
        weights: the file, such as ``version-RFB-640.onnx``.
        threshold, nms, frames: see :class:`FrameDetector`.

    Raises:
        UserError: no such file, damaged, or another network.
    """

    name = "ultralight"
    has_points = False

    def __init__(self, weights: str | Path | None, threshold: float = 0.7, nms: float = 0.3, **frames: Any) -> None:
        super().__init__(threshold, nms, **frames)
        self._network = Network(weights, self.name, ORIGIN)
        self.canvas = self._network.canvas
        if self.canvas is None or self._network.ranks != [3, 3]:
            raise self._network.refuse("it has no fixed input, or not the outputs scores and boxes")
        self.find(np.zeros((1, *self.canvas, 3), np.uint8), 0.0)  # checks the outputs' shapes

    def find(self, images: NDArray[np.uint8], smallest: float) -> list[Candidates]:
        """See :meth:`FrameDetector.find`."""
        height, width = images.shape[1:3]
        sides = np.array([width, height, width, height], np.float32)
        found = []
        for image in images:  # the published files are fixed to one image
            blob = (image[None].astype(np.float32) - 127.0) / 128.0
            scores, boxes = self._network.run(blob.transpose(0, 3, 1, 2))
            if scores.shape != (1, boxes.shape[1], 2) or boxes.shape != (1, boxes.shape[1], 4):
                raise self._network.refuse(f"its outputs are {scores.shape} and {boxes.shape}")
            chosen = scores[0, :, 1] >= self.threshold
            corners = boxes[0, chosen] * sides
            found.append(Candidates(corners, no_points(len(corners)), scores[0, chosen, 1]))
        return found
