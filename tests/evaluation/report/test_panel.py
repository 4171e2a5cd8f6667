"""The report of a panel: the worst case in every table, each judge's own beside it, the judges at the end."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest

from anon.errors import UserError
from anon.evaluation.compare.evaluations import evaluations, unlike
from anon.evaluation.compare.runs import Run
from anon.evaluation.document import Column, Correlation, Document, Line, Recognizer, Table, as_json, from_json
from anon.evaluation.document.estimates import Estimate
from anon.evaluation.report.latex import latex
from anon.evaluation.report.panel import by_judge, facts, judges, worst_of
from anon.evaluation.report.plain import comma_separated, headlines, markdown, wandb_tables
from anon.evaluation.report.privacy import leaks, points
from anon.evaluation.report.summary import summary
from tests.evaluation.described import METRICS
from tests.evaluation.report.made_up import document as made_up

ONE = Recognizer("one", "cosine", 0.4, 0.001, 0.0009, 1000, 0.01, architecture="IResNet", kin=("FIVA",))
TWO = Recognizer("two", "euclidean", 0.55, 0.001, 0.001, 1000, 0.02)
COLUMNS = (Column("ID"), Column("RA", attack="reconstruction"), Column("ssim"), Column("target_distance"))


def lines(method: str, one: float, two: float, ra: tuple[float, float], lost: bool = False) -> list[Line]:
    """As the harness merges them: the larger of two shares, the first one's distance."""

    def figure(value: float) -> Estimate:
        return Estimate(value, value - 0.1, value + 0.1, n=8)

    own = {
        "one": {"ID": figure(one), "target_distance": figure(0.9)},
        "two": {"ID": figure(two), "target_distance": figure(0.5)},
    }
    attacked = {"one": {"RA": figure(ra[0])}, "two": {"RA": figure(ra[1])}}
    gone = {}
    if lost:
        own, attacked, gone = {"one": own["one"]}, {"one": attacked["one"]}, {"two": "failed: no embeddings at all"}
    worst = max(own, key=lambda name: own[name]["ID"].number)
    worst_ra = max(attacked, key=lambda name: attacked[name]["RA"].number)
    metrics = {**own["one"], "ID": own[worst]["ID"], "ssim": figure(0.8)}
    found = [Line("d", method, metrics=metrics, by_judge=own, worst={"ID": worst}, lost=gone)]
    ra_of = {"RA": attacked[worst_ra]["RA"]}
    return [
        *found,
        Line("d", method, attack="reconstruction", metrics=ra_of, by_judge=attacked, worst={"RA": worst_ra}, lost=gone),
    ]


def panel(lost: bool = False) -> Document:
    every = [*lines("A", 0.1, 0.3, (0.2, 0.15)), *lines("B", 0.25, 0.2, (0.6, 0.7), lost)]
    table = Table("t", "T", COLUMNS, (0, 2))
    return Document(
        "d", 0, tuple(every), (table,), {"d": ONE}, {}, METRICS,
        panel={"d": (ONE, TWO)}, correlations=(Correlation("d", "one", "two", 0.8125),),
    )  # fmt: skip


def test_each_table_has_the_worst_case_and_its_own_by_judge() -> None:
    document = panel()
    (table,) = document.tables
    assert [document.figure(0, column).number for column in COLUMNS] == [0.3, 0.2, 0.8, 0.9]
    own = by_judge(document, table)
    assert own is not None and [column.name for column in own.columns] == [
        "ID by one", "ID by two", "RA (reconstruction) by one", "RA (reconstruction) by two",
    ]  # fmt: skip
    assert [document.figure(0, column).number for column in own.columns] == [0.1, 0.3, 0.2, 0.15]
    assert [document.title_of(column) for column in own.columns][1::2] == ["ID by two", "RA by two"]
    text = markdown(document)
    assert text.index("### By judge") > text.index("## T") and "| .300 [.200, .400]" in text
    assert "Shares are those of the judge who finds most, of one and two, with that judge's own interval." in text


def test_the_sentence_names_adversary_and_judge() -> None:
    """A: the worst is ID by two, .3, over RA by one, .2; B: RA by two, .7."""
    found = summary(panel())
    assert found.sentence == (
        "Best of the 2, A: ID by two .300 [.200, .400], three of ten faces are still found again; worst of all 2, B: "
        "RA by two .700 [.600, .800], seven of ten faces are still found again."
    )
    assert [row.cells[1].interval.split()[-1] for row in found.rows] == ["two", "one"]  # of ID alone
    assert found.about.endswith("of one and two, with that judge's own interval.")


