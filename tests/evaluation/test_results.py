"""Result files: what JSON cannot hold, and what cannot be written."""

from __future__ import annotations

import csv
import io
import json

import pytest

from anon.errors import UserError
from anon.evaluation.figures import Figure, Row
from anon.evaluation.results import Results, as_csv, as_json, markdown_table, write


def test_numbers_that_are_not_finite_are_null_with_a_reason():
    row = Row("Real", "d", "s", metrics={"ID": Figure(float("nan"), float("nan"), 1.0, n=2)})
    content = json.loads(as_json(Results(0, [row], "j", 0.5, 0.001, {}, {}, None)))
    figure = content["rows"][0]["metrics"]["ID"]
    assert figure == {"value": None, "low": None, "high": 1.0, "reason": "not finite", "n": 2}
    assert set(content["rows"][0]) == {"method", "policy", "defense", "attack", "adversary", "data", "split", "metrics"}


def test_a_line_a_figure():
    row = Row("FIVA", "d", "s", "itm", metrics={"ID": Figure(0.5, 0.25, 1.0, n=4), "lpips": Figure.absent("needs it")})
    lines = list(csv.DictReader(io.StringIO(as_csv(Results(0, [row], "j", 0.5, 0.001, {}, {}, None)))))
    assert [(line["metric"], line["value"], line["low"], line["reason"]) for line in lines] == [
        ("ID", "0.5", "0.25", ""),
        ("lpips", "", "", "needs it"),
    ]


def test_tables_line_up():
    assert markdown_table(["", "ID"], [["FIVA", ".5"]]) == ["|      | ID |", "| ---- | -- |", "| FIVA | .5 |"]


def test_unwritable_results_are_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        write(tmp_path / "file" / "table.md", "x")
