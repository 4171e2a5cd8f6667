"""Graphs that may take all memory or time although they hold no loop are run once in a process of their own.

Expand, Tile, Resize or an outer product make large results of small ones, and onnxruntime carries out what depends on
constants alone while it opens a file. So the sizes of all results are inferred first, which takes a few milliseconds;
where they are known and no larger than those of a face network, nothing more happens. Otherwise the graph has to open
and to run once within bounds, elsewhere, before this process opens it.
"""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import onnx
from onnx import TensorProto

from anon.errors import UserError

SECONDS = 12
MEMORY = 2 * 2**30  # bytes of address space beside the file's own, five times over
_RESULT, _RESULTS = 2**26, 2**29  # numbers of one result and of all
_WORK = 2**40  # products of all convolutions and matrices; a ResNet-100 at 112 x 112 has 2^34
_SMALL = 256  # numbers of a constant that may say a size
_SIDE = 640  # pixels, where a graph leaves the sides free

_NO_LARGER = ("Cast", "Clip", "Flatten", "Identity", "Relu", "Reshape", "Sigmoid", "Softmax", "Squeeze", "Unsqueeze")

_CHILD = """
import resource, sys
seconds, memory = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
import numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
options.log_severity_level = 4
types = {"tensor(float)": "f4", "tensor(float16)": "f2", "tensor(int64)": "i8", "tensor(uint8)": "u1"}
try:
    opened = onnxruntime.InferenceSession(sys.stdin.buffer.read(), options, providers=["CPUExecutionProvider"])
    for side in (112, 128):
        feed = {}
        for given in opened.get_inputs():
            sides = [known if isinstance(known, int) and known > 0 else (side if place > 1 else 1)
                     for place, known in enumerate(given.shape)]
            feed[given.name] = numpy.zeros(sides, types.get(given.type, "f4"))
        opened.run(None, feed)
except Exception as error:  # what does not fit fails here as it will there; only what takes all memory counts
    if isinstance(error, MemoryError) or "alloc" in str(error).lower():
        raise
"""


def refuse_what_ends_badly(model: onnx.ModelProto, file: Path, origin: str) -> None:
    """Try a graph whose sizes cannot be told.

    Raises:
        UserError: it does not open and run once in ``SECONDS`` and in memory of a few times its own size.
    """
    if bounded(model):
        return
    content = model.SerializeToString()
    limits = [str(SECONDS), str(MEMORY + 5 * len(content))]
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", _CHILD, *limits], input=content, capture_output=True, timeout=SECONDS + 6
        )
    except subprocess.TimeoutExpired as error:
        raise UserError(f"'{file}' does not open and run within {SECONDS} s, so it is not used; {origin}.") from error
    if done.returncode:
        raise UserError(f"'{file}' does not run within {SECONDS} s and bounded memory, so it is not used; {origin}.")


def bounded(model: onnx.ModelProto) -> bool:
    """Whether every result's size is known before anything runs, and all of it is what a face network may take."""
    if model.functions:
        return False
    try:
        found = onnx.shape_inference.infer_shapes(_light(model)).graph  # not data_prop: shapes may double, too
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError, TypeError, MemoryError):
        return False
    shapes: dict[str, list[int] | None]
    shapes = {value.name: _shape(value) for value in (*found.value_info, *found.input, *found.output)}
    shapes |= {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    results = work = 0
    for node in model.graph.node:
        for name in filter(None, node.output):
            if node.op_type == "Constant":
                continue
            shape = shapes.get(name)
            if shape is None and node.op_type in _NO_LARGER:  # how many, if not in which form
                shape = [math.prod(known)] if (known := shapes.get(node.input[0])) is not None else None
                shapes[name] = shape
            if shape is None or math.prod(shape) > _RESULT:
                return False
            results += math.prod(shape)
            if node.op_type in ("Conv", "ConvTranspose", "MatMul", "Gemm") and len(node.input) > 1:
                work += math.prod(shape) * _products(node.op_type, [shapes.get(name) for name in node.input])
    return results <= _RESULTS and work <= _WORK


def _products(kind: str, inputs: list[list[int] | None]) -> int:
    """Products for one number of the result, at most."""
    if inputs[0] is None or inputs[1] is None:
        return _WORK
    if kind.startswith("Conv"):
        return max(1, math.prod(inputs[1][1:] if kind == "Conv" else inputs[1]))
    return max([1, *inputs[0]])


def _light(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph for one picture, with the large constants as inputs: their sizes are all that matters."""
    light = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    light.graph.name = "light"
    light.graph.node.extend(model.graph.node)
    light.graph.output.extend(model.graph.output)
    constants = {tensor.name for tensor in model.graph.initializer}
    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) <= _SMALL:
            light.graph.initializer.append(tensor)
        light.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    for value in model.graph.input:
        if value.name not in constants:
            known = light.graph.input.add()
            known.CopyFrom(value)
            for place, side in enumerate(known.type.tensor_type.shape.dim):
                if side.dim_value <= 0:
                    side.dim_value = _SIDE if place > 1 else (3 if place else 1)
    for value in light.graph.output:  # what is inferred, not what the file says
        value.type.tensor_type.ClearField("shape")
    return light


def _shape(value: onnx.ValueInfoProto) -> list[int] | None:
    kind = value.type.tensor_type
    if not kind.HasField("shape") or kind.elem_type == TensorProto.UNDEFINED:
        return None
    if any(not side.HasField("dim_value") or side.dim_value < 0 for side in kind.shape.dim):
        return None
    return [side.dim_value for side in kind.shape.dim]
