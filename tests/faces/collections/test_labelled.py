"""AFLW2000-3D and AffectNet on miniature trees; the pose against the renderer's rotation and insightface's."""

from __future__ import annotations

import math
import runpy
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat

from anon.errors import UserError
from anon.faces.collections.matfile import read_matrices
from anon.faces.collections.photographs.affectnet import AffectNet
from anon.faces.collections.photographs.aflw2000 import AFLW2000, our_angles, read_mat
from anon.faces.synthetic.head import rotation
from tests.faces.collections.tree import touch, write


def _mat(path: Path, pitch: float, yaw: float, roll: float) -> None:
    points = np.stack([np.arange(68.0), np.arange(68.0) * 2, np.zeros(68)])
    pose = np.array([[pitch, yaw, roll, 100.0, 120.0, -60.0, 0.0008]])
    savemat(path, {"Pose_Para": pose, "pt3d_68": points, "roi": np.ones((1, 4)), "Shape_Para": np.zeros((199, 1))})


def test_aflw2000(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, "image00002.jpg", "image00004.jpg", "image00006.jpg", "Code/Mex.m")
    _mat(tmp_path / "image00002.mat", 0.0, math.radians(30), 0.0)
    _mat(tmp_path / "image00004.mat", 0.1, -0.2, 0.3)
    (tmp_path / "image00006.mat").write_bytes((tmp_path / "image00004.mat").read_bytes()[:300])
    first, second = AFLW2000(tmp_path).items()
    assert (first.file, first.identity, first.official) == ("image00002.jpg", "image00002", "test")
    assert first.labels["pose"] == pytest.approx([-30, 0, 0]) and first.labels["pose_published"][0] == pytest.approx(30)
    assert second.labels["pose_published"] == pytest.approx([math.degrees(a) for a in (-0.2, 0.1, 0.3)])
    assert first.labels["landmarks68"][5] == [4.0, 9.0] and first.points[2] == (29.0, 59.0)
    assert "AFLW2000-3D: 1 of 3 have a damaged .mat" in caplog.text


@pytest.mark.parametrize(
    "angles", [(0.2, 0.0, 0.0), (0.0, 0.5, 0.0), (0.0, 0.0, -0.4), (0.3, -0.7, 0.2), (-0.2, 1.2, 0.5)]
)
def test_our_angles_are_of_the_same_rotation(angles: tuple[float, float, float]) -> None:
    """The reference: face3d's angle2matrix_3ddfa, as insightface carries it."""
    # by its path: the package around it wants compiled parts
    file = Path(pytest.importorskip("insightface").__file__).parent / "thirdparty/face3d/mesh_numpy/transform.py"
    transform = runpy.run_path(str(file))
    ours = our_angles(*angles)
    pose = {name: torch.tensor([value]) for name, value in zip(("yaw", "pitch", "roll"), ours, strict=True)}
    assert np.allclose(rotation(pose)[0].numpy(), transform["angle2matrix_3ddfa"](angles), atol=1e-5)


@pytest.mark.parametrize("compressed", [False, True])
def test_matrices_are_those_that_scipy_wrote(tmp_path: Path, compressed: bool) -> None:
    path = tmp_path / "a.mat"
    rng = np.random.default_rng(1)
    wide = rng.normal(size=(3, 68)).astype(np.float32)
    content = {"d": rng.normal(size=(1, 7)), "f": wide, "i": np.int16([[1, -2], [3, 4], [5, 6]]), "one": np.float64(7)}
    savemat(path, content | {"text": "x", "cell": np.array([[1]], dtype=object)}, do_compression=compressed)
    found = read_matrices(path, [*content, "text", "cell", "none"])
    assert found.keys() == content.keys()
    assert all(np.array_equal(found[name], np.atleast_2d(value)) for name, value in content.items())


