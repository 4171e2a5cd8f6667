"""Every detector at hand on real photographs: the right face, the right points, and nothing where there is nothing."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from anon.errors import UserError
from anon.faces.detection.contract import Detector
from anon.faces.detection.mtcnn import Mtcnn
from anon.faces.detection.retinaface import RetinaFace
from anon.faces.detection.ultralight import UltraLight
from anon.faces.detection.yunet import YuNet
from anon.faces.images import read_image

FILES = {
    "yunet": (YuNet, "yunet/yunet_n_dynamic.onnx"),
    "retinaface": (RetinaFace, "retinaface_mnet025/mobilenet0.25_Final.pth"),
    "mtcnn": (Mtcnn, "mtcnn_facenet_pytorch"),
    "rfb": (UltraLight, "ultralight/version-RFB-640.onnx"),
    "slim": (UltraLight, "ultralight/version-slim-320.onnx"),
}


@pytest.fixture(scope="module", params=list(FILES))
def detector(request, real: Path) -> Detector:
    kind, file = FILES[request.param]
    return kind(real / "models" / file)


@pytest.fixture(scope="module")
def london(real: Path) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Six frames with their hand-placed points."""
    rows = json.loads((real / "faces/_meta/london_index.json").read_text())[::12]
    files = [real / "faces/london" / Path(row["file"]).relative_to("face512_shared") for row in rows]
    return [(read_image(file), torch.tensor(row["five"])) for file, row in zip(files, rows, strict=True)]


def test_one_face_with_its_points(detector, london):
    assert isinstance(detector, Detector)
    for found, (_, truth) in zip(detector.detect_batch([frame for frame, _ in london]), london, strict=True):
        assert len(found.boxes) == 1 and found.scores.item() > 0.7
        assert bool((found.boxes[0, :2] < truth.amin(0)).all() and (found.boxes[0, 2:] > truth.amax(0)).all())
        if detector.has_points:
            error = (found.points[0] - truth).norm(dim=1) / (truth[0] - truth[1]).norm()
            assert float(error.max()) < 0.25  # an exchange of left and right would be 1
        else:
            assert bool(found.points.isnan().all())


def test_a_batch_is_its_frames_one_by_one(detector, london):
    frames = [frame for frame, _ in london[:3]] + [london[0][0][:300], london[3][0]]
    for one, many in zip([detector.detect(frame) for frame in frames], detector.detect_batch(frames), strict=True):
        for a, b in zip(one, many, strict=True):
            torch.testing.assert_close(a, b, atol=1e-2, rtol=0, equal_nan=True)


def test_faces_follow_when_the_frame_grows(detector, london):
    frame = london[0][0]
    large = frame.repeat_interleave(3, 0).repeat_interleave(3, 1)  # 1536 px, above max_side
    centre = detector.detect(large).boxes[0].view(2, 2).mean(0)
    assert float((centre - 3 * detector.detect(frame).boxes[0].view(2, 2).mean(0)).norm()) < 30
    assert len(detector.detect(large).boxes) == 1


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (16, 16), (33, 65), (480, 640)])
@pytest.mark.parametrize("value", [0, 128, 255])
def test_nothing_in_frames_of_one_colour(detector, size, value):
    assert len(detector.detect(torch.full((*size, 3), value, dtype=torch.uint8)).boxes) == 0


def test_noise_is_survived(detector):
    frame = torch.randint(0, 256, (240, 320, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    found = detector.detect(frame)
    assert len(found.boxes) <= 2 and bool((found.scores <= 1).all())


def test_yunet_is_that_of_the_index(real):
    with (real / "faces/_meta/lfw_index.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))[::500]
    detector = YuNet(real / "models/yunet/yunet_n_dynamic.onnx")
    found = detector.detect_batch([read_image(real / "faces/lfw" / row["file"]) for row in rows])
    for row, each in zip(rows, found, strict=True):
        eye = torch.tensor([float(row["re_x"]), float(row["re_y"])])
        distances = (each.points[:, 0] - eye).norm(dim=1)
        assert float(distances.min()) < 4.0


def test_yunet_of_opencv_is_its_graph_in_onnxruntime(real, london):
    """Decoded by the paper's rule: score sqrt(class x object), centre (place + offset) x stride, size exp x stride."""
    file = real / "models/yunet/yunet_n_dynamic.onnx"
    session = onnxruntime.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])
    frame = london[0][0]
    blob = frame.flip(-1).permute(2, 0, 1)[None].float().numpy()
    names = [output.name for output in session.get_outputs()]
    out = dict(zip(names, session.run(None, {session.get_inputs()[0].name: blob}), strict=True))
    best = (0.0, None, None)
    for stride in (8, 16, 32):
        score = np.sqrt(out[f"cls_{stride}"][0, :, 0] * out[f"obj_{stride}"][0, :, 0])
        i = int(score.argmax())
        place = np.array([i % (512 // stride), i // (512 // stride)])
        centre = (place + out[f"bbox_{stride}"][0, i, :2]) * stride
        size = np.exp(out[f"bbox_{stride}"][0, i, 2:]) * stride
        points = (place + out[f"kps_{stride}"][0, i].reshape(5, 2)) * stride
        best = max(best, (float(score[i]), np.concatenate((centre - size / 2, centre + size / 2)), points))
    found = YuNet(file).detect(frame)
    assert found.scores.item() == pytest.approx(best[0], abs=1e-3)
    np.testing.assert_allclose(found.boxes[0], best[1], atol=0.1)
    np.testing.assert_allclose(found.points[0], best[2], atol=0.1)


def test_truncated_files_are_refused(real, tmp_path):
    for kind, file in (FILES["yunet"], FILES["slim"], FILES["retinaface"]):
        content = (real / "models" / file).read_bytes()
        for share in (0.1, 0.5, 0.99):
            cut = tmp_path / f"cut{Path(file).suffix}"
            cut.write_bytes(content[: int(len(content) * share)])
            with pytest.raises(UserError, match=r"github\.com"):
                kind(cut)
