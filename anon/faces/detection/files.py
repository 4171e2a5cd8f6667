"""The files of detection networks, which may be anything: read and checked before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import TensorProto
from onnxruntime.capi import onnxruntime_pybind11_state as failures
from torch import nn

from anon.errors import UserError
from anon.weights.files import load_into

MAX_BYTES = 512 * 1024**2
_RUNTIME_ERRORS = (
    failures.Fail,
    failures.InvalidArgument,
    failures.InvalidGraph,
    failures.InvalidProtobuf,
    failures.NotImplemented,
    failures.RuntimeException,
)


def check(path: str | Path | None, name: str, origin: str) -> tuple[Path, onnx.ModelProto]:
    """Read an ONNX file whose weights are all inside.

    Args:
        name: of the detector, for messages.
        origin: where users get the file, one clause.

    Raises:
        UserError: no file, not ONNX, truncated, with weights in other files, or with control flow.
    """
    if path is None:
        raise UserError(f"The detector {name} needs an ONNX file: {origin}.")
    file = Path(path).expanduser()
    if not file.is_file():
        raise UserError(f"No ONNX file at '{file}'; it is never downloaded: {origin}.")
    size = file.stat().st_size
    if not 0 < size <= MAX_BYTES:
        raise UserError(f"The ONNX file '{file}' has {size} bytes; expected 1 to {MAX_BYTES}; {origin}.")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(file.read_bytes())
    except (DecodeError, OSError) as error:
        raise UserError(f"'{file}' is not an ONNX model, or is truncated; {origin}.") from error
    if not model.graph.node or not model.opset_import:
        raise UserError(f"'{file}' is not an ONNX model, or is truncated; {origin}.")
    tensors = list(model.graph.initializer)
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g") or attribute.graphs:
                raise UserError(f"'{file}' holds control flow (If, Loop), which no detector here needs; {origin}.")
            tensors += [attribute.t] if attribute.HasField("t") else []
    if any(tensor.data_location == TensorProto.EXTERNAL for tensor in tensors):
        raise UserError(f"'{file}' wants weights from other files, which no detector here does; {origin}.")
    return file, model


def load(net: nn.Module, path: str | Path | None, name: str, origin: str, device: str) -> nn.Module:
    """Fill a torch network from its published weight file; frozen, in eval mode, on ``device``.

    Raises:
        UserError: no file, damaged, holding code, or of another network.
    """
    if path is None:
        raise UserError(f"The detector {name} needs a weight file: {origin}.")
    try:
        load_into(net, path)
    except UserError as error:
        raise UserError(f"{str(error).rstrip('.')}; {origin}.") from error
    return net.eval().requires_grad_(False).to(device)


class Network:
    """A checked file in onnxruntime, on the CPU, with as many threads as torch has.

    Attributes:
        file: where it came from.
        inputs: shape of the image input; a free side is None.
        ranks: dimensions of every output.

    Raises:
        UserError: see :func:`check`; or it does not take one float image batch (B, 3, H, W).
    """

    def __init__(self, path: str | Path | None, name: str, origin: str) -> None:
        self.file, model = check(path, name, origin)
        self._origin = origin
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 4  # what is wrong is in the exception
        try:
            self._session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except (*_RUNTIME_ERRORS, ValueError) as error:
            raise UserError(f"'{self.file}' is not an ONNX model that onnxruntime can run; {origin}.") from error
        inputs = self._session.get_inputs()
        shape: list[Any] = inputs[0].shape if len(inputs) == 1 and inputs[0].type == "tensor(float)" else []
        self.inputs = [side if isinstance(side, int) and side > 0 else None for side in shape]
        if (
            len(self.inputs) != 4
            or self.inputs[1] not in (3, None)
            or not all(1 <= (s or 1) <= 4096 for s in self.inputs)
        ):
            raise UserError(f"'{self.file}' is not a face detector: it does not take images (B, 3, H, W); {origin}.")
        self.ranks = [len(output.shape) for output in self._session.get_outputs()]

    @property
    def canvas(self) -> tuple[int, int] | None:
        """(Height, width) if both are fixed."""
        height, width = self.inputs[2:]
        return None if height is None or width is None else (height, width)

    def run(self, blob: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """All outputs for normalized images ``(B, 3, H, W)``.

        Raises:
            UserError: the network fails on images of its own size.
        """
        try:
            outputs = self._session.run(None, {self._session.get_inputs()[0].name: np.ascontiguousarray(blob)})
        except _RUNTIME_ERRORS as error:
            raise UserError(f"'{self.file}' fails on images {blob.shape}; {self._origin}.") from error
        return [np.asarray(output, np.float32) for output in outputs]

    def refuse(self, what: str) -> UserError:
        """The error for a file that is ONNX, but not this detector."""
        return UserError(f"'{self.file}' is not such a detector: {what}; {self._origin}.")
