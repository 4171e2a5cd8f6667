"""FaceForensics++, RAVDESS and VoxCeleb on miniature trees in their published layout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from anon.errors import UserError
from anon.faces.collections.videos.faceforensics import FaceForensics
from anon.faces.collections.videos.ravdess import Ravdess
from anon.faces.collections.videos.voxceleb import VoxCeleb
from tests.faces.collections.tree import touch, write


@pytest.fixture
def forensics(tmp_path: Path) -> Path:
    touch(tmp_path, *(f"original_sequences/youtube/c23/videos/{n:03d}.mp4" for n in (0, 3, 71, 54, 953, 974)))
    touch(tmp_path, "original_sequences/actors/c23/videos/01__talking_against_wall.mp4")
    for method in ("Deepfakes", "NeuralTextures"):
        touch(tmp_path, *(f"manipulated_sequences/{method}/c23/videos/{name}.mp4" for name in ("071_054", "953_974")))
        touch(tmp_path, f"manipulated_sequences/{method}/masks/videos/071_054.mp4")
    touch(tmp_path, "manipulated_sequences/DeepFakeDetection/c23/videos/01_02__meeting_serious__YVGY8LOK.mp4")
    for name, pairs in (("train", [["071", "054"]]), ("val", [["000", "003"]]), ("test", [["953", "974"]])):
        write(tmp_path, f"splits/{name}.json", json.dumps(pairs))
    return tmp_path


def test_faceforensics(forensics: Path) -> None:
    items = FaceForensics(forensics).items()
    originals = [item for item in items if "method" not in item.labels]
    assert [(item.identity, item.official) for item in originals] == [
        *(("000", "val"), ("003", "val"), ("054", "train"), ("071", "train"), ("953", "test"), ("974", "test")),
        ("01", None),
    ]
    made = {item.file.split("/", 1)[1]: item for item in items if "method" in item.labels}
    swap = made["Deepfakes/c23/videos/071_054.mp4"]
    assert swap.identity == "054" and swap.official == "train" and swap.video
    assert swap.labels == {"compression": "c23", "method": "Deepfakes", "target": "071", "source": "054"}
    assert made["NeuralTextures/c23/videos/953_974.mp4"].identity == "953"
    actor = made["DeepFakeDetection/c23/videos/01_02__meeting_serious__YVGY8LOK.mp4"]
    assert (actor.identity, actor.official, actor.labels["target"]) == ("02", None, "01")
    assert len(items) == 7 + 5 and not any("masks" in item.file for item in items)


def test_faceforensics_choices(forensics: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert {item.labels.get("method") for item in FaceForensics(forensics, methods=["Deepfakes"]).items()} == {
        *(None, "Deepfakes"),
    }
    assert len(FaceForensics(forensics, methods=[]).items()) == 7
    touch(
        forensics, "original_sequences/youtube/c40/images/000/0000.png", "original_sequences/youtube/c40/images/x/0.png"
    )
    (frames,) = FaceForensics(forensics, compression="c40", form="images").items()
    assert (frames.file, frames.identity, frames.video) == ("original_sequences/youtube/c40/images/000", "000", True)
    assert "1 of 2 have names of another form" in caplog.text and "5 of 6 are in the splits only" in caplog.text


def test_faceforensics_says_what_is_missing(forensics: Path) -> None:
    with pytest.raises(UserError, match="no manipulated_sequences/FaceSwap/c23/videos; request"):
        FaceForensics(forensics, methods=["FaceSwap"])
    with pytest.raises(UserError, match="no method Blur"):
        FaceForensics(forensics, methods=["Blur"])
    with pytest.raises(UserError, match="no original_sequences/youtube/raw/videos; request"):
        FaceForensics(forensics, compression="raw")
    with pytest.raises(UserError, match="compression=raw, c23 or c40"):
        FaceForensics(forensics, compression="c0")
    for text in ("[1]", '[["071"]]', "{}", '[["071", "000"]]'):
        write(forensics, "splits/train.json", text)
        with pytest.raises(UserError, match=r"splits/(train|val)\.json"):
            FaceForensics(forensics).items()
    (forensics / "splits/val.json").unlink()
    with pytest.raises(UserError, match=r"no splits/val\.json or val\.json .*dataset/splits"):
        FaceForensics(forensics)


def test_the_official_numbers(tmp_path: Path) -> None:
    """360, 70 and 70 pairs are 720, 140 and 140 originals, and as many videos of a method."""
    names = [f"{n:03d}" for n in range(1000)]
    pairs = [names[place : place + 2] for place in range(0, 1000, 2)]
    for split, part in (("train", pairs[:360]), ("val", pairs[360:430]), ("test", pairs[430:])):
        write(tmp_path, f"splits/{split}.json", json.dumps(part))
    touch(tmp_path, *(f"original_sequences/youtube/c23/videos/{name}.mp4" for name in names))
    both = [f"{a}_{b}" for a, b in pairs] + [f"{b}_{a}" for a, b in pairs]
    touch(tmp_path, *(f"manipulated_sequences/FaceSwap/c23/videos/{name}.mp4" for name in both))
    items = FaceForensics(tmp_path).items()
    for kind in (None, "FaceSwap"):
        official = [item.official for item in items if item.labels.get("method") == kind]
        assert [official.count(split) for split in ("train", "val", "test")] == [720, 140, 140]


def test_ravdess(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    one = "Video_Speech_Actor_12/Actor_12/"
    touch(
        tmp_path, f"{one}01-01-06-01-02-01-12.mp4", f"{one}02-01-06-01-02-01-12.mp4", f"{one}02-02-08-02-01-02-12.mp4"
    )
    touch(
        tmp_path,
        "Actor_01/02-01-01-01-01-01-01.mp4",
        "Actor_01/03-01-01-01-01-01-01.wav",
        "Actor_01/02-01-01-01-01-01-02.mp4",
    )
    items = Ravdess(tmp_path).items()
    assert [(item.file, item.identity) for item in items] == [
        ("Actor_01/02-01-01-01-01-01-01.mp4", "Actor_01"),
        (f"{one}01-01-06-01-02-01-12.mp4", "Actor_12"),
        (f"{one}02-02-08-02-01-02-12.mp4", "Actor_12"),
    ]
    assert items[1].labels == {
        **{"expression_class": 5, "intensity": "normal", "channel": "speech"},
        **{"statement": 2, "repetition": 1, "gender": "f"},
    }
    assert Ravdess.expressions[5] == "fearful"
    assert (
        items[2].labels["channel"] == "song" and Ravdess.expressions[items[2].labels["expression_class"]] == "surprised"
    )
    assert items[0].labels["gender"] == "m" and all(item.video and item.official is None for item in items)
    assert "RAVDESS: 1 of 5 have names of another form" in caplog.text


def test_ravdess_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no folders Actor_01 to Actor_24; get the Video_"):
        Ravdess(tmp_path)
    touch(tmp_path, "Actor_01/notes.txt")
    with pytest.raises(UserError, match="hold no videos"):
        Ravdess(tmp_path).items()


VOX2 = ("VoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set ", "id00012 ,n000012 ,m ,dev", "id00017 ,n000017 ,f ,test")
VOX1 = ("VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet", "id10001\tA.J._Buckley\tm\tIreland\tdev")


def test_voxceleb2(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, "vox2_meta.csv", *VOX2)
    touch(tmp_path, "dev/mp4/id00012/21Uxsk56VDQ/00002.mp4", "dev/mp4/id00012/21Uxsk56VDQ/00001.mp4")
    touch(tmp_path, "test/mp4/id00017/-abc_D/00003.mp4", "test/mp4/id99999/x/00001.mp4", "dev/txt/id00012/x/00001.txt")
    items = VoxCeleb(tmp_path).items()
    assert [(item.file, item.identity, item.official) for item in items] == [
        ("dev/mp4/id00012/21Uxsk56VDQ/00001.mp4", "id00012", "train"),
        ("dev/mp4/id00012/21Uxsk56VDQ/00002.mp4", "id00012", "train"),
        ("test/mp4/id00017/-abc_D/00003.mp4", "id00017", "test"),
    ]
    assert items[2].labels == {"gender": "f", "vggface": "n000017", "recording": "-abc_D"} and items[2].video
    assert "1 of 2 folders are of people without a line" in caplog.text


def test_voxceleb1_frames(tmp_path: Path) -> None:
    write(tmp_path, "vox1_meta.csv", *VOX1, "id10270\tEartha_Kitt\tf\tUSA\ttest")
    touch(
        tmp_path,
        "unzippedFaces/A.J._Buckley/1.6/5r0dWxy17C8/1/01.jpg",
        "unzippedFaces/A.J._Buckley/1.6/5r0dWxy17C8/2/01.jpg",
    )
    touch(
        tmp_path,
        "unzippedFaces/id10270/1.6/zjwijMp0Qyw/0000100.jpg",
        "unzippedFaces/id10270/1.6/zjwijMp0Qyw/0000125.jpg",
    )
    items = VoxCeleb(tmp_path).items()
    assert [(item.file, item.identity, item.official) for item in items] == [
        ("unzippedFaces/A.J._Buckley/1.6/5r0dWxy17C8/1", "id10001", "train"),
        ("unzippedFaces/A.J._Buckley/1.6/5r0dWxy17C8/2", "id10001", "train"),
        ("unzippedFaces/id10270/1.6/zjwijMp0Qyw", "id10270", "test"),
    ]


def test_voxceleb_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no vox1_meta\.csv or vox2_meta\.csv; request"):
        VoxCeleb(tmp_path)
    write(tmp_path, "vox2_meta.csv", *VOX2)
    with pytest.raises(UserError, match="no folders id10001 of people"):
        VoxCeleb(tmp_path)
    write(tmp_path, "vox2_meta.csv", VOX2[0], "id00012 ,n000012 ,m ,holdout")
    with pytest.raises(UserError, match=r"Line 2 .*no person of dev or test"):
        VoxCeleb(tmp_path)
