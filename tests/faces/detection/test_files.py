"""Files that are missing, damaged, hostile or another network's: one sentence, with where to get the right one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from onnx import TensorProto, helper, numpy_helper

from anon.errors import UserError
from anon.faces.detection.mtcnn import Mtcnn, ONet, PNet, RNet
from anon.faces.detection.retinaface import RetinaFace, RetinaFaceNet
from anon.faces.detection.scrfd import Scrfd
from anon.faces.detection.ultralight import UltraLight
from anon.faces.detection.yunet import YuNet
from anon.weights import onnx as reading

CONF = Path(__file__).resolve().parents[3] / "conf"
ALL = [YuNet, Scrfd, RetinaFace, Mtcnn, UltraLight]
SHAPES = {"w": (4, 3, 1, 1), "scale": (4,), "b": (4,), "mean": (4,), "var": (4,)}
NAMES = ["centerface", "mtcnn", "retinaface", "scrfd", "ultralight", "yunet"]


def _model(constant: TensorProto | None = None, nodes=None) -> onnx.ModelProto:
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, "h", "w"])
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    constant = constant or numpy_helper.from_array(np.ones(1, np.float32), "c")
    graph = helper.make_graph(nodes or [helper.make_node("Mul", ["x", "c"], ["y"])], "g", [image], [output], [constant])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


@pytest.mark.parametrize("kind", ALL)
def test_no_file(kind, tmp_path):
    with pytest.raises(UserError, match=r"needs .*github.com"):
        kind(None)
    with pytest.raises(UserError, match=r"[Nn]o .*github.com"):
        kind(tmp_path / "missing")


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"\x08\x07", b"\x00" * 5000])
def test_no_network(kind, content, tmp_path):
    for name in ("pnet.pt", "rnet.pt", "onet.pt", "file.onnx", "file.pth"):
        (tmp_path / name).write_bytes(content)
    path = {Mtcnn: tmp_path, RetinaFace: tmp_path / "file.pth"}.get(kind, tmp_path / "file.onnx")
    with pytest.raises(UserError, match=r"github.com"):
        kind(path)


@pytest.mark.parametrize("kind", [YuNet, Scrfd, UltraLight])
def test_another_onnx(kind, tmp_path):
    onnx.save(_model(), tmp_path / "other.onnx")
    with pytest.raises(UserError, match=r"github\.com"):
        kind(tmp_path / "other.onnx")


@pytest.mark.parametrize("kind", [YuNet, Scrfd, UltraLight])
def test_weights_elsewhere_and_control_flow(kind, tmp_path):
    outside = TensorProto(name="c", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    outside.external_data.add(key="location", value="../../etc/passwd")
    (tmp_path / "outside.onnx").write_bytes(_model(outside).SerializeToString())
    with pytest.raises(UserError, match="from outside its folder"):
        kind(tmp_path / "outside.onnx")
    branch = helper.make_graph([], "b", [], [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])
    node = helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)
    (tmp_path / "if.onnx").write_bytes(_model(nodes=[node]).SerializeToString())
    with pytest.raises(UserError, match="control flow"):
        kind(tmp_path / "if.onnx")


def test_torch_files_of_the_published_form_load(tmp_path):
    net = RetinaFaceNet()
    torch.save({f"module.{key}": value for key, value in net.state_dict().items()}, tmp_path / "r.pth")
    loaded = RetinaFace(tmp_path / "r.pth")._net.state_dict()
    assert all(value.equal(loaded[key]) for key, value in net.state_dict().items())
    for name, part in (("pnet", PNet()), ("rnet", RNet()), ("onet", ONet())):
        torch.save(part.state_dict(), tmp_path / f"{name}.pt")
    found = Mtcnn(tmp_path).detect(torch.zeros(64, 64, 3, dtype=torch.uint8))  # untrained: anything, but well-formed
    assert found.boxes.shape == (len(found.scores), 4) and found.points.shape == (len(found.scores), 5, 2)


def test_torch_files_of_another_network(tmp_path):
    torch.save(PNet().state_dict(), tmp_path / "p.pth")
    with pytest.raises(UserError, match=r"does not fit RetinaFaceNet.*github.com"):
        RetinaFace(tmp_path / "p.pth")
    with pytest.raises(UserError, match="is a file"):
        Mtcnn(tmp_path / "p.pth")


@pytest.mark.parametrize("name", NAMES[1:])  # the first's file is in a package
def test_configurations_ask_for_their_file(name):
    assert sorted(file.stem for file in (CONF / "detector").glob("*.yaml")) == NAMES
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(overrides=[f"+detector={name}"]).detector
    with pytest.raises(Exception, match="needs") as caught:
        instantiate(config)
    assert isinstance(caught.value.__cause__, UserError)  # Hydra wraps it


def test_constants_of_an_old_file_are_no_inputs(tmp_path):
    """IR 3 lists weights among the inputs, so they may change, and onnxruntime would fold nothing into them."""
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])]
    weights = [numpy_helper.from_array(np.full(shape, 2, np.float32), name) for name, shape in SHAPES.items()]
    given += [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in SHAPES.items()]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], kernel_shape=[1, 1]),
        helper.make_node("BatchNormalization", ["c", "scale", "b", "mean", "var"], ["y"], epsilon=0.0),
    ]
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    model = helper.make_model(helper.make_graph(nodes, "g", given, [out], weights), ir_version=3)
    model.opset_import[0].version = 9
    onnx.save(model, tmp_path / "old.onnx")
    opened = reading.session(reading.read(tmp_path / "old.onnx", "A test", "nowhere"), "nowhere")
    assert [each.name for each in opened.get_inputs()] == ["x"] and not opened.get_overridable_initializers()
    (values,) = opened.run(None, {"x": np.ones((1, 3, 8, 8), np.float32)})
    assert np.allclose(values, (6 - 2) / np.sqrt(2) * 2 + 2)  # three channels of 1, weights 2; then (c - mean) / sd
