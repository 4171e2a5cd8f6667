"""Recognition networks as ONNX files, which may be anything: read and checked before anything runs.

    model = read("w600k_r50.onnx")      # insightface's packs, their MobileFaceNets, exports of anyone's PyTorch model
    embed = Runtime(model)              # onnxruntime

A file passes when it has one float32 image input (N, 3, S, S), its weights inside or in one folder with it, and gives
one vector for a face. What a network is asked for elsewhere (its mean and deviation, its batch) is read off the graph.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime
import torch
from google.protobuf.message import DecodeError
from onnx import TensorProto
from onnx.external_data_helper import load_external_data_for_tensor
from onnxruntime.capi import onnxruntime_pybind11_state as failures

from anon.errors import UserError

MAX_BYTES = 3 * 2**29  # 1.5 GiB; protobuf ends at 2
MAX_SIDE = 512
#: What onnxruntime raises on files and inputs that do not fit.
RUNTIME_ERRORS = (
    failures.Fail,
    failures.InvalidArgument,
    failures.InvalidGraph,
    failures.InvalidProtobuf,
    failures.NotImplemented,
    failures.RuntimeException,
)
ORIGIN = "take one of insightface's model packs (w600k_r50.onnx of buffalo_l, glintr100.onnx of antelopev2) or your own"


class Recognizer(NamedTuple):
    """A checked file.

    Attributes:
        path: the file.
        model: its graph, all weights inside.
        sha256: of its bytes and those of its data files.
        input, output: names of the image input and of the embedding.
        size: side of the input in pixels.
        batch: the batch that the graph is fixed to, or None.
        mean, std: of one channel in [0, 1], as insightface reads them off the graph: a graph that starts with its own
            subtraction and product takes 0 to 255, every other takes -1 to 1.
    """

    path: Path
    model: onnx.ModelProto
    sha256: str
    input: str
    output: str
    size: int
    batch: int | None
    mean: float
    std: float


def read(path: str | Path | None, origin: str = ORIGIN, size: int | None = None) -> Recognizer:
    """Read and check.

    Args:
        path: the file.
        origin: where users get it, one clause, for errors.
        size: side of the input in pixels, for graphs that leave it free (112 by default); checked for the others.

    Raises:
        UserError: no file, not ONNX, truncated, weights outside its folder or of absurd size, or not a recognizer.
    """
    if path is None:
        raise UserError(f"An ONNX recognizer needs a file: {origin}.")
    file = Path(path).expanduser()
    if not file.is_file():
        raise UserError(f"No ONNX file at '{file}'; it is never downloaded: {origin}.")
    if not 0 < file.stat().st_size <= MAX_BYTES:
        raise UserError(f"The ONNX file '{file}' has {file.stat().st_size} bytes; expected 1 to {MAX_BYTES}.")
    content = file.read_bytes()
    digest = hashlib.sha256(content)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError as error:
        raise UserError(f"'{file}' is not an ONNX model, or is truncated; fetch it again.") from error
    if not model.graph.node or not model.opset_import or any(isinstance(name, bytes) for name in _names(model)):
        raise UserError(f"'{file}' is not an ONNX model, or is damaged; fetch it again.")
    _fill(model, file, digest)
    return _describe(model, file, digest.hexdigest(), size)


class Runtime:
    """A file in onnxruntime, on the CPU with as many threads as torch has. Calls give raw embeddings.

    Attributes:
        batch: images per run: what the graph is fixed to, else 64; 1 where a graph says that it takes any batch and
            does not, as exports whose batch was only renamed.
        dim: size of the embedding.

    Raises:
        UserError: onnxruntime cannot build the graph, or it is no recognizer.
    """

    def __init__(self, recognizer: Recognizer) -> None:
        self.recognizer = recognizer
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 4  # what is wrong is in the exception
        try:
            content = recognizer.model.SerializeToString()
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except (*RUNTIME_ERRORS, ValueError) as error:
            raise UserError(f"'{recognizer.path}' is not an ONNX model that onnxruntime can run.") from error
        self.batch = recognizer.batch or 64
        size = recognizer.size
        self.dim = self(np.zeros((1, 3, size, size), np.float32)).shape[1]
        if recognizer.batch is None:
            try:
                self(np.zeros((2, 3, size, size), np.float32))
            except UserError:
                self.batch = 1

    def __call__(self, blob: np.ndarray) -> np.ndarray:
        """Normalized images (B, 3, S, S) -> (B, D) float32.

        Raises:
            UserError: not one finite vector of 64 to 4096 numbers for each image.
        """
        return np.concatenate(
            [self._run(blob[start : start + self.batch]) for start in range(0, len(blob), self.batch)]
        )

    def _run(self, part: np.ndarray) -> np.ndarray:
        """One run; a last part that is too short for a fixed batch is filled up."""
        file, count = self.recognizer.path, len(part)
        if self.recognizer.batch:
            part = np.concatenate([part, np.repeat(part[-1:], self.batch - count, 0)])
        part = np.ascontiguousarray(part, np.float32)
        try:
            found = np.asarray(self._session.run([self.recognizer.output], {self.recognizer.input: part})[0])
        except RUNTIME_ERRORS as error:
            raise UserError(
                f"'{file}' is not a face recognition model: it fails on images of {part.shape[2]} pixels."
            ) from error
        one_each = found.dtype.kind == "f" and found.ndim >= 2 and len(found) == len(part)
        raw = found.reshape(len(found), -1) if one_each else found
        if not one_each or not _embedding(raw.shape[1]):
            raise UserError(
                f"'{file}' is not a face recognition model: {len(part)} images give an output of shape {found.shape}; "
                "an embedding has 64 to 4096 numbers, a multiple of 32."
            )
        if not np.isfinite(raw).all():
            raise UserError(f"'{file}' gives embeddings with NaN or infinite numbers.")
        return raw[:count].astype(np.float32)


def _embedding(dim: int) -> bool:
    """Whether a vector of ``dim`` numbers may be an embedding; landmark nets give 136, 212 or 3309, pose nets 3."""
    return 64 <= dim <= 4096 and dim % 32 == 0


def _names(model: onnx.ModelProto) -> Iterator[str | bytes]:
    """Every name of the graph; protobuf hands on those that are no UTF-8 as bytes."""
    for node in model.graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)
    for value in (*model.graph.input, *model.graph.output, *model.graph.initializer, *model.graph.value_info):
        yield value.name
    yield from (opset.domain for opset in model.opset_import)


def _tensors(model: onnx.ModelProto) -> list[TensorProto]:
    """All constants of the graph."""
    found = list(model.graph.initializer)
    for node in model.graph.node:
        for attribute in node.attribute:
            found += [attribute.t] if attribute.HasField("t") else []
            found += attribute.tensors
    return found


def _fill(model: onnx.ModelProto, file: Path, digest: hashlib._Hash) -> None:
    """Check the size of every constant and read those that lie in data files beside the graph."""
    if any(attribute.HasField("g") or attribute.graphs for node in model.graph.node for attribute in node.attribute):
        raise UserError(f"'{file}' holds control flow (If, Loop), which no recognizer here needs.")
    if model.graph.sparse_initializer:
        raise UserError(f"'{file}' holds sparse weights, which are not read here.")
    total, sources = 0, set()
    for tensor in _tensors(model):
        if tensor.data_type not in onnx.TensorProto.DataType.values() or tensor.data_type == TensorProto.UNDEFINED:
            raise UserError(f"'{file}' holds a constant of an unknown type; fetch it again.")
        if any(side < 0 for side in tensor.dims):
            raise UserError(f"'{file}' holds a constant with a negative size; fetch it again.")
        width = 1 if tensor.data_type == TensorProto.STRING else _width(tensor.data_type)
        nbytes = math.ceil(math.prod(tensor.dims) * width)
        total += nbytes
        if total > MAX_BYTES:
            raise UserError(f"The weights of '{file}' take more than {MAX_BYTES} bytes.")
        if tensor.data_location == TensorProto.EXTERNAL:
            sources.add(_check_external(tensor, nbytes, file))
        elif tensor.HasField("raw_data") and len(tensor.raw_data) != nbytes:
            raise UserError(f"'{file}' is damaged: a constant has {len(tensor.raw_data)} bytes, not {nbytes}.")
    for source in sorted(sources):
        with source.open("rb") as stream:
            while block := stream.read(2**20):
                digest.update(block)
    for tensor in _tensors(model):
        if tensor.data_location == TensorProto.EXTERNAL:
            load_external_data_for_tensor(tensor, str(file.parent))
            tensor.data_location = TensorProto.DEFAULT
            del tensor.external_data[:]


def _width(data_type: int) -> float:
    """Bytes of one number; 4-bit types count half."""
    if data_type in (TensorProto.INT4, TensorProto.UINT4):
        return 0.5
    return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(data_type)).itemsize


def _check_external(tensor: TensorProto, nbytes: int, file: Path) -> Path:
    """The data file of a constant: plain, in the folder of the graph, and long enough."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    folder = file.parent.resolve()
    try:
        source = (folder / location).resolve()
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", nbytes))
    except (ValueError, OSError) as error:
        raise UserError(f"'{file}' names its data file in a way that cannot be read; fetch it again.") from error
    if not location or Path(location).is_absolute() or folder not in source.parents:
        raise UserError(f"'{file}' wants weights from outside its folder, which is refused.")
    if not source.is_file():
        raise UserError(f"'{file}' needs its data file '{source.name}' beside it; fetch both.")
    if source.is_symlink() or (folder / location).is_symlink():
        raise UserError(f"The data file '{source.name}' of '{file}' is a link, which is refused; copy the file itself.")
    if length != nbytes or offset < 0 or offset + length > source.stat().st_size:
        raise UserError(f"The data file '{source.name}' does not fit '{file}', or is truncated; fetch both again.")
    return source


