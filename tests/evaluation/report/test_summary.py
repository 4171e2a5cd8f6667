"""The sentence that a report begins with, and its main table, for every kind of suite."""

from __future__ import annotations

from dataclasses import replace

from anon.evaluation.document import Column, Difference, Document, Line, Recognizer, Table
from anon.evaluation.document.estimates import Estimate
from anon.evaluation.report.summary import summary
from tests.evaluation.described import METRICS
from tests.evaluation.report.made_up import document


def made(*lines: Line, columns: tuple[Column, ...], **table: object) -> Document:
    shown = Table("t", "T", columns, tuple(range(len(lines))), **table)  # type: ignore[arg-type]
    judges = {"d": Recognizer("judge", "cosine", 0.4, 0.001, 0.001, 1000, 0.01)}
    return Document("d", 0, lines, (shown,), judges, {}, METRICS)


def test_a_suite_of_anonymizers_by_the_worst_adversary() -> None:
    """By hand: RA and ID of made_up.methods; nobody attacked Pixelate, so .112 is no rank."""
    found = summary(document())
    assert found.sentence == (
        "On faces, best of the 6 that met every adversary, <script>alert(1)</script>: RA .050 [.038, .062], one of ten "
        "faces is still found again; worst of all 7, FIVA + ITM (not distinguishable from FIVA, FIVA + Sampling): RA "
        ".947 [.935, .959], nine of ten faces are still found again; 2 of 18 lines were not measured."
    )
    labels = [row.label for row in found.rows]
    first = labels[1 : labels.index("without rank: an adversary of the others was not tried")]
    assert labels[0] == "faces"
    assert first[0] == "<script>alert(1)</script>" and first[-1] == "FIVA + ITM" and "Pixelate" not in first
    pixelate = found.rows[labels.index("Pixelate")].cells[0]
    assert (pixelate.value, pixelate.best) == (".112", False) and "not tried: RA" in pixelate.interval
    assert [row.cells[0].best for row in found.rows[1:3]] == [True, False]


def ranked(**figures: Estimate) -> Document:
    lines = [Line("d", name, metrics={"ID": figure}) for name, figure in figures.items()]
    return made(*lines, columns=(Column("ID"),))


def test_no_best_and_no_worst_where_the_intervals_do_not_tell_them_apart() -> None:
    """Kind: a rank by value. .941 - .939 = .002, and the interval of that difference is ± sqrt(2) * .01 = .014."""
    close = {"A": Estimate(0.941, 0.931, 0.951), "B": Estimate(0.939, 0.929, 0.949)}
    assert summary(ranked(**close)).sentence == (
        "Lowest of the 2, B (not distinguishable from A): ID .939 [.929, .949], nine of ten faces are still found "
        "again; highest of all 2, A (not distinguishable from B): ID .941 [.931, .951], nine of ten faces are still "
        "found again."
    )
    third = summary(ranked(**close, C=Estimate(0.5, 0.4, 0.6))).sentence
    assert third.startswith("Best of the 3, C: ID .500 ")
    assert "; worst of all 3, A (not distinguishable from B): ID .941 " in third


def test_a_paired_difference_decides_where_there_is_one() -> None:
    """On the same faces less is enough: the two intervals overlap, and A minus B leaves 0 out."""
    close = ranked(A=Estimate(0.941, 0.931, 0.951), B=Estimate(0.939, 0.929, 0.949))
    part = Difference("t", "ID", 0, 1, Estimate(0.002, 0.001, 0.003))
    assert summary(replace(close, differences=(part,))).sentence.startswith("Best of the 2, B: ID .939 ")
    other = replace(part, table="another")
    assert summary(replace(close, differences=(other,))).sentence.startswith("Lowest of the 2, B ")
    apart = ranked(A=Estimate(0.9, 0.89, 0.91), B=Estimate(0.5, 0.49, 0.51))
    unsure = replace(part, figure=Estimate(0.4, -0.1, 0.9))
    assert summary(replace(apart, differences=(unsure,))).sentence.startswith("Lowest of the 2, B (not distingu")


def test_figures_without_an_interval_are_alike_where_they_are_printed_alike() -> None:
    assert summary(ranked(A=Estimate(0.0), B=Estimate(0.0001), C=Estimate(0.3))).sentence.startswith(
        "Best of the 3, A (not distinguishable from B): ID .000, nobody was found again; worst of all 3, C: ID .300, "
    )


