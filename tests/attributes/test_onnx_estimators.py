"""ONNX files that the test writes in the published forms, and what the estimators make of known outputs."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from anon.attributes.contract import Estimator
from anon.attributes.gaze.l2cs import L2cs
from anon.attributes.landmarks.insightface import Landmarks68In3d, Landmarks106, fit_rotation
from anon.attributes.pose.onnx import FsaNet, OnnxPose
from anon.attributes.rotations import about, euler, from_openface, rotation6d
from anon.errors import UserError
from anon.faces.alignment import template


def constant(path: Path, size: int, *outputs: np.ndarray) -> str:
    """A network that gives the same answer (1, width) for every image of its batch, whatever it sees."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["pooled"]),
        helper.make_node("Mul", ["pooled", "zero"], ["nothing"]),
        helper.make_node("Flatten", ["nothing"], ["flat"]),
    ]
    constants = [numpy_helper.from_array(np.zeros(1, np.float32), "zero")]
    results = []
    for number, values in enumerate(outputs):
        width = values.size
        constants.append(numpy_helper.from_array(np.zeros((3, width), np.float32), f"w{number}"))
        constants.append(numpy_helper.from_array(values.reshape(width).astype(np.float32), f"b{number}"))
        nodes.append(helper.make_node("Gemm", ["flat", f"w{number}", f"b{number}"], [f"y{number}"]))
        results.append(helper.make_tensor_value_info(f"y{number}", TensorProto.FLOAT, ["n", width]))
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, size, size])
    graph = helper.make_graph(nodes, "constant", [image], results, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return str(path)


IMAGES = torch.zeros(3, 3, 112, 112)


@pytest.mark.parametrize(("axis", "place"), [(1, 0), (0, 1), (2, 2)])
def test_euler_undoes_a_turn_about_one_axis(axis: int, place: int) -> None:
    wanted = torch.zeros(1, 3)
    wanted[0, place] = 20.0
    torch.testing.assert_close(euler(about(axis, torch.deg2rad(torch.tensor([20.0])))), wanted, atol=1e-4, rtol=0)


def test_euler_undoes_the_renderer_s_rotation() -> None:
    from anon.faces.synthetic.head import rotation

    pose = torch.tensor([[35.0, -12.0, 8.0], [-80.0, 20.0, -30.0]])
    matrix = rotation({"yaw": pose[:, 0], "pitch": pose[:, 1], "roll": pose[:, 2]})
    torch.testing.assert_close(euler(matrix), pose, atol=1e-3, rtol=0)
    torch.testing.assert_close(rotation6d(matrix[:, :, :2].mT.flatten(1)), matrix, atol=1e-5, rtol=0)


def test_openface_directions() -> None:
    # x right, y down, z into the picture: Rx > 0 lowers the nose, Ry > 0 turns it left, Rz > 0 turns clockwise
    angles = torch.deg2rad(torch.tensor([[10.0, 0.0, 0.0], [0.0, 10.0, 0.0], [0.0, 0.0, 10.0]]))
    wanted = torch.tensor([[0.0, 10.0, 0.0], [-10.0, 0.0, 0.0], [0.0, 0.0, -10.0]])
    torch.testing.assert_close(from_openface(angles), wanted, atol=1e-4, rtol=0)


def test_pose_files_of_every_kind(tmp_path: Path) -> None:
    s, c = math.sin(math.radians(30)), math.cos(math.radians(30))
    yaw = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])  # theirs, +30: to the image's left
    wanted = torch.tensor([[-30.0, 0.0, 0.0]]).expand(3, 3)
    for kind, values in (("matrix", yaw), ("rotation6d", yaw[:, :2].T), ("euler", np.array([0.0, 30.0, 0.0]))):
        estimator = OnnxPose(constant(tmp_path / f"{kind}.onnx", 224, values), kind)  # type: ignore[arg-type]
        assert isinstance(estimator, Estimator)
        torch.testing.assert_close(estimator(IMAGES)["pose"], wanted, atol=1e-4, rtol=0)


def test_fsanet_is_the_mean_of_its_files(tmp_path: Path) -> None:
    files = [constant(tmp_path / f"{n}.onnx", 64, np.array([10.0 * n, 4.0, 2.0])) for n in (1, 2)]
    torch.testing.assert_close(FsaNet(files)(IMAGES)["pose"][0], torch.tensor([-15.0, -4.0, -2.0]))


def test_l2cs_reads_bins(tmp_path: Path) -> None:
    across, up = np.full(90, -50.0), np.full(90, -50.0)
    across[50], up[[44, 45]] = 50.0, 50.0  # -180 + 200 = 20 degrees; between -4 and 0
    read = L2cs(constant(tmp_path / "gaze.onnx", 448, across, up))(IMAGES)
    torch.testing.assert_close(read["gaze"], torch.tensor([[-20.0, -2.0]]).expand(3, 2), atol=1e-3, rtol=0)


def test_insightface_landmarks_come_back_to_the_picture(tmp_path: Path) -> None:
    flat = constant(tmp_path / "106.onnx", 192, np.zeros((106, 2)))
    points = template(112).expand(3, 5, 2) * 2 + torch.tensor([10.0, 20.0])
    found = Landmarks106(flat)(torch.zeros(3, 3, 300, 300), points)["landmarks"]
    # the crop's centre (56, 65) in the template, twice as large and moved; half a pixel: 96 of 0..191
    expected = torch.tensor([56 * 2 + 10.0, 65 * 2 + 20.0]) + 0.5 * 330 / 192
    torch.testing.assert_close(found, expected.expand(3, 106, 2), atol=1e-2, rtol=0)
    shape = torch.randn(68, 3, generator=torch.Generator().manual_seed(0))
    seen = (about(1, torch.deg2rad(torch.tensor([25.0])))[0] @ shape.T).T
    space = np.concatenate([np.zeros((1035, 3)), (seen * torch.tensor([0.1, -0.1, 0.1])).numpy()])
    torch.save({"shape": shape}, tmp_path / "shape.pt")
    estimator = Landmarks68In3d(constant(tmp_path / "1k3d68.onnx", 192, space), tmp_path / "shape.pt")
    read = estimator(torch.zeros(3, 3, 300, 300), points)
    assert read["landmarks"].shape == (3, 68, 2) and estimator.reads == ("landmarks", "pose")
    torch.testing.assert_close(read["pose"], torch.tensor([[25.0, 0.0, 0.0]]).expand(3, 3), atol=0.05, rtol=0)
    torch.testing.assert_close(fit_rotation(shape, seen[None, :, :2]), about(1, torch.deg2rad(torch.tensor([25.0]))))


def test_unfit_files_are_refused(tmp_path: Path) -> None:
    whole = constant(tmp_path / "whole.onnx", 224, np.zeros(9))
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(Path(whole).read_bytes()[:60])
    for make, reason in (
        (lambda: OnnxPose(None), "needs an ONNX file"),
        (lambda: OnnxPose(tmp_path / "none.onnx"), "No ONNX file"),
        (lambda: OnnxPose(cut), "not an ONNX model|does not|is not"),
        (lambda: OnnxPose(whole, "euler"), "expected"),
        (lambda: L2cs(whole), "does not take images"),
    ):
        with pytest.raises(UserError, match=reason):
            make()
    with pytest.raises(UserError, match="no aligned crops"):
        OnnxPose(whole)(torch.zeros(1, 3, 100, 120))
