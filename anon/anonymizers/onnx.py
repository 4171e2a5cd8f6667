"""A network of somebody else's as an anonymizer: an ONNX file, pictures in, pictures out.

python evaluate.py method=onnx method.anonymizer.file=<file.onnx> [judge=edgeface data=folder data.root=<folder>]
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from anon.anonymizers.files import FileAnonymizer
from anon.errors import UserError
from anon.weights import onnx

_ORIGIN = "name the file with method.anonymizer.file=<file.onnx>"


class OnnxAnonymizer(FileAnonymizer):
    """An ONNX graph of one image input and one image output, in onnxruntime on the CPU.

    Args:
        file: with one float input (B, 3, S, S), whose first output has the same form.
        low, high, bgr: see :class:`FileAnonymizer`.
        size: side S in pixels where the graph leaves it free; None: the faces' own.

    Raises:
        UserError: no such file, no graph that onnxruntime can run, another form, or an empty range.
    """

    def __init__(
        self, file: str | Path | None, low: float = -1.0, high: float = 1.0, bgr: bool = False, size: int | None = None
    ) -> None:
        super().__init__(low, high, bgr)
        checked = onnx.read(file, "method=onnx", _ORIGIN)
        self.sha256, self.path = checked.sha256, checked.path
        self._session = onnx.session(checked, _ORIGIN)
        sides = onnx.image_input(self._session)
        if not sides:
            raise UserError(f"'{checked.path}' takes no pictures (one float input (B, 3, S, S)), so it is no method.")
        self._batch, self.size = sides[0], sides[2] or size

    def draw(self, given: Tensor) -> Tensor:
        """See :meth:`FileAnonymizer.draw`; on the CPU."""
        drawn = []
        try:
            for outputs, count in onnx.passes(self._session, given.cpu().numpy(), self._batch):
                found = outputs[0]
                if found.ndim != 4 or found.shape[:2] != (self._batch or count, 3):
                    raise self.no_pictures(found.shape)
                drawn.append(torch.from_numpy(found[:count].astype(np.float32)))
        except onnx.RUNTIME_ERRORS as error:
            raise self.failed(given.shape[-1]) from error
        return torch.cat(drawn)
