"""Stand-ins for swap tools of docs/comparators.md: what a tool's own code writes is judged where it lies.

Each stand-in's swap of a target is the negative of it, so a result that is found at all is known to be the right one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from anon.anonymizers.results import ResultsFolder
from anon.errors import UserError
from anon.faces.datamodule import FaceData, folder_data
from tests.faces.test_counterparts import picture

NAMES = [f"{number:05d}" for number in range(6)]


class Pair(NamedTuple):
    """A target whose face is replaced by that of a source."""

    target: str
    source: str


PAIRS = [Pair(name, NAMES[(number + 1) % len(NAMES)]) for number, name in enumerate(NAMES)]


def shown(root: Path, name: str) -> np.ndarray:
    return np.asarray(Image.open(root / name / f"{name}.png"))


def save(path: Path, frame: np.ndarray, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(frame).save(path, **options)


def megafs_data_set(root: Path, place: Path, pair: Pair) -> str:
    """Its published swaps of CelebA-HQ: ``<target>_<source>.jpg``, all in one folder."""
    save(place / f"{int(pair.target)}_{int(pair.source)}.jpg", 255 - shown(root, pair.target), quality=98)
    return f"{int(pair.target)}_{int(pair.source)}.jpg"


def megafs_inference(root: Path, place: Path, pair: Pair) -> str:
    """``inference.py``: source, target, swap and (its ``refine``) the swap again, in a row; a moved ftm.jpg."""
    own, swap = shown(root, pair.target), 255 - shown(root, pair.target)
    save(place / f"{pair.target}_ftm.jpg", np.hstack((shown(root, pair.source), own, swap, swap)), quality=98)
    return f"{pair.target}_ftm.jpg"


def diffswap(root: Path, place: Path, pair: Pair) -> str:
    """``pipeline.py``: ``swap_res_ori/<checkpoint>_<scale>/<source>/<target>.png``, pasted into the target."""
    name = f"swap_res_ori/diffswap_0.01/{pair.source}/{pair.target}.png"
    save(place / name, 255 - shown(root, pair.target))
    return name


def infoswap_demo(root: Path, place: Path, pair: Pair) -> str:
    """``inference_demo.py`` of one source: ``<date>/<target>_gen.png``, pasted into the target."""
    name = f"{pair.source}/2021-06-01/{pair.target}_gen.png"
    save(place / name, 255 - shown(root, pair.target))
    return name


def infoswap_1024(root: Path, place: Path, pair: Pair) -> str:
    """``inference_1024.py``: ``<date>/<source>_<target>.png``, source, target and swap; here in a row."""
    name = f"2021-06-01/{pair.source}_{pair.target}.png"
    own = shown(root, pair.target)
    save(place / name, np.hstack((shown(root, pair.source), own, 255 - own)))
    return name


def facecontroller(root: Path, place: Path, pair: Pair) -> str:
    """No code of its authors is known; frames of FaceForensics++'s evaluation are named after target and source."""
    save(place / f"{pair.target}_{pair.source}" / "0000.png", 255 - shown(root, pair.target))
    return f"{pair.target}_{pair.source}/0000.png"


@pytest.fixture
def originals(tmp_path: Path) -> Path:
    for number, name in enumerate(NAMES):
        save(tmp_path / "originals" / name / f"{name}.png", np.asarray(picture(number)))
    return tmp_path / "originals"


def data_of(originals: Path) -> FaceData:
    return folder_data(str(originals), 64, 2, cache=str(originals.parent / "cache"), everyone=True)


def listed(place: Path, rows: list[tuple[str, str, str]]) -> str:
    file = place / "pairs.csv"
    file.write_text("\n".join(["output,target,source", *map(",".join, rows)]) + "\n")
    return str(file)


@pytest.mark.parametrize(
    ("write", "panel"),
    [
        (megafs_data_set, None),
        (megafs_inference, (3, 4)),
        (diffswap, None),
        (infoswap_demo, None),
        (infoswap_1024, (3, 3)),
        (facecontroller, None),
    ],
)
def test_what_a_tool_writes_is_judged_as_it_lies(
    write: Callable[[Path, Path, Pair], str], panel: tuple[int, int] | None, originals: Path, tmp_path: Path
) -> None:
    place = tmp_path / "results"
    rows = [(write(originals, place, pair), *(f"{who}/{who}.png" for who in pair)) for pair in PAIRS]
    data = data_of(originals)
    tool = ResultsFolder(str(place), data, pairs=listed(tmp_path, rows), panel=panel)
    faces = data.faces("evaluation")
    images = torch.stack([faces[number]["image"] for number in range(len(NAMES))])
    assert float((tool(images) + images).abs().mean()) < 0.02  # JPEG changes them a little
    assert tool.swaps and tool.incomplete is None
    assert tool.sources(torch.arange(len(NAMES))).tolist() == [1, 2, 3, 4, 5, 0]


def test_a_result_that_is_not_there_counts_as_none(originals: Path, tmp_path: Path) -> None:
    place = tmp_path / "results"
    rows = [(diffswap(originals, place, pair), *(f"{who}/{who}.png" for who in pair)) for pair in PAIRS]
    rows[2] = ("swap_res_ori/elsewhere.png", *rows[2][1:])
    data = data_of(originals)
    tool = ResultsFolder(str(place), data, pairs=listed(tmp_path, rows), max_missing=0.5)
    assert tool.incomplete == "1 of 6 missing"
    one = data.faces("evaluation")[2]["image"][None]
    assert torch.equal(tool(one), one)


def test_a_sheet_without_that_many_pictures_is_of_another_shape(originals: Path, tmp_path: Path) -> None:
    place = tmp_path / "results"
    rows = [(infoswap_1024(originals, place, pair), *(f"{who}/{who}.png" for who in pair)) for pair in PAIRS]
    with pytest.raises(UserError, match="another shape than the original"):
        ResultsFolder(str(place), data_of(originals), pairs=listed(tmp_path, rows), panel=(3, 4))
    with pytest.raises(UserError, match=r"panel=\[4, 3\]"):
        ResultsFolder(str(place), data_of(originals), panel=(4, 3))


def test_two_swaps_of_one_target_are_refused(originals: Path, tmp_path: Path) -> None:
    """MegaFS's data set has several; which one is judged has to be said."""
    place = tmp_path / "results"
    rows = [(diffswap(originals, place, pair), *(f"{who}/{who}.png" for who in pair)) for pair in PAIRS]
    rows.append(("other.png", *rows[0][1:]))
    with pytest.raises(UserError, match="a target twice"):
        ResultsFolder(str(place), data_of(originals), pairs=listed(tmp_path, rows))
