"""What the report's plots show: the worst adversary, the Pareto front, the useful range; and that they are SVG."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest
import torch

from anon.evaluation.document import Column, Curve, Document, Line, People, Table
from anon.evaluation.document.estimates import Estimate
from anon.evaluation.document.metric_info import MetricInfo, share
from anon.evaluation.report.curves import distributions, errors, temporal
from anon.evaluation.report.drawing import Plot, styles
from anon.evaluation.report.privacy import keeps, leaks, points
from anon.evaluation.report.sweep import sweeps, swept
from anon.evaluation.report.tradeoff import front, tradeoffs
from tests.evaluation.described import METRICS
from tests.evaluation.report.made_up import document

SVG = "{http://www.w3.org/2000/svg}"


def text(plot: Plot) -> str:
    """All words of a plot; fails where the SVG is not well-formed."""
    root = ElementTree.fromstring(plot.svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))
    return " ".join("".join(part.itertext()) for part in root.iter(f"{SVG}text"))


def test_the_front_is_what_no_other_beats() -> None:
    rng = torch.Generator().manual_seed(0)
    x, y = (torch.rand(2, 40, generator=rng) * 10).round().tolist()
    beaten = {
        i
        for i in range(40)
        for j in range(40)
        if x[j] <= x[i] and y[j] >= y[i] and (x[j] < x[i] or y[j] > y[i])
    }  # fmt: skip
    assert set(front(x, y, higher_is_better=True)) == set(range(40)) - beaten
    assert set(front(x, [-value for value in y], higher_is_better=False)) == set(range(40)) - beaten


def test_a_point_is_as_private_as_against_its_worst_adversary() -> None:
    made = document()
    found = {made.lines[point.line].label: point for point in points(made, made.tables[0], leaks(made, made.tables[0]))}
    assert found["FIVA + ITM"].value == 0.947 and found["FIVA + ITM"].bound == pytest.approx(0.959)  # RA, not ID's .003
    assert found["Real"].value == 0.986  # ID, above RA's .867
    assert found["Pixelate"].value == 0.112 and found["Pixelate"].unknown == ("RA",)
    assert "SimSwap + ITM" not in found
    assert found["Blur"].unknown == ()


def test_lines_of_attacks_are_adversaries_of_the_same_point() -> None:
    lines = (
        Line("d", "A", metrics={"ID": Estimate(0.1, 0.0, 0.2), "ssim": Estimate(0.9)}),
        Line("d", "A", attack="parrot", metrics={"ID": Estimate(0.3, 0.2, 0.4)}),
    )
    table = Table("t", "T", (Column("ID", "ID"), Column("ssim", "SSIM")), (0, 1))
    made = Document("d", 0, lines, (table,), {}, {}, METRICS)
    (point,) = points(made, table, leaks(made, table))
    assert (point.line, point.value, point.bound) == (0, 0.3, 0.4)


def test_of_attacks_that_are_lines_the_worst_counts_whatever_the_order() -> None:
    figures = {"none": 0.1, "parrot": 0.3, "wiener": 0.2}
    lines = tuple(Line("d", "A", attack=name, metrics={"ID": Estimate(value)}) for name, value in figures.items())
    table = Table("t", "T", (Column("ID", "ID"),), (0, 1, 2))
    made = Document("d", 0, lines, (table,), {}, {}, METRICS)
    (point,) = points(made, table, leaks(made, table))
    assert point.value == 0.3 and made.title_of(point.worst) == "ID, parrot"


def test_an_adversary_whom_nobody_met_is_not_counted() -> None:
    columns = (Column("ID", "ID"), Column("RA", "RA", attack="reconstruction"), Column("ssim", "SSIM"))
    lines = tuple(Line("d", name, metrics={"ID": Estimate(0.1), "ssim": Estimate(0.5)}) for name in "AB")
    table = Table("t", "T", columns, (0, 1))
    (plot,) = tradeoffs(Document("d", 0, lines, (table,), {}, {}, METRICS), table)
    assert plot.title == "SSIM against privacy (ID)"


def test_identity_figures_are_no_utility() -> None:
    names = ("ID", "RA_rank1", "TAR", "target_distance", "deidentified", "ssim", "pose_error", "FID", "M_tc_mu")
    table = Table("t", "T", tuple(map(Column, names)), ())
    made = Document("d", 0, (), (table,), {}, {}, METRICS)
    assert [column.metric for column in keeps(made, table)] == ["ssim", "pose_error", "FID", "M_tc_mu"]


def test_kinds_are_the_metrics_own() -> None:
    """Names say nothing: of one's own metrics, whatever they are called, the description decides."""
    metrics = {
        "ID_like": share("a", "utility", True),
        "swap_smile": share("b", "quality", False),
        "look": share("c", "utility", None),
        "seconds": MetricInfo("d", "cost", False, "s"),
        "beauty": share("e", "privacy", False, identifies=True),
        "ID": share("f", "privacy", True, identifies=True),  # a swap's: the more the better
    }
    table = Table("t", "T", tuple(map(Column, metrics)), ())
    made = Document("d", 0, (), (table,), {}, {}, metrics)
    assert [column.metric for column in keeps(made, table)] == ["ID_like", "swap_smile"]
    assert [column.metric for column in leaks(made, table)] == ["beauty"]
    assert list(map(made.heading, table.columns)) == ["a ↑", "b ↓", "c", "d s ↓", "e ↓", "f ↑"]
    assert made.heading(Column("seconds", "time")) == "time ↓"