def test_where_a_judge_failed_there_is_no_rank() -> None:
    document = panel(lost=True)
    point = next(
        each for each in points(document, document.tables[0], leaks(document, document.tables[0])) if each.line
    )
    assert point.unknown == ("the judge two",) and point.value == 0.6
    found = summary(document)
    assert found.sentence.endswith("; the judge two failed on B.") and "without rank" in str(found.rows)
    own = by_judge(document, document.tables[0])
    assert own is not None and document.figure(2, own.columns[1]) == Estimate.absent("failed: no embeddings at all")
    assert "failed: no embeddings at all" in markdown(document)


def test_the_judges_with_their_correlation() -> None:
    (found,) = facts(panel())
    rows = {row[0]: row[1:] for row in found.rows}
    assert found.head == ("", "one", "two") and judges(panel()) == ["one", "two"]
    assert rows["architecture"] == ("IResNet", "not known") and rows["threshold"] == ("0.4", "0.55")
    assert rows["learned from the same people as the encoder of"] == ("FIVA", "nobody known")
    assert rows["impostor scores correlate with one"] == ("", ".812")
    assert rows["impostor scores correlate with two"] == (".812", "")


def test_files_and_wandb_have_both_under_names_of_their_own() -> None:
    document = panel()
    rows = list(csv.DictReader(io.StringIO(comma_separated(document))))
    values = {
        row["metric"]: (row["value"], row["title"]) for row in rows if (row["method"], row["attack"]) == ("A", "none")
    }
    assert values["ID"] == ("0.3", "ID") and values["ID by one"] == ("0.1", "ID by one")
    assert values["target_distance by two"][0] == "0.5"
    scalars = headlines(document)
    assert (scalars["t/A/ID"], scalars["t/A/ID by one"], scalars["t/B/RA (reconstruction) by one_low"]) == (
        0.3,
        0.1,
        0.5,
    )
    names, (first, _) = wandb_tables(document)["t"]
    assert dict(zip(names, first, strict=True))["RA by two"] == 0.15
    text = latex(document)
    assert r"\label{tab:t-by-judge}" in text and r"\label{tab:t}" in text and "ID by two" in text
    only = latex(document, columns=["ID by two"])
    assert only.count(r"\begin{table}") == 1 and ".300" in only
    with pytest.raises(UserError, match="no table has a column 'ID by three'"):
        latex(document, columns=["ID by three"])


def test_runs_with_other_panels_are_not_compared() -> None:
    document = panel()
    other = replace(TWO, fingerprint="other")
    assert unlike(document, document, "d") == ""
    assert unlike(document, replace(document, panel={}), "d") == "other judge"
    assert unlike(document, replace(document, panel={"d": (ONE, other)}), "d") == "other judge"


def test_compared_runs_show_the_worst_case_and_each_judge() -> None:
    runs = [Run(Path(f"/r/{name}"), name, task="evaluate", document=panel()) for name in ("x", "y")]
    conditions, *grids = evaluations(runs)
    shown = {grid.title: grid for grid in grids}
    assert shown["ID ↓"].rows[0][1][0].value == ".250" and shown["ID ↓"].rows[1][1][1].value == ".300"
    assert shown["ID by one ↓"].rows[0][1][0].value == ".100" and shown["ID by one ↓"].folded
    assert [cell.value for cell in conditions.rows[1][1]] == ["one, threshold 0.4; two, threshold 0.55"] * 2


def test_the_document_is_read_again_and_a_wrong_one_refused() -> None:
    document = panel(lost=True)
    assert from_json(as_json(document)) == document
    odd = as_json(document).replace('"target_distance"', '"unheard"', 1)
    with pytest.raises(UserError, match="'unheard', which no description is of"):
        from_json(odd)


def test_one_judge_alone_has_none_of_this() -> None:
    document = made_up()
    assert by_judge(document, document.tables[0]) is None and facts(document) == [] and worst_of(document) == ""
    assert "udge two" not in markdown(document) and not any(" by " in name for name in headlines(document))
