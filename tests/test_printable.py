"""Text of strangers in what we write: no cell runs in a spreadsheet, nothing reaches a terminal as a command.

The kind: names are written as they are wherever a table is made. Instances: the CSVs of the report, of the ladder and
its like, and of compare; rejected.csv and repeated.csv of prepare; skipped.csv of folders; table.md, which is printed;
tables.tex; the page; and tables whose rows a newline in a name would break.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from anon.evaluation import results
from anon.evaluation.compare.files import comma_separated as compared
from anon.evaluation.compare.metrics import Better
from anon.evaluation.compare.runs import Run
from anon.evaluation.document import Column, Document, Line, People, Table
from anon.evaluation.document.estimates import Estimate
from anon.evaluation.report import write
from anon.evaluation.report.plain import comma_separated
from anon.faces.folder import FolderFaces
from anon.faces.splits import split_of
from anon.printable import as_csv, flat
from tests.evaluation.described import METRICS

FORMULAS = (
    "=1+1",
    '=HYPERLINK("http://x","y")',
    "+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(A1)",
    "\t=1+1",
    "\uff1d1+1",
    " =1",
)
NUMBERS = ("-0.12", "+1", "-1e-05", "-inf", "-", "0.5", "FIVA", "a=b", "-0")


def document(name: str, value: float | None = -0.12, data: str = "faces") -> Document:
    figure = Estimate(value, -0.5, 0.5, n=3, reason=name if value is None else None)
    line = Line(data, name, metrics={"ID": figure})
    table = Table("t", name, (Column("ID", name),), (0,))
    return Document(name, 0, (line,), (table,), {}, {}, METRICS, notes=(name,), commit=name)


def table_of(name: str) -> str:
    return comma_separated(document(name))


def runs_of(name: str) -> str:
    return compared([Run(Path(name), name, config={name: name})], Better())


@pytest.mark.parametrize("made", [table_of, runs_of])
@pytest.mark.parametrize("formula", FORMULAS)
def test_no_cell_is_a_formula(made: Callable[[str], str], formula: str) -> None:
    cells = [cell for row in csv.reader(io.StringIO(made(formula))) for cell in row]
    assert f"'{formula}" in cells and formula not in cells


@pytest.mark.parametrize("text", NUMBERS)
def test_numbers_and_names_stay_what_they_are(text: str) -> None:
    assert next(csv.reader(io.StringIO(as_csv([(text,)])))) == [text]
    assert as_csv([(-0.12, None, "", 3)]) == "-0.12,,,3\n"
    assert ",-0.12,-0.5,0.5," in table_of("FIVA")


def test_files_with_names_of_formulas_in_a_folder(tmp_path: Path) -> None:
    person = next(f"=person{i}" for i in range(99) if split_of(f"=person{i}") == "train")
    (tmp_path / "photos" / person).mkdir(parents=True)
    Image.new("RGB", (40, 40)).save(tmp_path / "photos" / person / "a.png")
    (tmp_path / "photos" / person / "notes, and more.txt").write_text("no picture")
    faces = FolderFaces(tmp_path / "photos", "train", 32, cache=tmp_path / "cache")
    listed = list(csv.reader((faces.folder / "skipped.csv").read_text().splitlines()))
    assert [row[0] for row in listed] == ["file", f"'{person}/notes, and more.txt"]


@pytest.mark.parametrize(
    "name", ["A\x1b[2J\x1b]0;owned\x07B", "A\nB | C", "A\r\n# B", "A\u202eB", "A\x9b31mB", "A\ud800B", "<b>A</b>"]
)
def test_names_on_a_page_in_a_table_and_in_the_terminal(tmp_path: Path, name: str) -> None:
    write(document(name, data=name), tmp_path)
    for file in ("table.md", "tables.tex", "report.html"):
        text = (tmp_path / file).read_text(encoding="utf-8")
        assert not set(text) & set("\x1b\x07\x9b\u202e\r"), file
    markdown = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert "<b>" not in markdown and "<b>A</b>" not in (tmp_path / "report.html").read_text(encoding="utf-8")
    (row,) = (line for line in markdown.splitlines() if "-.120" in line)
    assert row.startswith("| A") or row.startswith("| \\<b")
    assert "\n" not in flat(name) and results.markdown_table(["a"], [[name]])[2].count("\n") == 0


def test_a_report_that_shows_people_is_its_owners_only(tmp_path: Path) -> None:
    people = People("faces", "evaluation", 1, 1, 1, 0, 0, synthetic=False)
    for pictures, mode in (({}, 0o044), ({"grid.png": "faces"}, 0)):
        given = document("FIVA")
        shown = Document(**{**given.__dict__, "people": {"faces": people}, "pictures": pictures})
        write(shown, tmp_path)
        assert (tmp_path / "report.html").stat().st_mode & 0o077 == mode