def test_tradeoffs_name_their_points_and_the_front() -> None:
    made = document()
    plots = tradeoffs(made, made.tables[0])
    assert [plot.title for plot in plots] == [
        *(f"{name} against privacy (ID, ¬ID), faces" for name in ("SSIM", "pose, °", "M_tc mu")),
        *(f"{name} against privacy (ID, ¬ID, RA), faces" for name in ("SSIM", "pose, °", "M_tc mu")),
        *(f"{name} against privacy (ID, ¬ID), lfw" for name in ("SSIM", "pose, °")),
        *(f"{name} against privacy (ID, ¬ID, RA), lfw" for name in ("SSIM", "pose, °")),
    ]
    # By hand, x and SSIM: FIVA .0005, .84 and nobody else both changes the face and is above .84.
    assert "filled): FIVA. " in plots[0].caption
    assert all(name in text(plots[0]) for name in ("Pixelate", "Real", "FIVA + Sampling", "<script>alert(1)</script>"))
    # Against RA too: .05, .3; .31, .7; .8, .78; .945, .84. Nobody attacked Pixelate, so it is not compared.
    assert "filled): <script>alert(1)</script>; FaceDancer + ITM; Blur; FIVA. " in plots[3].caption
    assert "Pixelate" not in text(plots[3]) and "Real" in text(plots[3])
    assert tradeoffs(made, made.tables[1]) == [] and tradeoffs(made, made.tables[2]) == []


def test_inputs_are_compared_apart() -> None:
    lines = tuple(
        Line("d", name, input=given, metrics={"ID": Estimate(0.1), "ssim": Estimate(0.5), "pose_error": Estimate(1.0)})
        for given in ("jpeg", "yaw30")
        for name in "AB"
    )
    columns = (Column("ID", "ID"), Column("pose_error", "pose"), Column("ssim", "SSIM"))
    made = Document("d", 0, lines, (Table("t", "T", columns, (0, 1, 2, 3)),), {}, {}, METRICS)
    plots = tradeoffs(made, made.tables[0])
    assert [plot.title for plot in plots] == [f"SSIM against privacy (ID), {given}" for given in ("jpeg", "yaw30")]


def test_a_setting_that_an_adversary_was_not_tried_on_is_not_called_private() -> None:
    columns = (Column("ID", "ID"), Column("RA", "RA", attack="x"))
    lines = (
        Line("d", "A", dial=1.0, metrics={"ID": Estimate(0.9)}),
        Line("d", "A", dial=2.0, metrics={"ID": Estimate(0.01)}),
        Line("d", "A", dial=3.0, metrics={"ID": Estimate(0.0)}),
        Line("d", "A", dial=1.0, attack="x", metrics={"RA": Estimate(0.9)}),
        Line("d", "A", dial=3.0, attack="x", metrics={"RA": Estimate(0.02)}),
    )
    table = Table("t", "T", columns, (0, 1, 2), dial="px")
    (one,) = swept(Document("d", 0, lines, (table,), {}, {}, METRICS), table)
    assert one.private == (False, False, True)


def test_sweeps_compare_over_adversaries_whom_all_have_met() -> None:
    """Kind: a worst case over unequal sets. A met an attack (.9) and B did not: both stand at their ID."""
    columns = (Column("ID", "ID"), Column("RA", "RA", attack="x"), Column("ssim", "SSIM"))
    rest = {"ssim": Estimate(0.5)}
    lines = tuple(
        Line("d", name, dial=dial, metrics={"ID": Estimate(0.1 * dial), **rest}) for name in "AB" for dial in (2.0, 1.0)
    )
    lines += tuple(Line("d", "A", dial=dial, attack="x", metrics={"RA": Estimate(0.9)}) for dial in (2.0, 1.0))
    table = Table("t", "T", columns, (0, 1, 2, 3), dial="px")
    document = Document("d", 0, lines, (table,), {}, {}, METRICS)
    for one in swept(document, table):
        assert [point.value for point in one.points] == [0.2, 0.1]
        assert one.private == (False, False)  # by the attack, or because nobody tried it
    assert sweeps(document, table)[0].caption.startswith("ID; dotted")


