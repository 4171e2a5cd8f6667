"""Files of an evaluation: tables in plain text, and what cannot be written."""

from __future__ import annotations

import pytest

from anon.errors import UserError
from anon.evaluation.results import markdown_table, write


def test_tables_line_up():
    assert markdown_table(["", "ID"], [["FIVA", ".5"]]) == ["|      | ID |", "| ---- | -- |", "| FIVA | .5 |"]


def test_unwritable_results_are_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        write(tmp_path / "file" / "table.md", "x")
