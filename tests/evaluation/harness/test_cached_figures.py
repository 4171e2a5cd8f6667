"""Figures that are kept: the same values, and only while nothing that a measure looks at has changed."""

import math

import torch

from anon.evaluation.document.estimates import Estimate
from anon.evaluation.harness.context import MeasureContext
from anon.evaluation.harness.run import figures_of
from anon.evaluation.harness.suite import Combination
from tests.evaluation import tiny_world
from tests.evaluation.harness.tiny_stages import stages

ONE = Combination("default", "pixelate")


class Fixed:
    """A measure that counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, context):
        self.asked += 1
        return {
            "share": Estimate(0.25, 0.125, 0.5, n=7, draws=torch.tensor([0.25, 0.5], dtype=torch.float64)),
            "alone ↓": Estimate(0.1, n=1),
            "absent": Estimate.absent("needs „quoted“ words"),
        }


def test_the_same_figures_without_asking(tmp_path):
    first, again = Fixed(), Fixed()
    made = figures_of(first, {"a": 1}, MeasureContext(stages(tmp_path), ONE))
    kept = figures_of(again, {"a": 1}, MeasureContext(stages(tmp_path), ONE))
    assert made == kept == first(None)
    assert torch.equal(kept["share"].draws, made["share"].draws) and kept["absent"].draws is None
    assert again.asked == 0


def test_damaged_figures_are_taken_again(tmp_path):
    """A flipped byte of a kept value was printed as a figure, a cut file ended in a traceback."""
    made = figures_of(Fixed(), {"a": 1}, MeasureContext(stages(tmp_path), ONE))
    (file,) = (tmp_path / "figures").iterdir()
    whole = file.read_bytes()
    for damage in (whole[:-1] + bytes([whole[-1] ^ 64]), whole[:-9]):
        file.write_bytes(damage)
        measure = Fixed()
        assert figures_of(measure, {"a": 1}, MeasureContext(stages(tmp_path), ONE)) == made and measure.asked == 1


def test_what_is_no_number_stays_none(tmp_path):
    def measure(context):
        return {"nothing": Estimate(math.nan)}

    for _ in range(2):
        assert figures_of(measure, {}, MeasureContext(stages(tmp_path), ONE))["nothing"] == Estimate(None)


def test_a_figure_under_two_names_is_kept(tmp_path):
    """It ended in "Some tensors share memory" where a store has a folder."""

    def measure(context):
        one = Estimate(0.25, 0.125, 0.5, n=7, draws=torch.tensor([0.25, 0.5], dtype=torch.float64))
        return {"worst": one, "of one": one}

    for _ in range(2):
        found = figures_of(measure, {}, MeasureContext(stages(tmp_path), ONE))
        assert torch.equal(found["worst"].draws, found["of one"].draws) and len(found["worst"].draws) == 2


def test_functions_are_told_apart(tmp_path):
    def one(context):
        return {"one": Estimate(1.0)}

    def other(context):
        return {"other": Estimate(2.0)}

    assert set(figures_of(one, {}, MeasureContext(stages(tmp_path), ONE))) == {"one"}
    assert set(figures_of(other, {}, MeasureContext(stages(tmp_path), ONE))) == {"other"}


def test_a_change_asks_again(tmp_path):
    measure = Fixed()
    figures_of(measure, {"a": 1}, MeasureContext(stages(tmp_path), ONE))
    changes = [
        ({"a": 2}, stages(tmp_path), ONE),
        ({"a": 1}, stages(tmp_path, seed=1), ONE),
        ({"a": 1}, stages(tmp_path, resamples=51), ONE),
        ({"a": 1}, stages(tmp_path, judge=2), ONE),
        ({"a": 1}, stages(tmp_path, data=tiny_world.Data(clips=1)), ONE),
        ({"a": 1}, stages(tmp_path), Combination("default", "pixelate", defense="half")),
        ({"a": 1}, stages(tmp_path), Combination("default", "pixelate", attack="negation")),
        ({"a": 1}, stages(tmp_path), Combination("default", "noise")),
    ]
    for number, (settings, made, one) in enumerate(changes, 2):
        figures_of(measure, settings, MeasureContext(made, one))
        assert measure.asked == number, settings
