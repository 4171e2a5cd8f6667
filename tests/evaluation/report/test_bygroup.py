"""Figures by group as a plot: which groups and methods it has, and that other tables have none."""

from __future__ import annotations

import re

from anon.evaluation.document import Column, Document, Line, Table
from anon.evaluation.document.estimates import Estimate
from anon.evaluation.document.metric_info import info_of
from anon.evaluation.measures.groups import Groups
from anon.evaluation.report.bygroup import MOST, by_group


def made(lines, columns, metrics):
    known = Groups().metrics
    infos = {name: info for name in metrics if (info := info_of(known, name))}
    table = Table("groups", "Groups", tuple(columns), tuple(range(len(lines))))
    return Document("A title", 0, tuple(lines), (table,), {}, {}, infos), table


def texts(plot):
    return re.findall(r"<text [^>]*>([^<]*)</text>", plot.svg)


def test_a_row_for_each_group_and_an_entry_for_each_method():
    first = {"ID:beard=no beard": Estimate(0.25, 0.1, 0.5), "ID:beard=beard": Estimate(0.5, 0.25, 0.75)}
    second = {"ID:beard=no beard": Estimate(0.0, 0.0, 0.1), "ID:beard=beard": Estimate.absent("n/a (9 people)")}
    lines = [Line("faces", "First", metrics=first), Line("faces", "Second", metrics=second)]
    names = [*first, "ID_gap:beard", "ID:age=below 3"]
    document, table = made(lines, [Column("ID_gap:beard")], names)
    (plot,) = by_group(document, table)
    assert plot.title == "ID by group"
    shown = texts(plot)
    assert {"beard: no beard", "beard: beard", "First", "Second", "ID ↓"} <= set(shown)
    assert not any("below 3" in text for text in shown)  # of a label that is no column


def test_what_an_attack_finds_stands_with_its_method():
    """RA is a figure of the line with the attack, which the table does not show."""
    found = {"RA:beard=no beard": Estimate(0.25, 0.1, 0.5), "RA:beard=beard": Estimate(0.5, 0.25, 0.75)}
    lines = [Line("faces", "First"), Line("faces", "First", attack="reconstruction", metrics=found)]
    document, _ = made(lines, [], [*found, "RA_gap:beard"])
    table = Table("groups", "Groups", (Column("RA_gap:beard", attack="reconstruction"),), (0,))
    (plot,) = by_group(document, table)
    assert plot.title == "RA by group, after reconstruction" and "First" in texts(plot)


def test_many_methods_are_several_plots_and_other_tables_have_none():
    found = {"ID:beard=no beard": Estimate(0.25, 0.1, 0.5)}
    lines = [Line("faces", f"Method {number}", metrics=found) for number in range(MOST + 1)]
    document, table = made(lines, [Column("ID_gap:beard")], [*found, "ID_gap:beard"])
    assert len(by_group(document, table)) == 2
    nothing, empty = made([Line("faces", "First", needs="needs a file")], [Column("ID_gap:beard")], ["ID_gap:beard"])
    assert by_group(nothing, empty) == []
    assert by_group(document, Table("t", "T", (Column("ID:beard=no beard"),), (0,))) == []
