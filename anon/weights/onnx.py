"""ONNX files, which may be anything: read and checked before anything runs, then opened in onnxruntime.

A file passes when it is a graph without control flow or sparse weights, whose constants have the sizes that they state
and lie inside the file or in plain files of its own folder. What it computes is for the caller to check.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator
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

from anon import plain
from anon.errors import UserError
from anon.weights import trial

MAX_BYTES = 3 * 2**29  # 1.5 GiB; protobuf ends at 2
_LOOPS = ("If", "Loop", "Scan", "SequenceMap")
_MAX_NODES, _MAX_LEVELS = 20_000, 16
#: What onnxruntime raises on files and inputs that do not fit.
RUNTIME_ERRORS = (
    failures.Fail,
    failures.InvalidArgument,
    failures.InvalidGraph,
    failures.InvalidProtobuf,
    failures.NotImplemented,
    failures.RuntimeException,
)


class OnnxFile(NamedTuple):
    """A checked file: its graph with all weights inside, and the SHA-256 of its bytes and of its data files."""

    path: Path
    model: onnx.ModelProto
    sha256: str


def read(path: str | Path | None, what: str, origin: str) -> OnnxFile:
    """Read and check.

    Args:
        path: the file.
        what: who needs it, for messages: "The detector yunet".
        origin: where users get it, one clause.

    Raises:
        UserError: no file, not ONNX, truncated, damaged, with weights outside its folder, or of absurd size.
    """
    file, content = content_of(path, "an ONNX", what, origin, MAX_BYTES)
    digest = hashlib.sha256(content)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError as error:
        raise UserError(f"'{file}' is not an ONNX model, or is truncated; {origin}.") from error
    if not model.graph.node or not model.opset_import or any(isinstance(name, bytes) for name in _names(model)):
        raise UserError(f"'{file}' is not an ONNX model, or is damaged; {origin}.")
    _fill(model, file, digest)
    _fix_constants(model)
    return OnnxFile(file, model, digest.hexdigest())


def content_of(path: str | Path | None, kind: str, what: str, origin: str, most: int) -> tuple[Path, bytes]:
    """A file that a user names, and its bytes.

    Args:
        kind: "an ONNX", for messages; ``what`` and ``origin`` as for :func:`read`.
        most: bytes.

    Raises:
        UserError: no file, an empty one, or one of more bytes.
    """
    if path is None:
        raise UserError(f"{what} needs {kind} file: {origin}.")
    file, kind = Path(path).expanduser(), kind.partition(" ")[2]
    if not file.is_file():
        raise UserError(f"No {kind} file at '{file}'; it is never downloaded: {origin}.")
    if not 0 < file.stat().st_size <= most:
        raise UserError(f"The {kind} file '{file}' has {file.stat().st_size} bytes; expected 1 to {most}; {origin}.")
    return file, plain.read_bytes(file, most)


def session(file: OnnxFile, origin: str) -> onnxruntime.InferenceSession:
    """onnxruntime on the CPU, with as many threads as torch has; they sleep while they wait.

    By default they spin: where other work wants the cores, that doubles processor time and gains none.

    Raises:
        UserError: it cannot build the graph.
    """
    trial.refuse_what_ends_badly(file.model, file.path, origin)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # what is wrong is in the exception
    try:
        content = file.model.SerializeToString()
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except (*RUNTIME_ERRORS, ValueError) as error:
        if any(word in str(error) for word in ("opset", "IR version")):
            raise UserError(
                f"'{file.path}' is of opset {opset_of(file.model)} (IR version {file.model.ir_version}), which the "
                f"installed onnxruntime {onnxruntime.__version__} does not know: upgrade it, or export the file with "
                "opset_version=17."
            ) from error
        raise UserError(f"'{file.path}' is not an ONNX model that onnxruntime can run; {origin}.") from error


def opset_of(model: onnx.ModelProto) -> int:
    """The version of ONNX's own operations that a graph is written in."""
    return max((opset.version for opset in model.opset_import if opset.domain in ("", "ai.onnx")), default=0)


