"""Attribute networks as ONNX files, which may be anything: see :mod:`anon.weights.onnx`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from anon.errors import UserError
from anon.weights import onnx


class OnnxNetwork:
    """One image input (B, 3, size, size), float32; runs on the CPU with as many threads as torch has.

    Args:
        path: the file.
        name: of the estimator, for messages.
        origin: where users get the file, one clause.
        size: side of its input in pixels.
        widths: numbers per face of every output that is used, in the file's order.

    Raises:
        UserError: no file, not ONNX, truncated, weights in other files, or of another form.
    """

    def __init__(self, path: str | Path | None, name: str, origin: str, size: int, widths: tuple[int, ...]) -> None:
        self.name, self.origin, self.size, self.widths = name, origin, size, widths
        checked = onnx.read(path, name, origin)
        self.file = checked.path
        self._session = onnx.session(checked, origin)
        sides = onnx.image_input(self._session)
        if not sides or any(side not in (None, size) for side in sides[2:]):
            raise self.refuse(f"it does not take images (B, 3, {size}, {size})")
        self.batch = sides[0]
        self(torch.zeros(1, 3, size, size))  # the outputs' form shows when it runs

    def __call__(self, blob: Tensor) -> list[Tensor]:
        """Normalized images (B, 3, S, S) -> the outputs, each (B, width) float32 on the images' device.

        Raises:
            UserError: the network fails, or its outputs are not what the estimator reads.
        """
        array = blob.detach().float().cpu().numpy()
        try:
            parts = [self._read(*run) for run in onnx.passes(self._session, array, self.batch)]
        except onnx.RUNTIME_ERRORS as error:
            raise self.refuse(f"it fails on images {array.shape}") from error
        if not parts:
            return [blob.new_zeros(0, width) for width in self.widths]
        return [torch.from_numpy(np.concatenate(column)).to(blob.device) for column in zip(*parts, strict=True)]

    def refuse(self, what: str) -> UserError:
        """The error for a file that is ONNX, but not this network."""
        return UserError(f"'{self.file}' is not {self.name}: {what}; {self.origin}.")

    def _read(self, outputs: list[np.ndarray], count: int) -> list[np.ndarray]:
        run = self.batch or count
        arrays = outputs[: len(self.widths)]
        sizes = [array.size for array in arrays]
        if sizes != [run * width for width in self.widths] or any(array.dtype.kind != "f" for array in arrays):
            raise self.refuse(f"{run} images give {sizes} numbers, expected {self.widths} for each")
        return [array.reshape(run, -1)[:count].astype(np.float32) for array in arrays]
