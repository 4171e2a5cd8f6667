"""The graph of a recognition ONNX file as a torch network: made simple first, then handed to onnx2torch.

onnx2torch wants constants where exporters put aliases of them, and keeps a batch that an export has fixed. So constants
become initializers, their aliases go, nodes get plain names, and reshapes keep the batch that comes. It knows
operations as they were up to opset :data:`OPSET`; a graph of a newer one is written in that one's operations first.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnx.version_converter
from onnx import TensorProto, numpy_helper
from torch import nn

from anon.errors import UserError
from anon.identity.onnx_file import Recognizer
from anon.weights.onnx import opset_of

OPSET = 17
_FAILURES = (RuntimeError, ValueError, KeyError, IndexError, TypeError, AttributeError, AssertionError)


def convert(simple: onnx.ModelProto, recognizer: Recognizer) -> nn.Module:
    """onnx2torch on a graph from :func:`simplify`.

    Raises:
        UserError: an operation has no torch twin, or is used in a way that onnx2torch does not know.
    """
    import onnx2torch  # slow to import

    file = recognizer.path
    try:
        return onnx2torch.convert(_in_known_operations(simple))
    except NotImplementedError as error:
        reason = str(error).splitlines()[0][:200]
        newer = f" of opset {opset_of(simple)}: export it with opset_version={OPSET}, or"
        way = newer if opset_of(simple) > OPSET else ";"
        raise UserError(
            f"'{file}' has an operation without a torch twin ({reason}){way} use it as a judge only (judge=onnx "
            f"judge.path={file})."
        ) from error
    except _FAILURES as error:
        raise UserError(f"'{file}' cannot be converted to torch; use it as a judge only.") from error


def _in_known_operations(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph at opset :data:`OPSET` where it is of a newer one and onnx can write it so; else as it is."""
    if opset_of(model) <= OPSET:
        return model
    try:
        return onnx.version_converter.convert_version(model, OPSET)
    except (onnx.version_converter.ConvertError, *_FAILURES):
        return model  # each operation may still be one that did not change


def simplify(recognizer: Recognizer) -> onnx.ModelProto:
    """The same network with constants as initializers, no aliases of them, plain node names, and a free batch."""
    model = onnx.ModelProto()
    model.CopyFrom(recognizer.model)
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    alias: dict[str, str] = {}
    nodes = []
    for node in graph.node:
        node.input[:] = [alias.get(name, name) for name in node.input]
        if node.op_type == "Identity" and node.input[0] in constants:
            alias[node.output[0]] = node.input[0]
        elif node.op_type == "Constant" and node.attribute[0].name == "value":
            tensor = graph.initializer.add()
            tensor.CopyFrom(node.attribute[0].t)
            tensor.name = node.output[0]
            constants[tensor.name] = tensor
        else:
            nodes.append(node)
    taken: set[str] = set()
    for number, node in enumerate(nodes):
        plain = "".join(letter if letter.isalnum() else "_" for letter in node.name).strip("_") or node.op_type
        node.name = plain if plain not in taken and node.name else f"{plain}_{number}"
        taken.add(node.name)
        if node.op_type == "Reshape":
            _free(node, graph, constants, recognizer.batch)
    values = [value for value in graph.input if value.name == recognizer.input]
    outputs = [value for value in graph.output if value.name == recognizer.output]
    for value in values:
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
        for side in value.type.tensor_type.shape.dim[2:]:
            side.dim_value = recognizer.size
    for value in outputs:
        value.type.tensor_type.ClearField("shape")
    for field, kept in (("node", nodes), ("input", values), ("output", outputs), ("value_info", [])):
        copies = [type(item).FromString(item.SerializeToString()) for item in kept]
        graph.ClearField(field)
        getattr(graph, field).extend(copies)
    return model


def _free(node: onnx.NodeProto, graph: onnx.GraphProto, constants: dict[str, TensorProto], batch: int | None) -> None:
    """Let a Reshape to constant sizes keep the batch that comes: to a vector it becomes Flatten, else 0 leads."""
    if node.input[0] in constants or node.input[1] not in constants:
        return
    sizes = numpy_helper.to_array(constants[node.input[1]]).reshape(-1).astype(np.int64)
    if len(sizes) == 2 and sizes[0] in (-1, 0, batch or 1):
        node.op_type = "Flatten"
        del node.input[1:], node.attribute[:]
    elif len(sizes) and sizes[0] in (0, batch or 1):
        sizes = np.concatenate([[0], sizes[1:]])
        name = f"{node.output[0]}_sizes"
        graph.initializer.append(numpy_helper.from_array(sizes, name))
        node.input[1] = name