def image_input(opened: onnxruntime.InferenceSession) -> list[int | None]:
    """(B, 3, H, W) of a graph's one float image input, None for a side that is free; empty if it has no such input."""
    inputs = opened.get_inputs()
    shape = inputs[0].shape if len(inputs) == 1 and inputs[0].type == "tensor(float)" else []
    sides = [side if isinstance(side, int) and side > 0 else None for side in shape]
    return sides if len(sides) == 4 and sides[1] in (3, None) else []


def passes(
    opened: onnxruntime.InferenceSession, images: np.ndarray, batch: int | None, fill: bool = True
) -> Iterator[tuple[list[np.ndarray], int]]:
    """The outputs of each run over images (B, 3, H, W) float32, and how many of its images were asked for.

    Args:
        batch: images of a run; None: one run of all.
        fill: up to ``batch`` where the last run is too short, as graphs that are fixed to it want.
    """
    (given,) = opened.get_inputs()
    for start in range(0, len(images), batch or max(len(images), 1)):
        part = images[start : start + (batch or len(images))]
        count = len(part)
        if fill and batch and count < batch:
            part = np.concatenate([part, np.repeat(part[-1:], batch - count, 0)])
        yield [np.asarray(each) for each in opened.run(None, {given.name: np.ascontiguousarray(part)})], count


def _nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Those of the graph and of the file's own functions."""
    yield from model.graph.node
    for function in model.functions:
        yield from function.node


def _refuse_loops(model: onnx.ModelProto, file: Path) -> None:
    """No control flow anywhere, and no more operations than a network has once its functions are written out."""
    for node in _nodes(model):
        if node.op_type in _LOOPS or any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            raise UserError(f"'{file}' holds control flow (If, Loop), which no network here needs.")
    functions = {(function.domain, function.name): function for function in model.functions}
    sizes: dict[tuple[str, str], int] = {}

    def size(nodes: Iterable[onnx.NodeProto], above: tuple[tuple[str, str], ...] = ()) -> int:
        total = 0
        for node in nodes:
            key = (node.domain, node.op_type)
            if key in above or len(above) > _MAX_LEVELS:
                raise UserError(f"'{file}' holds a function that calls itself, or functions in functions without end.")
            if key in functions and key not in sizes:
                sizes[key] = size(functions[key].node, (*above, key))
            total += sizes.get(key, 1)
        return total

    if size(model.graph.node) > _MAX_NODES:
        raise UserError(f"'{file}' has more than {_MAX_NODES:,} operations, which no network here has.")


def _names(model: onnx.ModelProto) -> Iterator[str | bytes]:
    """Every name of the graph; protobuf hands on those that are no UTF-8 as bytes."""
    for node in _nodes(model):
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)
    for value in (*model.graph.input, *model.graph.output, *model.graph.initializer, *model.graph.value_info):
        yield value.name
    yield from (opset.domain for opset in model.opset_import)


def _tensors(model: onnx.ModelProto) -> list[TensorProto]:
    """All constants of the graph and of its functions."""
    found = list(model.graph.initializer)
    for node in _nodes(model):
        for attribute in node.attribute:
            found += [attribute.t] if attribute.HasField("t") else []
            found += attribute.tensors
    return found


def _fill(model: onnx.ModelProto, file: Path, digest: hashlib._Hash) -> None:
    """Check the size of every constant and read those that lie in data files beside the graph."""
    _refuse_loops(model, file)
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
        with plain.opened(source) as stream:
            while block := stream.read(2**20):
                digest.update(block)
    for tensor in _tensors(model):
        if tensor.data_location == TensorProto.EXTERNAL:
            load_external_data_for_tensor(tensor, str(file.parent))
            tensor.data_location = TensorProto.DEFAULT
            del tensor.external_data[:]


def _fix_constants(model: onnx.ModelProto) -> None:
    """Take the constants off the inputs, where files before IR 4 must list them.

    What is an input may be given another value, so onnxruntime would neither fold nor reorder it: a detector whose file
    is so old takes twice the time.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    if len(inputs) < len(model.graph.input):
        copies = [onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in inputs]
        del model.graph.input[:]
        model.graph.input.extend(copies)
        model.ir_version = max(model.ir_version, 4)


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
