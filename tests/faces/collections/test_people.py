"""VGGFace2, CelebA, CelebA-HQ and FFHQ on miniature trees in their published layout."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from anon.errors import UserError
from anon.faces.collections.contract import Collection
from anon.faces.collections.photographs.celeba import CelebA
from anon.faces.collections.photographs.celeba_hq import CelebAHQ
from anon.faces.collections.photographs.ffhq import FFHQ
from anon.faces.collections.photographs.vggface2 import VGGFace2
from tests.faces.collections.tree import touch, write

POINTS = "NAME_ID," + ",".join(f"P{n}X,P{n}Y" for n in range(1, 6))


@pytest.fixture
def vggface2(tmp_path: Path) -> Path:
    touch(tmp_path, "train/n000002/0002_01.jpg", "train/n000002/0001_01.jpg", "train/n000003/0001_02.jpg")
    touch(tmp_path, "test/n000001/0019_01.jpg", "train/notes.txt", "train/n000002/Thumbs.db")
    row = '"n000002/0001_01",75.5,110,103,104,80,120,81,140,100,141'
    write(tmp_path, "bb_landmark/loose_landmark_train.csv", POINTS, row, row.replace("0001", "0002"))
    boxes = ('"n000002/0001_01",60,70,100,120', '"n000002/0002_01",1,2,3,4')
    write(tmp_path, "bb_landmark/loose_bb_train.csv", "NAME_ID,X,Y,W,H", *boxes)
    test_row = row.replace("n000002/0001", "n000001/0019")
    write(tmp_path, "bb_landmark/loose_landmark_test.csv", POINTS, test_row)
    write(tmp_path, "bb_landmark/loose_bb_test.csv", "NAME_ID,X,Y,W,H", '"n000001/0019_01",5,6,7,8')
    meta = ("Class_ID, Name, Sample_Num, Flag, Gender", 'n000001, "14th_Dalai_Lama",424,0, m,', 'n000002, "A",3,1, f,')
    write(tmp_path, "identity_meta.csv", *meta)
    return tmp_path


def test_vggface2(vggface2: Path, caplog: pytest.LogCaptureFixture) -> None:
    collection = VGGFace2(vggface2)
    assert isinstance(collection, Collection)
    items = collection.items()
    assert [(item.file, item.identity, item.official) for item in items] == [
        ("train/n000002/0001_01.jpg", "n000002", "train"),
        ("train/n000002/0002_01.jpg", "n000002", "train"),
        ("train/n000003/0001_02.jpg", "n000003", "train"),
        ("test/n000001/0019_01.jpg", "n000001", "test"),
    ]
    assert items[0].points == ((75.5, 110), (103, 104), (80, 120), (81, 140), (100, 141))
    assert items[0].box == (60, 70, 160, 190) and items[2].points is None and items[3].box == (5, 6, 12, 14)
    assert [item.labels for item in items] == [{"gender": "f"}, {"gender": "f"}, {}, {"gender": "m"}]
    assert "1 of 4 photographs have none in bb_landmark" in caplog.text


def test_vggface2_says_what_is_missing(vggface2: Path, tmp_path: Path) -> None:
    (vggface2 / "bb_landmark/loose_bb_test.csv").unlink()
    with pytest.raises(UserError, match=r"no bb_landmark/loose_bb_test\.csv; .*landmarks=false"):
        VGGFace2(vggface2)
    assert VGGFace2(vggface2, landmarks=False).items()[0].points is None
    with pytest.raises(UserError, match=r"neither train/ nor test/; .*robots\.ox\.ac\.uk"):
        VGGFace2(vggface2 / "train")
    with pytest.raises(UserError, match="there is no folder"):
        VGGFace2(tmp_path / "nothing")
    with pytest.raises(UserError, match=r"needs its folder \(root="):
        VGGFace2(None)


def test_vggface2_damaged(vggface2: Path) -> None:
    path = write(vggface2, "bb_landmark/loose_bb_train.csv", "NAME_ID,X,Y,W,H", '"n000002/0001_01",60,inf,1,1')
    with pytest.raises(UserError, match=r"Line 2 of .*loose_bb_train\.csv.* not finite"):
        VGGFace2(vggface2).items()
    write(vggface2, path.name, "x")
    write(vggface2, "bb_landmark/loose_bb_train.csv", "NAME_ID,X,Y,W,H", '"n000003/0001_01",1,1,1,1')
    with pytest.raises(UserError, match="different photographs"):
        VGGFace2(vggface2).items()


def _celeba(root: Path) -> Path:
    touch(root, *(f"Img/img_align_celeba/{n:06d}.jpg" for n in (1, 2, 4)))
    rows = ("000001.jpg -1  1 -1", "000002.jpg  1 -1 -1", "000003.jpg -1 -1 -1", "000004.jpg  1  1  1")
    write(root, "Anno/list_attr_celeba.txt", "4", "Bald Male Smiling ", *rows)
    write(root, "Anno/identity_CelebA.txt", *(f"{n:06d}.jpg {who}" for n, who in enumerate((2880, 17, 17, 2880), 1)))
    write(root, "Eval/list_eval_partition.txt", *(f"{n:06d}.jpg {part}" for n, part in enumerate((0, 2, 2, 0), 1)))
    header = "lefteye_x lefteye_y righteye_x righteye_y nose_x nose_y leftmouth_x leftmouth_y rightmouth_x rightmouth_y"
    marks = [f"{n:06d}.jpg  69  109  106  113   77  142   73  152  108  15{n}" for n in range(1, 5)]
    write(root, "Anno/list_landmarks_align_celeba.txt", "4", header, *marks)
    return root


def test_celeba(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    items = CelebA(_celeba(tmp_path)).items()
    assert [(item.file, item.identity, item.official) for item in items] == [
        ("Img/img_align_celeba/000001.jpg", "2880", "train"),
        ("Img/img_align_celeba/000002.jpg", "17", "test"),
        ("Img/img_align_celeba/000004.jpg", "2880", "train"),
    ]
    assert items[0].labels == {"attributes": {"Bald": False, "Male": True, "Smiling": False}}
    assert items[1].labels == {"attributes": {"Bald": True, "Male": False, "Smiling": False}}
    assert items[2].points == ((69, 109), (106, 113), (77, 142), (73, 152), (108, 154))
    assert "CelebA: 1 of 4 listed photographs are not there" in caplog.text


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("Anno/list_attr_celeba.txt", ("1", "Bald Male", "000001.jpg 1 2"), "Line 3 .*attribute other"),
        ("Anno/list_attr_celeba.txt", ("1", "Bald Male", "000001.jpg 1"), "Line 3 .*2 words, not 3"),
        ("Anno/list_attr_celeba.txt", ("many", "Bald"), "Line 1 .*number of photographs"),
        ("Eval/list_eval_partition.txt", ("000001.jpg 3",), "Line 1 .*partition"),
        ("Anno/list_landmarks_align_celeba.txt", ("1", "a b"), "Line 2 .*ten coordinates"),
    ],
)
def test_celeba_damaged(tmp_path: Path, name: str, content: tuple[str, ...], match: str) -> None:
    write(_celeba(tmp_path), name, *content)
    with pytest.raises(UserError, match=match):
        CelebA(tmp_path).items()


def test_celeba_says_what_is_missing(tmp_path: Path) -> None:
    _celeba(tmp_path)
    with pytest.raises(UserError, match=r"no Img/img_celeba or img_celeba; get it from .*mmlab"):
        CelebA(tmp_path, images="img_celeba")
    with pytest.raises(UserError, match="not images=thumbs"):
        CelebA(tmp_path, images="thumbs")
    (tmp_path / "Anno/identity_CelebA.txt").unlink()
    with pytest.raises(UserError, match=r"no Anno/identity_CelebA\.txt or identity_CelebA\.txt"):
        CelebA(tmp_path)


def test_celeba_hq(tmp_path: Path) -> None:
    root = tmp_path / "CelebAMask-HQ"
    touch(root, "CelebA-HQ-img/0.jpg", "CelebA-HQ-img/10.jpg", "CelebA-HQ-img/2.jpg")
    mapping = ("idx orig_idx orig_file", "0 1 000002.jpg", "2   3   000004.jpg", "10   0   000001.jpg")
    write(root, "CelebA-HQ-to-CelebA-mapping.txt", *mapping)
    with pytest.raises(UserError, match="identity_CelebA"):
        CelebAHQ(root)
    celeba = _celeba(tmp_path / "celeba")
    items = CelebAHQ(root, celeba).items()
    assert [(item.file, item.identity, item.official, item.labels["celeba"]) for item in items] == [
        ("CelebA-HQ-img/0.jpg", "17", "test", "000002.jpg"),
        ("CelebA-HQ-img/2.jpg", "2880", "train", "000004.jpg"),
        ("CelebA-HQ-img/10.jpg", "2880", "train", "000001.jpg"),
    ]
    assert items[0].labels["attributes"] == {"Bald": True, "Male": False, "Smiling": False} and items[0].points is None
    write(root, "CelebA-HQ-to-CelebA-mapping.txt", mapping[0], "0 1 ../../etc.jpg")
    with pytest.raises(UserError, match=r"Line 2 .*no photograph of CelebA"):
        CelebAHQ(root, celeba).items()
    (root / "CelebA-HQ-to-CelebA-mapping.txt").unlink()
    with pytest.raises(UserError, match=r"no CelebA-HQ-to-CelebA-mapping\.txt; get CelebAMask-HQ"):
        CelebAHQ(root, celeba)


def _ffhq_entry(category: str) -> dict[str, object]:
    landmarks = [[8.0 * n, 8.0 * n + 4] for n in range(68)]
    return {"category": category, "image": {"face_landmarks": landmarks}, "in_the_wild": {}}


def test_ffhq(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, "images1024x1024/00000/00000.png", "images1024x1024/69000/69001.png", "images1024x1024/LICENSE.txt")
    touch(tmp_path, "thumbnails128x128/00000/00007.png")
    content = {"69001": _ffhq_entry("validation"), "0": _ffhq_entry("training"), "7": _ffhq_entry("training")}
    write(tmp_path, "ffhq-dataset-v2.json", json.dumps(content))
    items = FFHQ(tmp_path).items()
    assert [(item.file, item.identity, item.official) for item in items] == [
        ("images1024x1024/00000/00000.png", "00000", "train"),
        ("images1024x1024/69000/69001.png", "69001", "test"),
    ]
    assert items[0].labels["landmarks68"][3] == [24.0, 28.0] and items[0].points[2] == (240.0, 244.0)
    assert "FFHQ: 1 of 3 listed photographs are not there" in caplog.text
    (small,) = FFHQ(tmp_path, images="thumbnails128x128").items()
    assert small.file == "thumbnails128x128/00000/00007.png"
    assert small.labels["landmarks68"][3] == [(24.5 / 8) - 0.5, (28.5 / 8) - 0.5]


def test_ffhq_damaged_or_missing(tmp_path: Path) -> None:
    touch(tmp_path, "images1024x1024/00000/00000.png")
    with pytest.raises(UserError, match=r"no ffhq-dataset-v2\.json; get it with download_ffhq\.py"):
        FFHQ(tmp_path)
    short = _ffhq_entry("training") | {"image": {"face_landmarks": [[1, 2]]}}
    for entry in ({"0": {}}, {"0": short}, {"0": _ffhq_entry("other")}, {"x": _ffhq_entry("training")}, [1]):
        write(tmp_path, "ffhq-dataset-v2.json", json.dumps(entry))
        with pytest.raises(UserError, match=r"ffhq-dataset-v2\.json"):
            FFHQ(tmp_path).items()
    with pytest.raises(UserError, match="no thumbnails128x128"):
        FFHQ(tmp_path, images="thumbnails128x128")


def test_messages_name_nobody(vggface2: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        VGGFace2(vggface2).items()
    assert "n00000" not in caplog.text and "Lama" not in caplog.text