def _describe(model: onnx.ModelProto, file: Path, sha256: str, size: int | None) -> Recognizer:
    """Input, output and preprocessing of the graph."""
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}  # old files list their weights among the inputs
    inputs = [value for value in graph.input if value.name not in weights]
    if len(inputs) != 1 or not graph.output:
        raise UserError(f"'{file}' is not a face recognition model: it has {len(inputs)} inputs, not one image.")
    kind = inputs[0].type.tensor_type
    sides = [side.dim_value if side.HasField("dim_value") else 0 for side in kind.shape.dim]  # 0: free
    if kind.elem_type != TensorProto.FLOAT or len(sides) != 4 or sides[1] not in (0, 3):
        raise UserError(f"'{file}' is not a face recognition model: its input is no float32 batch (N, 3, S, S).")
    height, width = (side or size or 112 for side in sides[2:])
    if height != width or not 32 <= height <= MAX_SIDE or sides[0] < 0 or sides[0] > 256:
        raise UserError(f"'{file}' is not a face recognition model: its input is {sides}, not (N, 3, S, S).")
    if size not in (None, height):
        raise UserError(f"size={size}, but '{file}' takes images of {height} pixels.")
    # insightface's rule: a graph that begins with a subtraction and a product normalizes the raw bytes itself.
    mean, std = (0.0, 1 / 255) if {"Sub", "Mul"} <= {node.op_type for node in graph.node[:8]} else (0.5, 0.5)
    batch = sides[0] or None
    return Recognizer(file, model, sha256, inputs[0].name, graph.output[0].name, height, batch, mean, std)