def test_many_points_have_numbers() -> None:
    lines = tuple(
        Line("d", f"method {i}", metrics={"ID": Estimate(i / 20, 0.0, 1.0), "ssim": Estimate(0.5 + i / 40)})
        for i in range(16)
    )
    table = Table("t", "T", (Column("ID", "ID"), Column("ssim", "SSIM")), tuple(range(16)))
    (plot,) = tradeoffs(Document("d", 0, lines, (table,), {}, {}, METRICS), table)
    words = text(plot)
    assert all(f" {place + 1} method {place}" in f" {words}" for place in range(16))
    assert words.count("method") == 16  # in the legend only


def sweep(
    settings: tuple[float, ...], high: tuple[float, ...], found: tuple[Estimate, ...], gallery: int = 100
) -> Document:
    lines = tuple(
        Line("d", "Mosaic", dial=dial, metrics={"ID": Estimate(top, top, top), "detected": seen})
        for dial, top, seen in zip(settings, high, found, strict=True)
    )
    table = Table(
        "t",
        "T",
        (Column("ID", "ID"), Column("detected", "found")),
        tuple(range(len(lines))),
        dial="px",
    )
    people = People("d", "evaluation", 10, 10, gallery, 0, 90, True)
    return Document("d", 0, lines, (table,), {}, {"d": people}, METRICS)


def test_the_useful_range_by_hand() -> None:
    seen = (Estimate(1.0, 0.95, 1.0), Estimate(0.97, 0.93, 1.0), Estimate(0.9, 0.85, 0.96), Estimate(0.5, 0.4, 0.94))
    made = sweep((1.0, 2.0, 4.0, 8.0), (0.9, 0.049, 0.01, 0.0), seen)
    (one,) = swept(made, made.tables[0])
    assert one.private == (False, True, True, True)  # below max(5 / 100, .05)
    assert one.falls == {"detected": 8.0}  # .94 < .95; .96 is not
    assert one.useful == (2.0, 4.0) and one.unmeasured == frozenset()


def test_what_nobody_measured_has_not_stayed() -> None:
    made = sweep((1.0, 2.0), (0.9, 0.0), (Estimate.absent("needs a detector"),) * 2)
    (one,) = swept(made, made.tables[0])
    assert one.unmeasured == {"detected"} and one.falls == {}


def test_the_mildest_setting_is_where_most_are_identified() -> None:
    seen = (Estimate(0.5, 0.4, 0.6), Estimate(1.0, 0.9, 1.0))
    made = sweep((4.0, 32.0), (0.15, 0.9), seen, gallery=20)
    (one,) = swept(made, made.tables[0])
    assert one.dial == (32.0, 4.0) and one.private == (False, True)  # below 5 / 20
    assert one.falls == {"detected": 4.0} and one.useful == ()


def test_sweeps_of_one_dial_and_of_several() -> None:
    made = document()
    plots = sweeps(made, made.tables[1])
    assert [plot.title for plot in plots] == ["Identified", "detected", "SSIM", "pose, °"]
    assert "block side or sigma, pixels" in text(plots[0]) and "32" in text(plots[0])
    several = replace(made.tables[1], dial="block side; sigma")
    assert "setting, 1: the mildest" in text(sweeps(made, several)[0])
    assert "Pixelate, 2 to 32" in text(sweeps(made, several)[0])


def test_curves_are_split_by_attack_and_count_with_the_unchanged_in_each() -> None:
    lines = [Line("d", "Real"), *(Line("d", f"m{i}") for i in range(9)), Line("d", "m0", attack="parrot")]
    curves = [Curve("errors", line.label, place, (0.0, 0.1, 1.0), (1.0, 0.5, 0.0)) for place, line in enumerate(lines)]
    made = Document("d", 0, tuple(lines), (), {}, {}, METRICS, curves=tuple(curves))
    plots = errors(made)
    assert [plot.title for plot in plots] == [
        *("ROC (1)", "DET (1)", "ROC (2)", "DET (2)"),
        *("ROC, parrot", "DET, parrot"),
    ]
    words = [text(plot) for plot in plots]
    assert ["Real" in each for each in words] == [True] * 4 + [False] * 2
    assert ["m6" in each for each in words] == [True] * 2 + [False] * 4
    assert ["m7" in each for each in words] == [False] * 2 + [True] * 2 + [False] * 2


def test_all_plots_of_a_document_are_well_formed() -> None:
    made = document()
    (time,) = temporal(made)
    assert all(word in text(time) for word in ("Real", "FIVA + ITM", "frame"))
    assert ["genuine" in text(plot) and "cosine distance" in text(plot) for plot in distributions(made)] == [True] * 2
    assert "0.384" not in distributions(made)[0].caption and ".384" in distributions(made)[0].caption


def test_every_method_has_a_look_of_its_own() -> None:
    lines = [Line("d", f"m{i}", policy) for i in range(12) for policy in ("none", "itm", "sampling")]
    looks = styles(Document("d", 0, tuple(lines), (), {}, {}, METRICS))
    assert len(set(looks.values())) == len(lines)
    assert len({looks[f"m0{policy}"].colour for policy in ("", " + ITM", " + Sampling")}) == 1
