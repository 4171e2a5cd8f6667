"""The report as files: one page that needs nothing else, safe whatever the names are, and the same bytes each time."""

from __future__ import annotations

import base64
import io
import math
import re
import shutil
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anon.evaluation import report
from anon.evaluation.document import as_json, read
from anon.evaluation.document.estimates import Estimate
from anon.evaluation.report.__main__ import main
from tests.evaluation.report.made_up import HOSTILE, document, png


class Reader(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.cells: list[str] = []  # texts, one for each piece between two tags
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data
        self.cells += [data] if data.strip() else []

    def values(self, name: str) -> list[str]:
        return [attributes[name] or "" for _, attributes in self.tags if name in attributes]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A written report with its results.json and picture."""
    folder = tmp_path_factory.mktemp("evaluation")
    (folder / "grid.png").write_bytes(png())
    (folder / "results.json").write_text(as_json(document()), encoding="utf-8")
    report.write(document(), folder)
    return folder


@pytest.fixture(scope="module")
def page(folder: Path) -> Reader:
    return Reader((folder / "report.html").read_text(encoding="utf-8"))


def test_files(folder: Path) -> None:
    names = ["grid.png", "plots", "report.html", "results.json", "table.csv", "table.md", "tables.tex"]
    assert sorted(path.name for path in folder.iterdir()) == names


def test_every_plot_is_a_file_of_its_own(folder: Path, page: Reader) -> None:
    files = sorted((folder / "plots").iterdir())
    assert len(files) == [tag for tag, _ in page.tags].count("svg") == 19
    assert {"table1-ssim-against-privacy-id-id-faces.svg", "distances-blur-faces.svg"} <= {file.name for file in files}
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert ElementTree.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"
        assert "currentColor" not in text and "var(" not in text  # inks that only the page knows


def test_the_page_says_its_message_first(folder: Path, page: Reader) -> None:
    source = (folder / "report.html").read_text(encoding="utf-8")
    order = [
        'class="found"',
        'class="main"',
        'id="faces"',
        'id="tradeoff"',
        'id="table-1"',
        'id="measured"',
        'id="run"',
    ]
    places = [source.index(part) for part in order]
    assert places == sorted(places)


def test_the_page_needs_nothing_else(folder: Path, page: Reader) -> None:
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "iframe", "object", "embed", "base", "form"})
    references = [*page.values("src"), *page.values("href"), *page.values("xlink:href")]
    assert references and all(each.startswith(("#", "data:")) for each in references)
    assert set(each[1:] for each in references if each.startswith("#")) <= set(page.values("id"))
    source = (folder / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?://|@import|url\((?!#)", source)
    assert ("name", "viewport") in [item for _, attributes in page.tags for item in attributes.items()]
    assert "default-src 'none'" in source


def test_names_are_text_and_ids_are_unlike(folder: Path, page: Reader) -> None:
    assert HOSTILE in page.text
    assert HOSTILE not in (folder / "report.html").read_text(encoding="utf-8")
    ids = page.values("id")
    assert len(ids) == len(set(ids))


def test_the_page_says_how_it_was_measured(page: Reader) -> None:
    for fact in ("synthetic_b", "0.384", "0.00098", "456,000 pairs, background", "1.26%", "0.0078", "2,080,768"):
        assert fact in page.text
    assert "The training encoder judged 'lfw', as you asked." in page.text
    assert "0123456789abcdef0123456789abcdef01234567" in page.text and "2.13.0" in page.text
    assert "Rosberg et al., FIVA, ICCV Workshops 2023, table 1" in page.text
    assert [tag for tag, _ in page.tags].count(
        "svg"
    ) == 10 + 4 + 2 + 2 + 1  # trade-offs, sweeps, errors, distances, time


def test_the_useful_range_stands_in_the_page(page: Reader) -> None:
    # At 32 both are private; min(1, 1.3 / (1 + (32 / 45)^4) = 1.04) of the blurred faces are found, .57 of the others.
    cells = [cell.strip() for cell in page.cells]
    start = cells.index("private at")
    assert cells[start + 5 : start + 17] == [
        *("Pixelate", "32", "none", "32", "4", "4"),
        *("Blur", "32", "32", "nowhere", "4", "4"),
    ]


def test_the_picture_is_in_the_page(page: Reader) -> None:
    (image,) = [attributes for tag, attributes in page.tags if tag == "img"]
    content = base64.b64decode((image["src"] or "").removeprefix("data:image/webp;base64,"))
    with Image.open(io.BytesIO(content)) as shown, Image.open(io.BytesIO(png())) as drawn:
        assert shown.format == "WEBP" and shown.size == drawn.size
        apart = np.abs(np.asarray(shown.convert("RGB"), float) - np.asarray(drawn.convert("RGB"), float))
    assert apart.mean() < 8
    assert image["alt"] == "Targets, anonymized and attacked faces"


@pytest.mark.parametrize("name", ["../secret.png", "missing.png", "link.png", "text.png", "damaged.png"])
def test_only_pngs_of_the_folder_come_into_the_page(tmp_path: Path, name: str) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "secret.png").write_bytes(png())
    (inside / "link.png").symlink_to(tmp_path / "secret.png")
    (inside / "text.png").write_text("secret")
    (inside / "damaged.png").write_bytes(png()[:40])
    made = document(pictures=False)
    made.pictures[name] = "A picture"
    report.write(made, inside)
    found = Reader((inside / "report.html").read_text(encoding="utf-8"))
    assert not [tag for tag, _ in found.tags if tag == "img"] and name in found.text


def test_the_same_document_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "grid.png", tmp_path)
    for path in report.write(read(folder), tmp_path):
        assert path.read_bytes() == (folder / path.name).read_bytes(), path.name


def test_a_figure_that_is_not_finite_is_none(tmp_path: Path) -> None:
    made = document(pictures=False)
    broken = {**made.lines[2].metrics, "ssim": Estimate(math.nan), "ID": Estimate(math.inf)}
    made = replace(made, lines=(*made.lines[:2], replace(made.lines[2], metrics=broken), *made.lines[3:]))
    (tmp_path / "results.json").write_text(as_json(made), encoding="utf-8")
    first = [path.read_bytes() for path in report.write(made, tmp_path)]
    assert [path.read_bytes() for path in report.write(read(tmp_path), tmp_path)] == first
    rows = first[1].decode().splitlines()
    assert "faces,evaluation,FIVA,none,none,none,clean,,ssim,,,,0,not finite,SSIM,,quality,True" in rows


def test_an_empty_document_has_a_report(tmp_path: Path) -> None:
    made = document(pictures=False)
    bare = type(made)("nothing", 0, (), (), {}, {})
    assert [path.name for path in report.write(bare, tmp_path)] == [
        "table.md",
        "table.csv",
        "tables.tex",
        "report.html",
    ]
    assert not [tag for tag, _ in Reader((tmp_path / "report.html").read_text()).tags if tag in ("svg", "img")]


def test_the_command_makes_the_files_again(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(folder / "results.json", tmp_path)
    shutil.copy(folder / "grid.png", tmp_path)
    assert main([str(tmp_path)]) == 0
    assert str(tmp_path / "report.html") in capsys.readouterr().out
    assert (tmp_path / "report.html").read_bytes() == (folder / "report.html").read_bytes()
    assert main([str(tmp_path / "nowhere")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and "nowhere" in error and len(error.splitlines()) == 1
