"""LFW: photographs, points, sets and pairs, on a miniature tree and on the real photographs."""

from __future__ import annotations

from pathlib import Path

import pytest

from anon.errors import UserError
from anon.faces.collections.photographs.lfw import LFW, Pair
from tests.faces.collections.tree import touch, write

PAIRS = ("2\t2", "Ann_Lee\t1\t2", "Bob\t1\t3", "Ann_Lee\t1\tBob\t2", "Ann_Lee\t2\tBob\t1")
PAIRS += ("Cy\t1\t2", "Di\t2\t1", "Cy\t2\tDi\t1", "Di\t2\tCy\t1")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "lfw-deepfunneled"
    for person, count in (("Ann_Lee", 2), ("Bob", 3), ("Cy", 2), ("Di", 2)):
        touch(folder, *(f"{person}/{person}_{n:04d}.jpg" for n in range(1, count + 1)))
    touch(folder, "Bob/Cy_0001.jpg", "Bob/.DS_Store")
    write(tmp_path, "pairs.txt", *PAIRS)
    write(tmp_path, "people.txt", "2", "2", "Ann_Lee\t2", "Bob\t3", "2", "Cy\t2", "Di\t2")
    return tmp_path


@pytest.mark.parametrize("inside", ["", "lfw-deepfunneled"])
def test_lfw(root: Path, inside: str) -> None:
    collection = LFW(root / inside)
    items = collection.items()
    assert len(items) == 9 and {item.identity for item in items} == {"Ann_Lee", "Bob", "Cy", "Di"}
    assert items[0].file == "Ann_Lee/Ann_Lee_0001.jpg" and (collection.root / items[0].file).is_file()
    assert {item.identity: item.labels["fold"] for item in items} == {"Ann_Lee": 1, "Bob": 1, "Cy": 2, "Di": 2}
    assert {item.official for item in items} == {None}


def test_pairs(root: Path) -> None:
    pairs = LFW(root).pairs()
    assert pairs[1] == Pair("Bob/Bob_0001.jpg", "Bob/Bob_0003.jpg", ("Bob", "Bob"), 0)
    assert pairs[2] == Pair("Ann_Lee/Ann_Lee_0001.jpg", "Bob/Bob_0002.jpg", ("Ann_Lee", "Bob"), 0)
    assert [pair.same for pair in pairs] == [True, True, False, False] * 2
    assert [pair.fold for pair in pairs] == [0] * 4 + [1] * 4
    write(root, "pairsDevTest.txt", "1", "Bob\t1\t2", "Cy\t2\tDi\t1")
    assert [pair.same for pair in LFW(root).pairs("pairsDevTest.txt")] == [True, False]
    bare = write(root, "some.txt", *PAIRS[1:])
    assert LFW(root, pairs=bare).pairs() == pairs


def test_points(root: Path) -> None:
    header = "file,re_x,re_y,le_x,le_y,n_x,n_y,rm_x,rm_y,lm_x,lm_y"
    path = write(root, "points.csv", header, "Bob/Bob_0001.jpg,105,110,145,110,128,133,107,154,142,154")
    points = {item.file: item.points for item in LFW(root, points=path).items()}
    assert points["Bob/Bob_0001.jpg"][:2] == ((105, 110), (145, 110)) and points["Cy/Cy_0001.jpg"] is None


@pytest.mark.parametrize(
    ("lines", "match"),
    [
        (("1\t1", "Bob\t1\t9", "Bob\t1\tCy\t1"), "1 of the 2 pairs are of photographs"),
        (("1\t1", "Bob\t1", "Bob\t1\tCy\t1"), "Line 2 .*no pair"),
        (("1\t1", "Bob\tone\t2", "Bob\t1\tCy\t1"), "Line 2 .*no pair"),
        (("1\t2", "Bob\t1\t2", "Bob\t1\tCy\t1"), "2 pairs in 1 sets"),
        (("10\t300",), "0 pairs in 0 sets"),
        ((), "0 pairs in 0 sets"),
        (("1\t1", "../../x\t1\t2", "Bob\t1\tCy\t1"), "1 of the 2 pairs"),
    ],
)
def test_damaged_pairs(root: Path, lines: tuple[str, ...], match: str) -> None:
    write(root, "pairs.txt", *lines)
    with pytest.raises(UserError, match=match) as caught:
        LFW(root).pairs()
    assert "Bob" not in str(caught.value)


def test_what_is_missing(root: Path, tmp_path: Path) -> None:
    (root / "pairs.txt").unlink()
    with pytest.raises(UserError, match=r"pairs\.txt; get lfw-deepfunneled\.tgz"):
        LFW(root).pairs()
    with pytest.raises(UserError, match=r"no file '.*mine\.txt'"):
        LFW(root, pairs=tmp_path / "mine.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no photographs <name>/<name>_0001\.jpg; .*umass"):
        LFW(tmp_path / "empty")
    write(root, "people.txt", "2", "2", "Ann_Lee\t2\t3")
    with pytest.raises(UserError, match=r"Line 3 .*neither a person"):
        LFW(root).items()


def test_the_real_photographs(real: Path) -> None:
    meta = real / "faces/_meta"
    collection = LFW(real / "faces/lfw", pairs=meta / "lfw_pairs.txt", points=meta / "lfw_index.csv")
    items, pairs = collection.items(), collection.pairs()
    assert (len(items), len({item.identity for item in items})) == (5149, 2268)
    assert all(item.points is not None for item in items)
    assert len(pairs) == 2400 and pairs[-1].fold == 3
    assert all(sum(pair.same for pair in pairs if pair.fold == fold) == 300 for fold in range(4))
