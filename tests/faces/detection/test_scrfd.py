"""SCRFD on ONNX files of its format that the test writes: one known face, and insightface as the reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from insightface.model_zoo.scrfd import SCRFD
from onnx import TensorProto, helper, numpy_helper

from anon.errors import UserError
from anon.faces.detection.scrfd import Scrfd

FIVE = np.arange(10) / 8  # distances of the points in strides: x of the first, y of the first, ...


def _write(path: Path, levels=3, anchors=2, points=True, batch: int | str = 1, tables=2, noise=None) -> Path:
    """The heads of SCRFD on the mean colour of each cell.

    Without ``noise``: anchor 0 scores sigmoid(10 red), anchor 1 never; box 1, 2, 3, 4 strides from the place. With it,
    random heads.
    """
    rng = np.random.default_rng(noise or 0)
    nodes, constants, outputs = [], [], []
    for kind, columns in enumerate((1, 4, 10) if points else (1, 4)):
        for level in range(levels):
            weight = np.zeros((anchors, columns, 3, 1, 1), np.float32)
            bias = np.zeros((anchors, columns), np.float32)
            if noise is not None:
                weight, bias = rng.normal(0, 2, weight.shape), rng.uniform(1, 3, bias.shape) if kind else bias - 1
            elif kind == 0:
                weight[0, 0, 0], bias[1:] = 10, -20
            else:
                bias[:] = (1, 2, 3, 4) if kind == 1 else FIVE
            name = f"{kind}_{level}"
            constants += [
                numpy_helper.from_array(weight.reshape(-1, 3, 1, 1).astype(np.float32), f"w{name}"),
                numpy_helper.from_array(bias.reshape(-1).astype(np.float32), f"b{name}"),
                numpy_helper.from_array(np.array([-1, columns] if tables == 2 else [0, -1, columns]), f"s{name}"),
            ]
            side = 8 << level
            nodes += [
                helper.make_node("AveragePool", ["input.1"], [f"p{name}"], kernel_shape=[side] * 2, strides=[side] * 2),
                helper.make_node("Conv", [f"p{name}", f"w{name}", f"b{name}"], [f"c{name}"]),
                helper.make_node("Transpose", [f"c{name}"], [f"t{name}"], perm=[0, 2, 3, 1]),
                *([helper.make_node("Flatten", [f"t{name}"], [f"f{name}"], axis=1)] if tables == 3 else []),
                helper.make_node(
                    "Reshape", [f"{'f' if tables == 3 else 't'}{name}", f"s{name}"], [f"r{name}" if not kind else name]
                ),
                *([helper.make_node("Sigmoid", [f"r{name}"], [name])] if not kind else []),
            ]
            shape = [None, columns] if tables == 2 else [batch, None, columns]
            outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    inputs = [helper.make_tensor_value_info("input.1", TensorProto.FLOAT, [batch, 3, "?", "?"])]
    graph = helper.make_graph(nodes, "scrfd", inputs, outputs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def _frame() -> torch.Tensor:
    """Blue, with one red cell of the finest stride in column 5 and row 3: its place is (40, 24)."""
    frame = torch.zeros(96, 128, 3, dtype=torch.uint8)
    frame[..., 2] = 255
    frame[24:32, 40:48, 0] = 255
    return frame


@pytest.mark.parametrize(
    ("levels", "anchors", "points", "batch", "tables"),
    [(3, 2, True, 1, 2), (3, 2, False, 1, 2), (5, 1, True, 1, 2), (5, 1, False, "n", 3), (3, 2, True, "n", 3)],
)
def test_the_known_face(tmp_path, levels, anchors, points, batch, tables):
    detector = Scrfd(_write(tmp_path / "det_x.onnx", levels, anchors, points, batch, tables))
    assert detector.name == "det_x" and detector.has_points is points
    found, none, again = detector.detect_batch([_frame(), torch.zeros_like(_frame()), _frame()])
    assert found.boxes.tolist() == [[40 - 8, 24 - 16, 40 + 24, 24 + 32]]
    assert found.scores.item() == pytest.approx(1 / (1 + np.exp(-10 * 127.5 / 128)))
    if points:
        expected = np.array([40, 24]) + 8 * FIVE.reshape(5, 2)
        np.testing.assert_allclose(found.points[0].numpy(), expected, atol=1e-4)
    else:
        assert found.points.shape == (1, 5, 2) and bool(found.points.isnan().all())
    assert len(none.boxes) == 0
    assert again.boxes.equal(found.boxes)


@pytest.mark.parametrize(("levels", "anchors"), [(3, 2), (5, 1)])
def test_as_insightface(tmp_path, levels, anchors):
    file = _write(tmp_path / "det.onnx", levels, anchors, noise=3)
    frame = torch.randint(0, 256, (256, 384, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    reference = SCRFD(str(file))
    reference.prepare(-1, input_size=(384, 256), det_thresh=0.5, nms_thresh=0.4)
    boxes, points = reference.detect(frame.numpy()[..., ::-1].copy())
    found = Scrfd(file, min_size=0).detect(frame)
    assert len(boxes) > 20
    # insightface counts end pixels in its suppression, so borderline pairs may differ: what both keep must be equal
    ours = {tuple(row) for row in found.boxes.numpy().round(2)}
    theirs = {tuple(row) for row in boxes[:, :4].round(2)}
    assert len(ours & theirs) >= 0.95 * max(len(ours), len(theirs))
    best = int(np.argmax(boxes[:, 4]))
    np.testing.assert_allclose(found.boxes[0], boxes[best, :4], atol=1e-3)
    np.testing.assert_allclose(found.points[0], points[best], atol=1e-3)
    np.testing.assert_allclose(found.scores[0], boxes[best, 4], atol=1e-6)


def test_other_networks_are_refused(tmp_path):
    with pytest.raises(UserError, match="9, 10 or 15"):
        Scrfd(_write(tmp_path / "four.onnx", levels=2, points=False))
    with pytest.raises(UserError, match="an output is"):
        Scrfd(_write(tmp_path / "one.onnx", anchors=1))
