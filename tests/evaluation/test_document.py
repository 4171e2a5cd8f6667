"""results.json of anybody: each part of it is what stands there, or the file is one sentence.

The kind: a file that is well-formed JSON was believed to hold the types that its reader's dataclasses name. Of 72
changed values 44 ended the report in a traceback and 22 the comparison. Checked from the type hints, so a new field is
checked too; found beside the reported ones: lines of -1, text that is no Unicode, bins that do not rise, bands of
another length, parts too much.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from anon.errors import UserError
from anon.evaluation.document import (
    Column,
    Curve,
    Difference,
    Document,
    Histogram,
    Line,
    People,
    Recognizer,
    Table,
    as_json,
    from_json,
    read,
)
from anon.evaluation.document.estimates import Estimate
from anon.evaluation.document.metric_info import share
from anon.evaluation.report.__main__ import main
from tests.conftest import ROOT

MADE = Document(
    "title",
    0,
    (
        Line("faces", "FIVA", metrics={"ID": Estimate(0.1, 0.0, 0.2, n=5)}, dial=0.5),
        Line("faces", "Blur", needs="none"),
    ),
    (Table("table1", "T", (Column("ID", "ID"),), (0, 1), dial="strength"),),
    {"faces": Recognizer("j", "cosine", 0.5, 0.01, 0.01, 100, 0.01)},
    {"faces": People("faces", "evaluation", 5, 5, 5, 0, 10, True)},
    {"ID": share("ID", "privacy", False, identifies=True)},
    (Difference("table1", "ID", 1, 0, Estimate(0.2, 0.1, 0.3)),),
    (Curve("errors", "c", 0, (0.0, 1.0), (1.0, 0.0)),),
    (Histogram("h", 0, (0.0, 1.0, 2.0), {"a": (0.5, 0.5)}, 0.5),),
    ("note",),
    config={"seed": 0, "list": [1, None, {"a": 0.5}]},
)
FIGURE = ("lines", 0, "metrics", "ID")
CHANGES: list[tuple[tuple[Any, ...], Any]] = [
    *(((*FIGURE, "value"), value) for value in ("abc", [1], 10**400, 1e300, True, float("nan"))),
    *(((*FIGURE, name), value) for name, value in (("low", [1]), ("n", "x"), ("reason", 5), ("draws", [1, 2]))),
    *((("lines", 0, name), 5) for name in ("method", "needs", "learned", "data")),
    *((("lines", 0, name), value) for name, value in (("method", None), ("dial", "x"), ("method", "\ud800"))),
    *((("tables", 0, "lines"), value) for value in ([0, 999], [-1], "ab", [0.5], [True])),
    *((("tables", 0, "columns", 0, name), value) for name, value in (("title", 5), ("metric", ["a"]), ("metric", "b"))),
    *((("tables", 0, name), value) for name, value in (("name", None), ("published", 5))),
    *((("metrics", "ID", name), value) for name, value in (("kind", "x"), ("higher_is_better", "lower"), ("low", "x"))),
    *((("metrics",), value) for value in ({}, [1], {"ID": None})),
    *((("judges", "faces", "threshold"), value) for value in ("x", None)),
    *((("people", "faces", "gallery"), value) for value in ("x", 0.5)),
    *((("differences", 0, name), value) for name, value in (("line", 99), ("baseline", -1), ("figure", None))),
    *((("curves", 0, name), value) for name, value in (("y", [1.0]), ("x", "ab"), ("x", [None, 1]), ("line", 99))),
    *((("curves", 0, name), value) for name, value in (("x", []), ("low", [0.1]), ("high", [0.1, 0.2]))),
    *((("histograms", 0, "edges"), value) for value in ([], [0, 0, 1], [-1e308, 0, 1e308])),
    *((("histograms", 0, "densities"), value) for value in ({"a": "xy"}, {"a": [1.0]})),
    *(((name,), value) for name in ("config", "made", "versions", "pictures", "notes") for value in ([1], "abc")),
    *(((name,), value) for name, value in (("title", 5), ("title", "x" * 100_001), ("seed", "x"), ("commit", 5))),
    *(((name,), value) for name, value in (("lines", None), ("more", 1), ("schema", 1), ("pictures", {"a.png": 5}))),
]


def changed(place: tuple[Any, ...], value: Any) -> str:
    content = json.loads(as_json(MADE))
    part = content
    for name in place[:-1]:
        part = part[name]
    part[place[-1]] = copy.deepcopy(value)
    return json.dumps(content)


@pytest.mark.parametrize(("place", "value"), CHANGES, ids=lambda part: str(part)[:40])
def test_a_changed_value_is_one_sentence(
    place: tuple[Any, ...], value: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "results.json").write_text(changed(place, value))
    assert main([str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ") and told.count("\n") == 1 and len(told) < 600
    assert "is no results.json of schema 3 (" in told


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    assert from_json(as_json(MADE)) == MADE


def test_pictures_have_names_that_files_have(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(changed(("pictures",), {"a" * 5000: "x", "b\0.png": "y"}))
    assert main([str(tmp_path)]) == 0
    assert "has no picture" in (tmp_path / "report.html").read_text()


def schema_2(*columns: dict[str, Any]) -> dict[str, Any]:
    """What a version before wrote, with these columns."""
    content = json.loads(as_json(MADE))
    del content["metrics"]
    line = {"ID": content["lines"][0]["metrics"]["ID"]}
    content["lines"][0]["metrics"] = line | dict.fromkeys(("RA_rank5", "detected_yunet", "smile"), line["ID"])
    content["tables"][0]["columns"] = [{"attack": None, **column} for column in columns]
    return content | {"schema": 2}


def test_results_of_the_schema_before_have_the_directions_of_their_columns() -> None:
    columns = (
        {"metric": "ID", "title": "found", "better": "lower"},
        {"metric": "ssim", "title": "SSIM of the processing", "better": None},
        {"metric": "ssim", "title": "SSIM", "better": "higher"},
        {"metric": "EER", "title": "EER", "better": None, "attack": "parrot"},
        {"metric": "mine", "title": "Mine", "better": "higher"},
        {"metric": "yours", "title": "Yours", "better": "lower", "attack": "parrot"},
    )
    found = from_json(json.dumps(schema_2(*columns)))
    ways = {name: info.higher_is_better for name, info in found.metrics.items()}
    assert ways == {
        **{"ID": False, "ssim": True, "EER": None, "mine": True, "yours": False},  # its own, also where ours differ
        **{"RA_rank5": False, "detected_yunet": True, "smile": None},  # of no column: the measure's, or nobody's
    }
    kinds = {name: (info.kind, info.title) for name, info in found.metrics.items()}
    assert kinds["ID"] == ("privacy", "ID") and found.metrics["ID"].identifies
    assert kinds["mine"] == (None, "Mine") and kinds["yours"] == (None, "yours") and kinds["smile"] == (None, "smile")
    assert kinds["detected_yunet"] == ("utility", "detected by yunet")
    shown = list(map(found.heading, found.tables[0].columns))
    assert shown == ["found ↓", "SSIM of the processing ↑", "SSIM ↑", "EER", "Mine ↑", "Yours ↓"]
    assert from_json(as_json(found)) == found


@pytest.mark.parametrize(
    "column",
    [
        {"metric": "ID", "title": "ID", "better": "sideways"},
        {"metric": "ID", "title": "ID", "better": ["lower"]},
        {"metric": ["ID"], "title": "ID", "better": "lower"},
        {"metric": "ID", "title": 5, "better": "lower"},
        {"metric": "ID", "better": "lower", "more": 1},
        {"title": "ID", "better": "lower"},
    ],
)
def test_results_of_the_schema_before_with_odd_columns(column: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"is no results\.json of schema 3 \("):
        from_json(json.dumps(schema_2(column)))


def test_results_of_the_schema_before_without_parts() -> None:
    for name in ("tables", "lines"):
        for value in (None, 5, [5], [{"columns": 5, "metrics": 5}]):
            with pytest.raises(UserError, match=r"is no results\.json of schema 3 \("):
                from_json(json.dumps(schema_2() | {name: value}))


def test_the_published_results_are_read() -> None:
    file = ROOT / "docs" / "results" / "all.json"
    if not file.is_file():
        pytest.skip("needs docs/results/all.json, which python evaluate.py suite=all makes")
    found = read(file)
    (first,) = (table for table in found.tables if table.name == "table1")
    names = ["ID ↓", "purified ID ↓", "¬ID ↓", "RA ↓", "look moved ↑", "M_tc mu ↓"]
    assert list(map(found.heading, first.columns))[:6] == names
    assert {name for name, info in found.metrics.items() if info.kind is None} == set()
