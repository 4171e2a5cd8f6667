"""YuNet (Wu et al. 2023, https://doi.org/10.1007/s11633-023-1423-y) through OpenCV's ``FaceDetectorYN``.

75,856 parameters, box and five points. OpenCV takes one frame at a time, so ``batch`` only groups.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from anon.errors import UserError
from anon.faces.detection.frames import Candidates, FrameDetector
from anon.weights import onnx

ORIGIN = "take onnx/yunet_n_dynamic.onnx of github.com/ShiqiYu/libfacedetection.train (Apache-2.0)"
_TOP = 5000


class YuNet(FrameDetector):
    """YuNet from its ONNX file.

    Args:
        weights: the file, such as ``yunet_n_dynamic.onnx``.
        threshold, nms, frames: see :class:`FrameDetector`.

    Raises:
        UserError: no such file, damaged, or another network.
    """

    name = "yunet"
    stride = 32
    _handles = ("_net",)  # of the file, which the fingerprint tells

    def __init__(self, weights: str | Path | None, threshold: float = 0.6, nms: float = 0.3, **frames: Any) -> None:
        super().__init__(threshold, nms, **frames)
        file, model, self.fingerprint = onnx.read(weights, f"The detector {self.name}", ORIGIN)
        if len(model.graph.output) != 12:
            raise UserError(f"'{file}' is not YuNet: it has {len(model.graph.output)} outputs, not 12; {ORIGIN}.")
        level = cv2.utils.logging.getLogLevel()
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)  # its remark on targets concerns no one
        try:
            self._net = cv2.FaceDetectorYN.create(str(file), "", (32, 32), threshold, nms, _TOP)
            self._net.detect(np.zeros((32, 32, 3), np.uint8))
        except cv2.error as error:
            raise UserError(f"'{file}' is not a YuNet that OpenCV can run; {ORIGIN}.") from error
        finally:
            cv2.utils.logging.setLogLevel(level)

    def find(self, images: NDArray[np.uint8], smallest: float) -> list[Candidates]:
        """See :meth:`FrameDetector.find`."""
        self._net.setInputSize((images.shape[2], images.shape[1]))
        found = []
        for image in images:
            faces = self._net.detect(np.ascontiguousarray(image[..., ::-1]))[1]  # (N, 15), BGR wanted
            rows = np.zeros((0, 15), np.float32) if faces is None else np.asarray(faces, np.float32)
            corners = np.concatenate((rows[:, :2], rows[:, :2] + rows[:, 2:4]), 1)
            found.append(Candidates(corners, rows[:, 4:14].reshape(-1, 5, 2), rows[:, 14]))
        return found
