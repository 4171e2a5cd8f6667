"""ONNX files of every opset: run and converted, or one sentence that names the way out.

The kind: what a file is written in was taken for what it is. Of one network, opset 17 trained an encoder and opset 18
or 22 was "an operation without a torch twin"; one newer than onnxruntime was "not an ONNX model". Half-precision
inputs were "not a face recognition model".
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch.nn import functional as F

from anon.errors import UserError
from anon.identity.onnx import OnnxJudge, onnx_encoder


def written(path: Path, opset: int, kind: int = TensorProto.FLOAT, ir: int = 10) -> Path:
    """A small convolutional recognizer in the operations of an opset; ReduceMean takes its axes as input from 18 on."""
    rng = np.random.default_rng(0)

    def random(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(helper.tensor_dtype_to_np_dtype(kind)) / 4

    constants = {"w": random(8, 3, 3, 3), "slope": np.abs(random(8, 1, 1)), "fc": random(64, 8), "fc_bias": random(64)}
    norm = {"gamma": 1 + random(8), "beta": random(8), "mean": random(8), "variance": 1 + np.abs(random(8))}
    constants |= norm | ({"axes": np.int64([2, 3])} if opset >= 18 else {})
    axes = {} if opset >= 18 else {"axes": [2, 3]}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], "conv", strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["a", *norm], ["b"], "bn"),
        helper.make_node("PRelu", ["b", "slope"], ["c"], "prelu"),
        helper.make_node("MaxPool", ["c"], ["d"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("ReduceMean", ["d", *(["axes"] if opset >= 18 else [])], ["e"], "mean", keepdims=0, **axes),
        helper.make_node("Gemm", ["e", "fc", "fc_bias"], ["y"], "gemm", transB=1),
    ]
    ends = [helper.make_tensor_value_info(*end) for end in (("x", kind, ["n", 3, 112, 112]), ("y", kind, ["n", 64]))]
    kept = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], kept)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir), path)
    return path


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(3, 3, 112, 112, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("opset", [13, 17, 18, 20, 21, 22, 24, 26])
def test_one_network_in_every_opset(tmp_path: Path, images: torch.Tensor, opset: int) -> None:
    wanted = OnnxJudge(written(tmp_path / "13.onnx", 13), flip=False).embed(images)
    file = written(tmp_path / f"{opset}.onnx", opset)
    torch.testing.assert_close(OnnxJudge(file, flip=False).embed(images), wanted, atol=1e-5, rtol=0)
    found = onnx_encoder(str(file))(images.requires_grad_())
    assert float(F.cosine_similarity(found.z.detach(), wanted).min()) > 0.9999
    found.z.sum().backward()
    assert float(images.grad.abs().max()) > 0


def test_newer_than_onnxruntime_says_so_and_what_to_do(tmp_path: Path) -> None:
    newest = onnx.defs.onnx_opset_version()
    for file, words in (
        (written(tmp_path / "opset.onnx", newest + 50), f"of opset {newest + 50}"),
        (written(tmp_path / "ir.onnx", 17, ir=onnx.IR_VERSION + 50), f"IR version {onnx.IR_VERSION + 50}"),
    ):
        for build in (OnnxJudge, lambda path: onnx_encoder(str(path))):
            with pytest.raises(UserError) as caught:
                build(file)
            assert words in str(caught.value) and "opset_version=17" in str(caught.value)


def test_an_operation_that_no_opset_helps_names_the_judge(tmp_path: Path) -> None:
    """DFT has no torch twin, and its opset 20 is not written in 17's."""
    kept = [numpy_helper.from_array(np.int64([2, 3]), "axes"), numpy_helper.from_array(np.int64([0, 64]), "sizes")]
    kept += [numpy_helper.from_array(np.ones((3, 64), np.float32), "fc"), numpy_helper.from_array(np.int64(1), "one")]
    kept += [numpy_helper.from_array(np.int64([0, 3, 112, 112, 1]), "wide")]
    nodes = [
        helper.make_node("Reshape", ["x", "wide"], ["a"]),
        helper.make_node("DFT", ["a", "", "one"], ["b"]),
        helper.make_node("ReduceMean", ["b", "last"], ["c"], keepdims=0),
        helper.make_node("MatMul", ["c", "fc"], ["y"]),
    ]
    kept.append(numpy_helper.from_array(np.int64([2, 3, 4]), "last"))
    ends = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 112, 112]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 64]),
    ]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], kept)
    file = tmp_path / "dft.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), file)
    OnnxJudge(file)
    with pytest.raises(UserError) as caught:
        onnx_encoder(str(file))
    text = str(caught.value)
    assert "DFT" in text and "opset_version=17" in text and f"judge=onnx judge.path={file}" in text


def test_half_precision_inputs_name_the_way_out(tmp_path: Path) -> None:
    file = written(tmp_path / "half.onnx", 17, TensorProto.FLOAT16)
    with pytest.raises(UserError, match=r"but float16; .*keep_io_types=True"):
        OnnxJudge(file)
