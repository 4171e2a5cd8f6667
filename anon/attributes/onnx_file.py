"""Attribute networks as ONNX files, which may be anything: read and checked before anything runs, by onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from google.protobuf.message import DecodeError
from onnx import TensorProto
from onnxruntime.capi import onnxruntime_pybind11_state as failures
from torch import Tensor

from anon.errors import UserError

MAX_BYTES = 512 * 1024**2
_RUNTIME_ERRORS = (
    failures.Fail,
    failures.InvalidArgument,
    failures.InvalidGraph,
    failures.InvalidProtobuf,
    failures.NotImplemented,
    failures.RuntimeException,
)


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
        if path is None:
            raise UserError(f"{name} needs an ONNX file: {origin}.")
        self.file = Path(path).expanduser()
        content = self._checked()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 4  # what is wrong is in the exception
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except (*_RUNTIME_ERRORS, ValueError) as error:
            raise UserError(f"'{self.file}' is not an ONNX model that onnxruntime can run; {origin}.") from error
        inputs = self._session.get_inputs()
        shape = inputs[0].shape if len(inputs) == 1 and inputs[0].type == "tensor(float)" else []
        fixed = [side if isinstance(side, int) and side > 0 else None for side in shape]
        if len(fixed) != 4 or any(
            side not in (None, want) for side, want in zip(fixed[1:], (3, size, size), strict=True)
        ):
            raise self.refuse(f"it does not take images (B, 3, {size}, {size})")
        self.batch = fixed[0]
        self._input = inputs[0].name
        self(torch.zeros(1, 3, size, size))  # the outputs' form shows when it runs

    def __call__(self, blob: Tensor) -> list[Tensor]:
        """Normalized images (B, 3, S, S) -> the outputs, each (B, width) float32 on the images' device.

        Raises:
            UserError: the network fails, or its outputs are not what the estimator reads.
        """
        array = blob.detach().float().cpu().numpy()
        step = self.batch or max(len(array), 1)
        parts = [self._run(array[start : start + step]) for start in range(0, len(array), step)]
        if not parts:
            return [blob.new_zeros(0, width) for width in self.widths]
        return [torch.from_numpy(np.concatenate(column)).to(blob.device) for column in zip(*parts, strict=True)]

    def refuse(self, what: str) -> UserError:
        """The error for a file that is ONNX, but not this network."""
        return UserError(f"'{self.file}' is not {self.name}: {what}; {self.origin}.")

    def _run(self, part: np.ndarray) -> list[np.ndarray]:
        count = len(part)
        if self.batch and count < self.batch:
            part = np.concatenate([part, np.repeat(part[-1:], self.batch - count, 0)])
        try:
            outputs = self._session.run(None, {self._input: np.ascontiguousarray(part)})
        except _RUNTIME_ERRORS as error:
            raise self.refuse(f"it fails on images {part.shape}") from error
        arrays = [np.asarray(output) for output in outputs[: len(self.widths)]]
        sizes = [array.size for array in arrays]
        if sizes != [len(part) * width for width in self.widths] or any(array.dtype.kind != "f" for array in arrays):
            raise self.refuse(f"{len(part)} images give {sizes} numbers, expected {self.widths} for each")
        return [array.reshape(len(part), -1)[:count].astype(np.float32) for array in arrays]

    def _checked(self) -> bytes:
        """The file's bytes: an ONNX graph that refers to no other file."""
        if not self.file.is_file():
            raise UserError(f"No ONNX file at '{self.file}'; it is never downloaded: {self.origin}.")
        size = self.file.stat().st_size
        if not 0 < size <= MAX_BYTES:
            raise UserError(f"The ONNX file '{self.file}' has {size} bytes; expected 1 to {MAX_BYTES}; {self.origin}.")
        content = self.file.read_bytes()
        model = onnx.ModelProto()
        try:
            model.ParseFromString(content)
        except DecodeError as error:
            raise UserError(f"'{self.file}' is not an ONNX model, or is truncated; {self.origin}.") from error
        if not model.graph.node or not model.opset_import:
            raise UserError(f"'{self.file}' is not an ONNX model, or is truncated; {self.origin}.")
        tensors = list(model.graph.initializer)
        for node in model.graph.node:
            for attribute in node.attribute:
                if attribute.HasField("g") or attribute.graphs:
                    raise self.refuse("it holds control flow (If, Loop)")
                tensors += [attribute.t] if attribute.HasField("t") else []
        if any(tensor.data_location == TensorProto.EXTERNAL for tensor in tensors):
            raise self.refuse("it wants weights from other files")
        return content