def test_damaged_mat(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    _mat(path, 0.1, 0.2, 0.3)
    good = path.read_bytes()
    bomb = zlib.compress(bytes(100_000_000), 9)
    path.write_bytes(good[:128] + (15).to_bytes(4, "little") + len(bomb).to_bytes(4, "little") + bomb)
    with pytest.raises(ValueError):
        read_mat(path)
    rng = np.random.default_rng(0)
    for _ in range(300):  # whatever the bytes, a ValueError or finite numbers
        data = bytearray(good[: rng.integers(1, len(good) + 1)])
        for place in rng.integers(0, len(data), 8):
            data[place] = rng.integers(256)
        path.write_bytes(bytes(data))
        try:
            angles, points = read_mat(path)
        except ValueError:
            continue
        assert np.isfinite(angles).all() and points.shape == (68, 2)
    for content in (
        {"Pose_Para": np.zeros((1, 7))},
        {"Pose_Para": np.full((1, 7), np.nan), "pt3d_68": np.ones((3, 68))},
    ):
        savemat(path, content)
        with pytest.raises(ValueError):
            read_mat(path)
    path.write_bytes(bytes(1 << 19))
    with pytest.raises(ValueError, match="expected size"):
        read_mat(path)


def test_aflw2000_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no photographs image00002\.jpg; get AFLW2000-3D\.zip"):
        AFLW2000(tmp_path)
    touch(tmp_path, "image00002.jpg")
    with pytest.raises(UserError, match=r"1 photographs .* have no \.mat"):
        AFLW2000(tmp_path)


HEADER = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
MARKS = ";".join(f"{n}.5;{n}" for n in range(68))


def _row(file: str, emotion: int, valence: str = "0.25", arousal: str = "-0.5", marks: str = MARKS) -> str:
    return f"{file},10,20,100,110,{marks},{emotion},{valence},{arousal}"


@pytest.mark.parametrize("nested", [False, True])
def test_affectnet_of_2017(tmp_path: Path, caplog: pytest.LogCaptureFixture, nested: bool) -> None:
    images = ("Manually_Annotated/" if nested else "") + "Manually_Annotated_Images"
    lists = "Manually_Annotated_file_lists/" if nested else ""
    touch(tmp_path, f"{images}/1/aa.jpg", f"{images}/1/bb.JPG", f"{images}/20/cc.png")
    rows = [_row("1/aa.jpg", 0), _row("1/bb.JPG", 7, "-2", "-2"), _row("1/aa.jpg", 9), _row("20/gone.jpg", 1)]
    write(tmp_path, f"{lists}training.csv", HEADER, *rows)
    write(tmp_path, f"{lists}validation.csv", _row("20/cc.png", 3))  # some copies have no header
    items = AffectNet(tmp_path).items()
    assert [(item.file, item.identity, item.official, item.labels["expression_class"]) for item in items] == [
        (f"{images}/1/aa.jpg", f"{images}/1/aa".replace("/", "_"), "train", 0),
        (f"{images}/1/bb.JPG", f"{images}/1/bb".replace("/", "_"), "train", 7),
        (f"{images}/20/cc.png", f"{images}/20/cc".replace("/", "_"), "test", 3),
    ]
    assert (items[0].labels["valence"], items[0].labels["arousal"]) == (0.25, -0.5)
    assert "valence" not in items[1].labels and "arousal" not in items[1].labels
    assert items[0].box == (10, 20, 110, 130) and items[0].points[2] == (30.5, 30.0)
    assert AffectNet.expressions[7] == "contempt" and len(AffectNet.expressions) == 8
    assert "training.csv: 1 of 3 listed photographs" in caplog.text


def test_affectnet_damaged_or_missing(tmp_path: Path) -> None:
    touch(tmp_path, "Manually_Annotated_Images/1/a.jpg")
    with pytest.raises(UserError, match=r"no training\.csv or .*; request it"):
        AffectNet(tmp_path)
    for row, match in ((_row("1/a.jpg", 0, "high"), "not a number"), (_row("1/a.jpg", 0, marks="1;2"), "68 landmarks")):
        write(tmp_path, "training.csv", HEADER, row)
        write(tmp_path, "validation.csv", HEADER)
        with pytest.raises(UserError, match=f"Line 2 .*{match}"):
            AffectNet(tmp_path).items()
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no Manually_Annotated_Images or .* or train_set"):
        AffectNet(tmp_path / "empty")


def test_affectnet_with_numbered_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def annotate(part: str, number: int, emotion: object, **more: object) -> None:
        touch(tmp_path, f"{part}/images/{number}.jpg")
        (tmp_path / part / "annotations").mkdir(exist_ok=True)
        values = {"exp": emotion, "val": "0.5", "aro": -0.25, "lnd": np.arange(136.0)} | more
        for name, value in values.items():
            np.save(tmp_path / part / "annotations" / f"{number}_{name}.npy", np.array(value), allow_pickle=True)

    annotate("train_set", 10, "6")  # strings, as published
    annotate("train_set", 9, 1)
    annotate("train_set", 11, "1", val="-2")
    annotate("train_set", 12, "happy")
    annotate("train_set", 13, np.array([object()], dtype=object))
    annotate("val_set", 0, 0)
    (tmp_path / "val_set/annotations/0_lnd.npy").unlink()
    items = AffectNet(tmp_path).items()
    assert [(item.file, item.official, item.labels["expression_class"]) for item in items] == [
        ("train_set/images/9.jpg", "train", 1),
        ("train_set/images/10.jpg", "train", 6),
        ("train_set/images/11.jpg", "train", 1),
        ("val_set/images/0.jpg", "test", 0),
    ]
    assert items[1].labels["valence"] == 0.5 and items[1].labels["arousal"] == -0.25
    assert "valence" not in items[2].labels and items[2].labels["landmarks68"][1] == [2.0, 3.0]
    assert items[3].points is None and len({item.identity for item in items}) == 4
    assert "AffectNet train_set: 2 of 5 photographs have missing or damaged annotations" in caplog.text
