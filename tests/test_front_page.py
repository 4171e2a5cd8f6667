"""What README.md shows first is what docs/front.py makes of the results, and its method of three lines works."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from hydra.utils import instantiate
from PIL import Image

from anon.apps.config import composed
from anon.evaluation.document import Estimate, Line
from tests.conftest import ROOT, script


@pytest.fixture(scope="module")
def front() -> ModuleType:
    return script("docs/front.py")


def test_it_is_up_to_date(front: ModuleType) -> None:
    """``python docs/front.py`` makes them."""
    for file, text in front.made():
        assert file.read_text(encoding="utf-8") == text, file


def test_the_strongest_attack_counts(front: ModuleType) -> None:
    """Of the same method and policy, undefended; one that needs something was not tried."""
    line = Line("synthetic", "FIVA", "itm")

    def under(attack: str, found: float | None, policy: str = "itm", defense: str = "none") -> Line:
        figures = {} if found is None else {"RA": Estimate(found, 0.0, 1.0)}
        return Line("synthetic", "FIVA", policy, defense, attack, metrics=figures, needs=None if figures else "a file")

    others = [under("weak", 0.1), under("strong_one", 0.25), under("worst", None)]
    others += [under("worst", 0.9, policy="own"), under("worst", 0.9, defense="jpeg")]
    figure, told = front.strongest(line, others)
    assert (figure.value, told) == (0.25, "(strong one)")
    assert front.strongest(line, others[2:]) is None


def test_marks_keep_the_rest(front: ModuleType) -> None:
    page = f"a\n{front.BEGIN}old\n{front.END}b\n"
    assert front.filled(page, "new\n") == f"a\n{front.BEGIN}\nnew\n\n{front.END}b\n"


def test_a_recognized_face_is_framed(front: ModuleType) -> None:
    rows = {"original": torch.zeros(2, 3, 8, 8), "changed": torch.zeros(2, 3, 8, 8)}
    sheet = front.drawn(rows, {"original": [0.0, 0.0], "changed": [0.1, 0.5]}, threshold=0.2)
    top, lefts = front.SIDE + front.FOOT + front.GAP, [front.LEFT, front.LEFT + front.SIDE + front.GAP]
    assert sheet.getpixel((lefts[0], top)) == front.RED and sheet.getpixel((lefts[1], top)) == (128, 128, 128)
    assert sheet.getpixel((lefts[0], 0)) == (128, 128, 128)  # an original is its own person


def test_the_picture_is_small() -> None:
    file = ROOT / "docs" / "figures" / "faces.png"
    assert file.stat().st_size < 200_000 and Image.open(file).width < 800


def test_the_readmes_method_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for mark, place in (("python", "my_methods.py"), ("yaml", "conf/method/mirrored.yaml")):
        block = re.search(rf"```{mark}\n(# /my/{place}.*?)```", readme, re.DOTALL)
        assert block is not None
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text(block[1], encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "my_methods", raising=False)
    config = composed("evaluate", ["method=mirrored", f"hydra.searchpath=[file://{tmp_path / 'conf'}]"])
    images = torch.arange(5.0).expand(2, 3, 4, 5)  # columns 0 1 2 3 4
    assert instantiate(config.method.anonymizer)(images)[1, 2, 3].tolist() == [0, 1, 2, 1, 0]
