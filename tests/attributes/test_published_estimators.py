"""Estimators on the real files and photographs: their published directions, and the figures of docs/attributes.md."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torchmetrics.functional.classification import binary_auroc

from anon.attributes.contract import Estimator
from anon.attributes.faceapi.estimators import FaceApiAgeGender, FaceApiExpression, FaceApiLandmarks
from anon.attributes.landmarks.facemesh import FaceMesh
from anon.attributes.pose.onnx import FsaNet
from anon.faces.alignment import transform, warp
from anon.faces.contract import to_float
from anon.faces.images import read_image

FACES = tuple[Tensor, Tensor]


@pytest.fixture(scope="module")
def lfw(real: Path) -> FACES:
    """Every 50th of the photographs, 100 in all, with their five points."""
    with open(real / "faces/_meta/lfw_index.csv", newline="") as file:
        rows = list(csv.DictReader(file))[::50][:100]
    points = [[[float(row[f"{key}_{axis}"]) for axis in "xy"] for key in ("re", "le", "n", "rm", "lm")] for row in rows]
    images = [read_image(real / "faces/lfw" / row["file"]) for row in rows]
    return to_float(torch.stack(images)), torch.tensor(points)


@pytest.fixture(scope="module")
def london(real: Path) -> tuple[Tensor, Tensor, list[dict]]:
    with open(real / "faces/_meta/london_index.json") as file:
        rows = json.load(file)
    names = ["neutral" if row["expression"] == "neutral" else "smiling" for row in rows]
    folder = real / "faces/london"
    images = [read_image(folder / row["identity"] / f"{name}.jpg") for row, name in zip(rows, names, strict=True)]
    faces = torch.nn.functional.avg_pool2d(to_float(torch.stack(images)), 2)
    return faces, (torch.tensor([row["five"] for row in rows]) + 0.5) / 2 - 0.5, rows


def mirrored(faces: FACES) -> FACES:
    images, points = faces
    points = points * torch.tensor([-1.0, 1.0]) + torch.tensor([images.shape[-1] - 1.0, 0.0])
    return images.flip(-1), points[:, [1, 0, 2, 4, 3]]


def correlation(a: Tensor, b: Tensor) -> float:
    return float(torch.corrcoef(torch.stack((a, b)))[0, 1])


def eye_error(eyes: Tensor, points: Tensor) -> float:
    apart = (points[:, 0] - points[:, 1]).norm(dim=-1)
    return float(((eyes - points[:, :2]).norm(dim=-1).mean(-1) / apart).mean())


@pytest.fixture(scope="module")
def fsanet(real: Path) -> FsaNet:
    folder = real / "models/headpose_fsanet"
    return FsaNet([str(folder / f"fsanet-{kind}-iter-688590.onnx") for kind in ("1x1", "var")])


def test_fsanet_directions_are_ours(fsanet: FsaNet, lfw: FACES) -> None:
    assert isinstance(fsanet, Estimator)
    pose, other = fsanet(*lfw)["pose"], fsanet(*mirrored(lfw))["pose"]
    assert correlation(pose[:, 0], -other[:, 0]) > 0.98  # yaw changes sign in a mirror
    assert correlation(pose[:, 1], other[:, 1]) > 0.96  # pitch does not
    assert correlation(pose[:, 2], -other[:, 2]) > 0.88
    points = lfw[1]
    middle = (points[:, [0, 1]].mean(1) + points[:, [3, 4]].mean(1)) / 2
    nose = (points[:, 2] - middle) / (points[:, 0] - points[:, 1]).norm(dim=-1, keepdim=True)
    assert correlation(pose[:, 0], nose[:, 0]) > 0.9  # positive: towards the image's right
    assert correlation(pose[:, 1], nose[:, 1]) > 0.4  # positive: down


def test_fsanet_sees_a_turned_picture_turn(fsanet: FsaNet, lfw: FACES) -> None:
    images, points = lfw[0][:40], lfw[1][:40]
    a = torch.deg2rad(torch.tensor(15.0))  # counter-clockwise as seen, where y points down
    linear = torch.stack((torch.stack((a.cos(), a.sin())), torch.stack((-a.sin(), a.cos()))))
    centre = torch.tensor([[124.5], [124.5]])
    matrix = torch.cat((linear, centre - linear @ centre), 1).expand(40, 2, 3)
    turned = fsanet(warp(images + 1, matrix, (250, 250)) - 1, transform(matrix, points))["pose"]
    gained = (turned - fsanet(images, points)["pose"])[:, 2]
    assert 10 < float(gained.mean()) < 20


def test_landmarks_meet_the_eyes(real: Path, london: tuple[Tensor, Tensor, list[dict]]) -> None:
    images, points, _ = london
    ibug = FaceApiLandmarks(real / "models/faceapi/face_landmark_68_model-weights_manifest.json")(images, points)
    found = ibug["landmarks"]
    assert eye_error(torch.stack((found[:, 36:42].mean(1), found[:, 42:48].mean(1)), 1), points) < 0.04
    mesh = FaceMesh(real / "models/mediapipe_zmurez/blazeface_landmark.pth")(images, points)["landmarks"]
    left, right = mesh[:, [33, 133, 159, 145]].mean(1), mesh[:, [362, 263, 386, 374]].mean(1)
    assert eye_error(torch.stack((left, right), 1), points) < 0.055


def test_expression_age_and_gender(real: Path, london: tuple[Tensor, Tensor, list[dict]]) -> None:
    images, points, rows = london
    folder = real / "models/faceapi"
    happy = FaceApiExpression(folder / "face_expression_model-weights_manifest.json")(images, points)["expression"][
        :, 1
    ]
    assert float(binary_auroc(happy, torch.tensor([int(row["expression"] != "neutral") for row in rows]))) > 0.93
    read = FaceApiAgeGender(folder / "age_gender_model-weights_manifest.json")(images, points)
    women = torch.tensor([row["gender"] == "female" for row in rows])
    assert float(((read["gender"] > 0.5) == women).float().mean()) > 0.94
    ages = torch.tensor([float("nan") if row["age"] == "NA" else float(row["age"]) for row in rows])
    assert float((read["age"] - ages).abs().nanmean()) < 4.5


def test_gaze_mirrors(real: Path, fsanet: FsaNet, lfw: FACES) -> None:
    pytest.importorskip("openvino", reason="needs the extra gaze")
    from anon.attributes.gaze.openvino import OpenVinoGaze

    estimator = OpenVinoGaze(fsanet, real / "models/intel_gaze/gaze-estimation-adas-0002.xml")
    gaze, other = estimator(*lfw)["gaze"], estimator(*mirrored(lfw))["gaze"]
    assert correlation(gaze[:, 0], -other[:, 0]) > 0.76
    assert correlation(gaze[:, 1], other[:, 1]) > 0.8
