"""The report's tables in Markdown, LaTeX, CSV and for W&B, on figures that were made up."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from anon.errors import UserError
from anon.evaluation.document import Column, Difference, Document, Line, Table
from anon.evaluation.document.estimates import Estimate
from anon.evaluation.report.latex import latex
from anon.evaluation.report.plain import comma_separated, headlines, markdown, wandb_tables
from anon.evaluation.report.sheet import Row, sheet
from tests.evaluation.described import METRICS
from tests.evaluation.report.made_up import HOSTILE, TRAIN, document


def cells(text: str, label: str) -> list[str]:
    """The cells of the first Markdown row with this label."""
    row = next(line for line in text.splitlines() if line.startswith(f"| {label} "))
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[2:-1]]


def small(*lines: Line, columns: tuple[Column, ...], published: str | None = None) -> list[Row]:
    table = Table("t", "T", columns, tuple(range(len(lines))), published)
    return list(sheet(Document("d", 0, lines, (table,), {}, {}, METRICS), table).rows)


def test_a_row_has_its_figures_the_attacked_one_and_the_best_in_bold() -> None:
    text = markdown(document())
    assert cells(text, "FIVA + ITM")[:3] == [".003 [.000, .015]", "**.000** [.000, .012]", ".947 [.935, .959]"]
    assert cells(text, "Blur")[4] == ".780 [.770, .790]"
    assert cells(text, "Real")[4] == "1.000 [.990, 1.000]"  # changes nothing: never the best
    assert cells(text, "FIVA")[4] == r"**.840** [.830, .850]\*"  # best, and another than FIVA + ITM
    assert cells(text, "FIVA + Sampling")[4] == ".839 [.829, .849]"  # its difference includes 0


def test_the_paper_stands_under_ours_and_its_other_methods_last() -> None:
    text = markdown(document())
    lines = text.splitlines()
    ours = next(place for place, line in enumerate(lines) if line.startswith("| FIVA + ITM "))
    assert [cell.strip() for cell in lines[ours + 1].split("|")[1:5]] == ["*paper*", "*.000*", "*.000*", "*.996*"]
    assert cells(text, r"\*CIAGAN\*".replace("\\", ""))[:2] == ["*.035*", "*.000*"]
    assert text.index("published, not measured here") > text.index("**lfw**")
    assert "FaceForensics++, 10 frames of each video, CosFace" in text
    assert (
        text.count("*paper*") == 6
    )  # Real, FIVA (3), FaceDancer + ITM and SimSwap + ITM; under the first data set only


def test_papers_units_names_and_defenses() -> None:
    swap = Line("faces", "SimSwap", "source", metrics={"swap_ID": Estimate(0.5), "pose_error": Estimate(3.0)})
    columns = (Column("swap_ID", "ID"), Column("pose_error", "pose"), Column("RA", "RA", attack="x"))
    _, paper, *_ = small(swap, columns=columns, published="fiva_table4")
    assert [cell.value for cell in paper.cells] == [".928", "1.530", "-"]

    defended = [Line("faces", "FIVA", "itm", defense=name) for name in ("none", "fgsm")]
    attacked = (Column("RA", "RA", attack="reconstruction"),)
    rows = small(*defended, columns=attacked, published="fiva_table3")
    assert [(row.kind, row.cells[0].value) for row in rows[:4]] == [
        ("ours", "-"),
        ("paper", ".996"),
        ("ours", "-"),
        ("paper", ".002"),
    ]
    other = Line("faces", "Blur", defense="fgsm")  # two methods: whose defense is the paper's would not be clear
    assert [row.kind for row in small(*defended, other, columns=attacked, published="fiva_table3")[:3]] == ["ours"] * 3


def test_best_is_by_input_and_by_what_is_printed() -> None:
    lines = [
        Line("d", "A", metrics={"ID": Estimate(0.1001)}),
        Line("d", "B", metrics={"ID": Estimate(0.1004)}),
        Line("d", "C", metrics={"ID": Estimate(0.2)}),
        Line("d", "A", input="jpeg", metrics={"ID": Estimate(0.5)}),
        Line("d", "B", input="jpeg", metrics={"ID": Estimate(0.4)}),
    ]
    rows = small(*lines, columns=(Column("ID", "ID"),))
    assert [row.cells[0].best for row in rows] == [True, True, False, False, True]
    alone = small(lines[0], lines[1], columns=(Column("ID", "ID"),))
    assert not any(row.cells[0].best for row in alone)  # both print .100


def test_differences_of_attacked_columns_mark_their_cell() -> None:
    lines = tuple(
        Line("d", name, attack=attack, metrics={"RA" if attack != "none" else "ID": Estimate(0.5)})
        for name in "AB"
        for attack in ("none", "parrot")
    )
    table = Table("t", "T", (Column("ID", "ID"), Column("RA", "parrot", attack="parrot")), (0, 2))
    part = Difference("t", "RA (parrot)", 2, 0, Estimate(-0.2, -0.3, -0.1))
    made = Document("d", 0, lines, (table,), {}, {}, METRICS, differences=(part,))
    assert [[cell.differs for cell in row.cells] for row in sheet(made, table).rows] == [[False] * 2, [False, True]]
    assert "| B | parrot | A     | -.200 [-.300, -.100] | yes          |" in markdown(made)
    unsure = replace(part, figure=Estimate(-0.2, -0.3, 0.1))
    assert sheet(replace(made, differences=(unsure,)), table).marked == ""


def test_what_could_not_be_evaluated_says_why_with_the_command() -> None:
    text = markdown(document())
    assert "- SimSwap + ITM: not trained: `python train.py experiment=simswap policy=itm`" in text
    assert cells(text, "Pixelate")[2] == "-<sup>a</sup>"
    assert "- a: no attacker: `python train.py experiment=rec`" in text
    paper = latex(document())
    assert "% SimSwap + ITM: not trained: python train.py experiment=simswap policy=itm\n" in paper
    printed = [line for line in paper.splitlines() if not line.startswith("%")]
    assert "python" not in "".join(printed)  # a command is a comment
    line = Line("d", "A", needs="needs python train.py experiment=simswap")
    bare = latex(Document("d", 0, (line,), (Table("t", "T", (Column("ID"),), (0,)),), {}, {}, METRICS))
    assert r"A & \multicolumn{1}{l}{\scriptsize not measured} \\" in bare
    assert r"SimSwap + ITM & \multicolumn{6}{l}{\scriptsize not trained} \\" in printed


def test_latex_with_chosen_columns_and_without_intervals() -> None:
    paper = latex(document(), intervals=False, columns=["ssim", "RA"])
    assert r" & RA $\downarrow$ & SSIM $\uparrow$ \\" in paper and "FIVA + ITM & .947 & .826 " in paper
    assert "[" not in paper.replace(r"\begin{table}[t]", "")
    assert r"\label{tab:kept}" not in paper  # it has neither
    with pytest.raises(UserError, match="no table has a column 'nothing'"):
        latex(document(), columns=["nothing"])


def test_markdown_takes_names_as_text() -> None:
    text = markdown(document())
    assert r"\<script\>alert(1)\</script\>" in text and "<script" not in text.replace(r"\<script", "")
    line = Line("d", "a|b\n*c* _d_ e_f", metrics={"ID": Estimate(0.5)})
    table = Table("t", "T", (Column("ID", "ID"),), (0,))
    row = markdown(Document("d", 0, (line,), (table,), {}, {}, METRICS)).splitlines()[6]
    assert row == r"| a\|b \*c\* \_d\_ e_f | .500 |"


def test_csv_has_a_line_for_each_figure_and_each_reason() -> None:
    made = document()
    rows = list(csv.DictReader(io.StringIO(comma_separated(made))))
    assert len(rows) == sum(len(line.metrics) or 1 for line in made.lines)
    head = comma_separated(made).splitlines()[0]
    assert (
        head == "data,split,method,policy,defense,attack,input,dial,metric,value,low,high,n,reason,"
        "title,unit,kind,higher_is_better"
    )
    found = next(
        row for row in rows if (row["method"], row["attack"], row["policy"]) == ("FIVA", "reconstruction", "itm")
    )
    assert (found["metric"], found["value"], found["n"], found["dial"]) == ("ID", "0.947", "768", "")
    needs = next(row for row in rows if row["method"] == "SimSwap")
    assert (needs["metric"], needs["value"], needs["reason"]) == ("", "", TRAIN)
    assert {row["dial"] for row in rows if row["method"] == "Blur"} == {"", "2.0", "4.0", "8.0", "16.0", "32.0"}
    assert HOSTILE in {row["method"] for row in rows}


def test_latex_is_balanced_and_escaped() -> None:
    text = latex(document())
    for name in ("table", "tabular"):
        assert text.count(f"\\begin{{{name}}}") == text.count(f"\\end{{{name}}}") == 3
    bare = re.sub(r"\\[\\{}%&$#_]", "", text)
    depth = 0
    for sign in bare:
        depth += {"{": 1, "}": -1}.get(sign, 0)
        assert depth >= 0
    assert depth == 0 and bare.count("$") % 2 == 0
    text = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("%"))
    body = text[text.index(r"\midrule") : text.index(r"\bottomrule")]
    rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert {line.count(" & ") for line in rows if "multicolumn" not in line} == {6}
    assert r"\textless{}script\textgreater{}alert(1)" in text and "<" not in text
    assert r"\caption{What is kept: attributes \& picture." in text and r"\label{tab:kept}" in text
    assert r"\textbf{.000}$^*$ {\scriptsize [.000, .012]}" in text and r"M\_tc mu $\downarrow$" in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX is installed")
def test_latex_compiles(tmp_path: Path) -> None:
    head = "\\documentclass{article}\\usepackage{booktabs,graphicx}\\begin{document}\n"
    (tmp_path / "paper.tex").write_text(f"{head}{latex(document())}\\end{{document}}\n", encoding="utf-8")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"], cwd=tmp_path, capture_output=True
    )
    assert done.returncode == 0, done.stdout[-2000:]


def test_wandb_tables_are_plain_values() -> None:
    found = wandb_tables(document())
    assert list(found) == ["table1", "dial", "kept"]
    columns, rows = found["table1"]
    assert len(set(columns)) == len(columns) and all(len(row) == len(columns) for row in rows)
    itm = next(row for row in rows if row[columns.index("method")] == "FIVA" and row[columns.index("policy")] == "itm")
    assert [itm[columns.index(name)] for name in ("RA", "RA low", "RA high")] == pytest.approx([0.947, 0.935, 0.959])
    assert itm[columns.index("needs")] is None
    assert {type(value) for row in rows for value in row} == {str, float, type(None)}
    (needs,) = {row[-1] for row in rows if row[columns.index("method")] == "SimSwap"}
    assert needs == TRAIN


def test_headlines_are_numbers_by_name() -> None:
    found = headlines(document())
    place = "table1/faces/FIVA + ITM"  # two data sets are in it
    ends = [found[f"{place}/ID (reconstruction){end}"] for end in ("", "_low", "_high")]
    assert ends == pytest.approx([0.947, 0.935, 0.959])
    assert not any("SimSwap" in name for name in found)  # nobody trained it
    assert all(type(value) is float for value in found.values())
    one = replace(document(), people={"faces": document().people["faces"]})
    assert headlines(one)["table1/FIVA + ITM/ID (reconstruction)"] == pytest.approx(0.947)


def test_an_unknown_printed_table_is_named() -> None:
    made = document()
    wrong = replace(made, tables=(replace(made.tables[0], published="fiva_table9"),))
    with pytest.raises(UserError, match="fiva_table9"):
        markdown(wrong)
