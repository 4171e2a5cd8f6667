"""A network of somebody else's as an anonymizer: an ONNX file, pictures in, pictures out.

    python evaluate.py method=onnx method.anonymizer.file=<file.onnx> [judge=edgeface data=folder data.root=<folder>]

Faces are resized to the side that the graph wants and back to their own.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from anon.errors import UserError
from anon.weights import onnx

_ORIGIN = "name the file with method.anonymizer.file=<file.onnx>"


class OnnxAnonymizer:
    """An ONNX graph of one image input and one image output, in onnxruntime on the CPU.

    Args:
        file: with one float input (B, 3, S, S), whose first output has the same form.
        low, high: what black and white are to the network; -1 and 1, or 0 and 1, or 0 and 255.
        bgr: the network takes and gives blue first.
        size: side S in pixels where the graph leaves it free; None: the faces' own.

    Raises:
        UserError: no such file, no graph that onnxruntime can run, another form, or an empty range.
    """

    def __init__(
        self, file: str | Path | None, low: float = -1.0, high: float = 1.0, bgr: bool = False, size: int | None = None
    ) -> None:
        if not low < high:
            raise UserError(f"low={low} must be below high={high}.")
        checked = onnx.read(file, "method=onnx", _ORIGIN)
        self.low, self.high, self.bgr = low, high, bgr
        self.sha256, self._path = checked.sha256, checked.path
        self._session = onnx.session(checked, _ORIGIN)
        sides = onnx.image_input(self._session)
        if not sides:
            raise UserError(f"'{checked.path}' takes no pictures (one float input (B, 3, S, S)), so it is no method.")
        self._batch, self.size = sides[0], sides[2] or size
        self.name = checked.path.stem

    def __call__(self, images: Tensor) -> Tensor:
        """Faces (B, 3, H, W) in [-1, 1] -> what the network makes of them, of the same form.

        Raises:
            UserError: the network fails on them, or gives no pictures.
        """
        given = images.float().cpu()
        if self.size is not None and given.shape[-2:] != (self.size, self.size):
            given = F.interpolate(given, (self.size, self.size), mode="bilinear", antialias=True, align_corners=False)
        given = (given + 1) / 2 * (self.high - self.low) + self.low
        given = given.flip(1) if self.bgr else given
        found = self._drawn(given.numpy())
        found = found.flip(1) if self.bgr else found
        found = (found - self.low) / (self.high - self.low) * 2 - 1
        if found.shape != images.shape:
            found = F.interpolate(found, images.shape[-2:], mode="bilinear", antialias=True, align_corners=False)
        return found.to(images)

    def _drawn(self, given: np.ndarray) -> Tensor:
        drawn = []
        try:
            for outputs, count in onnx.passes(self._session, given, self._batch):
                found = outputs[0]
                if found.ndim != 4 or found.shape[:2] != (self._batch or count, 3):
                    raise UserError(
                        f"'{self._path}' is no method: of pictures it makes {found.shape}, not (B, 3, S, S)."
                    )
                drawn.append(torch.from_numpy(found[:count].astype(np.float32)))
        except onnx.RUNTIME_ERRORS as error:
            side = given.shape[-1]
            raise UserError(f"'{self._path}' is no method: it fails on pictures of {side} pixels.") from error
        return torch.cat(drawn)
