"""Recognizers on photographs at every size: one face, one embedding. ``benchmarks/framing.py`` prints the whole table.

The kind: see ``tests/faces/test_framing.py``. Where crops were only resized, EdgeFace's cosine of a 256 crop to the 112
crop of the same photograph was .69, and its EER four times as high.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from anon.attributes.landmarks.facemesh import FaceMesh
from anon.faces.alignment import align, similarity, template, transform
from anon.faces.contract import to_float
from anon.faces.images import read_image
from anon.identity.onnx import OnnxJudge
from benchmarks.framing import SIZES, embedded, figures, judges, kept, photographs, points_of

COUNT = 12


@pytest.fixture(scope="module")
def faces(real: Path) -> dict[int, Tensor]:
    """Every size's crops of a few photographs."""
    files = photographs(real, COUNT // 4)
    frames = torch.stack([to_float(read_image(real / "faces/lfw" / file)) for file in files])
    return {size: kept(align(frames, points_of(real, files), size)) for size in SIZES}


@pytest.mark.parametrize("name", ["EdgeFace", "MobileFaceNet"])
def test_every_size_from_112_up_gives_the_embedding_of_112(real: Path, faces: dict[int, Tensor], name: str) -> None:
    judge = judges(real)[name]
    wanted = judge.embed(faces[112])
    for size in SIZES:
        cosine = (judge.embed(faces[size]) * wanted).sum(1)
        assert float(cosine.mean()) >= (0.95 if size >= 112 else 0.85), size


def test_the_onnx_file_sees_what_the_network_sees(real: Path, faces: dict[int, Tensor]) -> None:
    imagenet = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
    onnx = OnnxJudge(real / "models/mobilefacenet_foamliu/MobileFaceNet.onnx", **imagenet)
    for size in (64, 256):
        cosine = (onnx.embed(faces[size]) * judges(real)["MobileFaceNet"].embed(faces[size])).sum(1)
        assert float(cosine.min()) >= 0.9999


@pytest.mark.slow
def test_error_rates_do_not_depend_on_the_size(real: Path) -> None:
    """940 photographs, minutes: EER within .002 of that at 112, Real ID within .006."""
    found = embedded(real, photographs(real, 235), judges(real))
    for name in judges(real):
        usual = figures(found[name, "112"])
        for size in (size for size in SIZES if size >= 112):
            figure = figures(found[name, str(size)])
            assert abs(figure.eer - usual.eer) <= 0.002, (name, size)
            assert abs(figure.real_id - usual.real_id) <= 0.006, (name, size)
            assert float((found[name, str(size)] * found[name, "112"]).sum(1).mean()) >= 0.95


def test_landmarks_do_not_depend_on_the_size(real: Path, faces: dict[int, Tensor]) -> None:
    """An estimator frames crops by their points: within 1.5 pixels of the 112 crop, whatever it was given."""
    mesh = FaceMesh(real / "models/mediapipe_zmurez/blazeface_landmark.pth")
    wanted = mesh(faces[112])["landmarks"]
    for size in SIZES:
        found = transform(similarity(template(size)[None], template(112)), mesh(faces[size])["landmarks"])
        assert float((found - wanted).norm(dim=-1).median()) < 1.5, size
