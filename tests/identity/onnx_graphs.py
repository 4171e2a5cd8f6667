"""ONNX files written by hand, node by node, whose embeddings can be worked out on paper."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

DIM, SIDE = 64, 112


def weights() -> np.ndarray:
    """(64, 3): what turns the three channel means into the embedding."""
    return np.random.default_rng(0).normal(size=(DIM, 3)).astype(np.float32)


def channel_means(
    path: Path,
    batch: int | str = 1,
    reshape: tuple[int, ...] = (1, 3),
    normalizes: bool = True,
    listed: bool = True,
    outside: str | None = None,
) -> Path:
    """embedding = weights @ channel means, as insightface's MXNet exports are made: one graph, everything in float32.

    Args:
        batch: declared first size of the input, a number or a name.
        reshape: constant sizes between pooling and the product.
        normalizes: begin with (x - 127.5) / 128 on the raw bytes.
        listed: list the weights among the graph's inputs too, as IR version 3 wants it.
        outside: keep the weights in a data file of this name.
    """
    constants = {
        "shift": np.float32([127.5]),
        "scale": np.float32([1 / 128]),
        "sizes": np.int64(reshape),
        "fc": weights(),
        "fc_bias": np.zeros(DIM, np.float32),
    }
    nodes = []
    if normalizes:
        nodes += [helper.make_node("Sub", ["data", "shift"], ["minus"], "_minusscalar0")]
        nodes += [helper.make_node("Mul", ["minus", "scale"], ["input"], "_mulscalar0")]
    nodes += [
        helper.make_node("Relu", ["input" if normalizes else "data"], ["kept"], "relu0"),
        helper.make_node("Relu", ["negative"], ["lost"], "relu1"),
        helper.make_node("Neg", ["input" if normalizes else "data"], ["negative"], "neg0"),
        helper.make_node("Sub", ["kept", "lost"], ["both"], "sub0"),
        helper.make_node("GlobalAveragePool", ["both"], ["pooled"], "pool0"),
        helper.make_node("Reshape", ["pooled", "sizes"], ["flat"], "flat0"),
        helper.make_node("Identity", ["fc"], ["fc_twin"], ""),
        helper.make_node("Gemm", ["flat", "fc_twin", "fc_bias"], ["fc1"], "gemm0", transB=1),
    ]
    nodes[-7], nodes[-6] = nodes[-6], nodes[-7]  # topological: neg0 before relu1
    inputs = [helper.make_tensor_value_info("data", TensorProto.FLOAT, [batch, 3, SIDE, SIDE])]
    if listed:
        inputs += [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
            for name, value in constants.items()
        ]
    graph = helper.make_graph(
        nodes,
        "means",
        inputs,
        [helper.make_tensor_value_info("fc1", TensorProto.FLOAT, [1, DIM])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=4)
    onnx.save(
        model,
        path,
        save_as_external_data=outside is not None,
        location=outside,
        size_threshold=0,
        convert_attribute=False,
    )
    return path


def one_node(path: Path, inputs: list[tuple[str, int, list]], operation: str, output: list, **attributes) -> Path:
    """A graph of one node without weights."""
    graph = helper.make_graph(
        [helper.make_node(operation, [name for name, *_ in inputs], ["y"], **attributes)],
        "one",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, output)],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path
