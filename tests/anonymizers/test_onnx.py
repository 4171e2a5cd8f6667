"""A network of somebody else's as a method, against what its graph says by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from onnx import NodeProto, TensorProto, helper, save

from anon.anonymizers.onnx import OnnxAnonymizer
from anon.anonymizers.plugged import as_anonymizer
from anon.errors import UserError

NEGATIVE = helper.make_node("Neg", ["images"], ["out"])
RED = helper.make_node("Mul", ["images", "keep"], ["out"])  # keeps the first channel
MEAN = helper.make_node("ReduceMean", ["images"], ["out"], axes=[2, 3], keepdims=0)
IMAGES = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1


def written(folder: Path, node: NodeProto = NEGATIVE, batch: object = "n", side: object = "s") -> Path:
    """A file of one operation on (batch, 3, side, side)."""
    shapes = {"images": [batch, 3, side, side], "out": [batch, 3] if node is MEAN else [batch, 3, side, side]}
    given, made = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items())
    keep = [helper.make_tensor("keep", TensorProto.FLOAT, [1, 3, 1, 1], [1.0, 0.0, 0.0])] if node is RED else []
    model = helper.make_graph([node], "mine", [given], [made], keep)
    save(helper.make_model(model, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), folder / "mine.onnx")
    return folder / "mine.onnx"


def test_its_range_is_undone(tmp_path: Path) -> None:
    """-x of [-1, 1] is the negative; of [0, 255] it is -(x + 1) / 2 * 255, which is -x - 2 on the way back."""
    file = written(tmp_path)
    torch.testing.assert_close(OnnxAnonymizer(file)(IMAGES), -IMAGES)
    torch.testing.assert_close(OnnxAnonymizer(file, low=0, high=255)(IMAGES), -IMAGES - 2)
    torch.testing.assert_close(as_anonymizer(OnnxAnonymizer(file), "mine")(IMAGES, rng=torch.Generator()), -IMAGES)
    assert OnnxAnonymizer(file).name == "mine"


@pytest.mark.parametrize("batch", [1, 2, 4, 5, 8])
def test_a_fixed_batch(tmp_path: Path, batch: int) -> None:
    """Five faces through a graph that takes so many at a time: the last run is filled up, and what filled it falls."""
    torch.testing.assert_close(OnnxAnonymizer(written(tmp_path, batch=batch))(IMAGES), -IMAGES)


def test_blue_first(tmp_path: Path) -> None:
    """What keeps its first channel keeps red, and blue where the network takes that first."""
    file = written(tmp_path, RED)
    red, blue = torch.zeros_like(IMAGES), torch.zeros_like(IMAGES)
    red[:, 0], blue[:, 2] = IMAGES[:, 0], IMAGES[:, 2]
    torch.testing.assert_close(OnnxAnonymizer(file)(IMAGES), red)
    torch.testing.assert_close(OnnxAnonymizer(file, bgr=True)(IMAGES), blue)


def test_faces_of_another_side(tmp_path: Path) -> None:
    """One colour stays that colour on the way to the network's side and back."""
    flat = torch.full((2, 3, 10, 10), 0.25)
    torch.testing.assert_close(OnnxAnonymizer(written(tmp_path), size=6)(flat), -flat)
    fixed = OnnxAnonymizer(written(tmp_path, side=4))
    torch.testing.assert_close(fixed(flat), -flat)
    assert fixed.size == 4


def test_what_is_no_method(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"No ONNX file at .*method\.anonymizer\.file"):
        OnnxAnonymizer(tmp_path / "none.onnx")
    with pytest.raises(UserError, match="low=1 must be below high=1"):
        OnnxAnonymizer(written(tmp_path), low=1, high=1)
    with pytest.raises(UserError, match=r"of pictures it makes \(5, 3\), not \(B, 3, S, S\)"):
        OnnxAnonymizer(written(tmp_path, MEAN))(IMAGES)