def test_the_worst_judge_counts() -> None:
    metrics = {"ID": Estimate(0.1, 0.0, 0.2), "ID_arcface": Estimate(0.3, 0.2, 0.4)}
    one = made(Line("d", "A", metrics=metrics), columns=(Column("ID"),))
    described = {**METRICS, "ID_arcface": replace(METRICS["ID_<encoder>"], title="ID by arcface")}
    found = summary(replace(one, metrics=described))
    assert found.sentence == "A: ID by arcface .300 [.200, .400], three of ten faces are still found again."
    assert found.head[1].startswith("ID, worst judge") and found.rows[0].cells[1].interval.endswith("arcface")


def test_what_failed_is_said_and_nobody_found_is_no_proof() -> None:
    lines = (
        Line("d", "Real", metrics={"ID": Estimate(0.99)}),
        Line("d", "A", metrics={"ID": Estimate(0.0, 0.0, 0.028)}),
        Line("d", "B", needs="failed: NaN"),
    )
    assert summary(made(*lines, columns=(Column("ID"),))).sentence == (
        "A: ID .000 [.000, .028], nobody was found again, which leaves up to .028; 1 of 3 lines failed (B)."
    )
    only = summary(made(lines[0], lines[2], columns=(Column("ID"),))).sentence
    assert only == "Nothing was found: no method that changes faces has a figure; 1 of 2 lines failed (B)."


def test_swaps_are_ranked_by_whom_they_show() -> None:
    lines = [
        Line("d", name, "source", metrics={"swap_ID": Estimate(value)}) for name, value in (("A", 0.2), ("B", 0.9))
    ]
    found = summary(made(*lines, columns=(Column("swap_ID", "ID"),)))
    assert found.sentence == "ID ↑ is best for B + source, .900, and worst for A + source, .200."
    assert [row.cells[0].best for row in found.rows] == [True, False]
    unsure = [
        replace(line, metrics={"swap_ID": replace(line.metrics["swap_ID"], low=0.1, high=0.95)}) for line in lines
    ]
    assert summary(made(*unsure, columns=(Column("swap_ID", "ID"),))).sentence == (
        "ID ↑: the first of 2, B + source, .900 [.100, .950], is not distinguishable from the last, A + source, .200 "
        "[.100, .950]."
    )


def test_a_matrix_of_transfer_and_a_dial() -> None:
    attacks = {"none": {"ID": Estimate(0.0)}, "of_a": {"RA": Estimate(0.8)}, "of_b": {"RA": Estimate(0.1)}}
    lines = [Line("d", "A", attack=name, metrics=metrics) for name, metrics in attacks.items()]
    found = summary(made(*lines, columns=(Column("ID"), Column("RA")), matrix=True))
    assert found.sentence == "A: RA, of_a .800, eight of ten faces are still found again."
    swept = [Line("d", "Blur", dial=dial, metrics={"ID": Estimate(1 / dial)}) for dial in (1.0, 4.0)]
    assert summary(made(*swept, columns=(Column("ID"),), dial="sigma")).sentence == (
        "Best of the 2, Blur, 4: ID .250, three of ten faces are still found again; worst of all 2, Blur, 1: ID 1.000, "
        "all are still found again."
    )


def test_pairs_and_robustness() -> None:
    pairs = made(
        Line("d", "A", metrics={"TPR": Estimate(0.5), "ID_pairs": Estimate(0.41)}), columns=(Column("ID_pairs", "ID"),)
    )
    assert summary(pairs).sentence == "A: ID .410, four of ten faces are still found again."
    lines = [
        Line("d", "A", defense=name, metrics={"ID": Estimate(value), "defense_ssim": Estimate(0.7)})
        for name, value in (("none", 0.0), ("jpeg", 0.6))
    ]
    found = summary(made(*lines, columns=(Column("ID"), Column("defense_ssim", "SSIM of the processing"))))
    assert "worst of all 2, A, jpeg: ID .600" in found.sentence
    assert len(found.head) == 1  # what only describes a processing step is nothing that is kept


def test_the_look_stands_beside_who_is_found_again() -> None:
    """A figure of privacy that no judge gives; where it is not known it has no place."""
    metrics = {"ID": Estimate(0.1, 0.0, 0.2), "look_moved": Estimate(0.25, 0.2, 0.3), "ssim": Estimate(0.8, 0.7, 0.9)}
    columns = (Column("ID"), Column("ssim"), Column("look_moved"))
    found = summary(made(Line("d", "A", metrics=metrics), columns=columns))
    assert [part.split()[0] for part in found.head] == ["found", "look", "SSIM"]
    assert found.rows[0].cells[1].value == ".250"
    without = made(Line("d", "A", metrics=metrics | {"look_moved": Estimate.absent("n/a")}), columns=columns)
    assert len(summary(without).head) == 2
