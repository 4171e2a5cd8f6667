"""The sentence that a report begins with, and its main table, for every kind of suite."""

from __future__ import annotations

from dataclasses import replace

from anon.evaluation.document import Column, Document, Line, Recognizer, Table
from anon.evaluation.estimates import Estimate
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
        "faces is still found again; worst of all 7, FIVA + ITM: RA .947 [.935, .959], nine of ten faces are still "
        "found again; 2 of 18 lines were not measured."
    )
    labels = [row.label for row in found.rows]
    first = labels[1 : labels.index("without rank: an adversary of the others was not tried")]
    assert labels[0] == "faces"
    assert first[0] == "<script>alert(1)</script>" and first[-1] == "FIVA + ITM" and "Pixelate" not in first
    pixelate = found.rows[labels.index("Pixelate")].cells[0]
    assert (pixelate.value, pixelate.best) == (".112", False) and "not tried: RA" in pixelate.interval
    assert [row.cells[0].best for row in found.rows[1:3]] == [True, False]


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
