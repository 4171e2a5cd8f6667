"""What a method costs: parameters and memory by hand, a time that is slept, and read back from the store."""

from __future__ import annotations

import time

import pytest
import torch
from torch import nn

from anon.evaluation.harness.attackers import Method
from anon.evaluation.harness.context import MeasureContext
from anon.evaluation.harness.suite import Combination
from anon.evaluation.measures.cost import REPEATS, Cost, measured, peak
from tests.evaluation.harness.tiny_stages import settings, stages

HERE = "tests.evaluation.measures.test_cost"


class Sleeps(nn.Module):
    """12 milliseconds a batch, 1,000 parameters and 10 more numbers, and twice the pictures alive at once."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1000))
        self.again = self.weight  # counts once
        self.register_buffer("mean", torch.zeros(10))

    def forward(self, images):
        time.sleep(0.012)
        return (images + 1.0) - 1.0


class Holds:
    """No network itself, but it has one."""

    def __init__(self) -> None:
        self.network = nn.Linear(3, 2)

    def __call__(self, images):
        return -images


class Elsewhere(nn.Module):
    """Gives pictures that another program made."""

    made_elsewhere = True

    def forward(self, images):
        return -images


METHODS = settings()["methods"] | {
    name: {"title": name, "anonymizer": {"_target_": f"{HERE}.{kind}"}}
    for name, kind in (("sleeps", "Sleeps"), ("holds", "Holds"), ("elsewhere", "Elsewhere"))
}


def test_by_hand(tmp_path):
    """Five faces of 16 pixels are 15,360 bytes; the method holds 1,010 numbers of 4 bytes."""
    made = stages(tmp_path, methods=METHODS)
    found = Cost()(MeasureContext(made, Combination("default", "sleeps")))
    assert 2.4 <= found["milliseconds"].low <= found["milliseconds"].value <= found["milliseconds"].high < 10.0
    assert found["milliseconds"].n == 5 * REPEATS
    assert found["parameters"].value == 0.001
    assert found["peak_memory"].value == pytest.approx((1010 * 4 + 2 * 15360) / 1e6, abs=64e-6)
    other = stages(tmp_path, methods=METHODS)
    again = Cost()(MeasureContext(other, Combination("default", "sleeps")))
    assert made.store.made["costs"] == 1 and other.store.made["costs"] == 0 and again == found  # nothing is timed again


def test_a_time_belongs_to_the_machine(tmp_path):
    made = stages(tmp_path, methods=METHODS)
    context = MeasureContext(made, Combination("default", "sleeps"))
    first, second = Cost(), Cost()
    second.machine = ["another processor, 1 thread"]
    assert made.made_of(first) != made.made_of(second)  # what is kept of the whole measure as well
    first(context)
    second(context)
    assert made.store.made["costs"] == 2


def test_one_batch_warms_up_nine_are_timed_and_one_is_looked_at():
    seen = []

    class Counts(nn.Module):
        def forward(self, images, source=None, rng=None):
            seen.append(len(images))
            return images

    measured(Method("counts", Counts(), "key", None, False), torch.zeros(3, 3, 8, 8), None, seed=0)
    assert seen == [3] * (1 + REPEATS + 1)


def test_what_has_no_costs_here():
    made = stages(methods=METHODS)
    reasons = {each.reason for each in Cost()(MeasureContext(made, Combination("default", "elsewhere"))).values()}
    assert reasons == {"n/a (its pictures were made elsewhere)"}
    for place in ({"method": "real"}, {"method": "holds", "defense": "half"}, {"method": "holds", "input": "mosaic"}):
        assert Cost()(MeasureContext(made, Combination("default", **place))) == {}
    held = Cost()(MeasureContext(made, Combination("default", "holds")))
    assert held["parameters"].value == 8 / 1e6  # 3 x 2 weights and 2 offsets


def test_the_conditioning_recognizer_counts():
    """The generator is a matrix of 768 x 32; the recognizer's projection is a buffer of as many numbers."""
    made = stages()
    method = MeasureContext(made, Combination("default", "other", "source")).method
    images = torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    found = measured(method, images, images, seed=0)
    assert int(found["parameters"]) == 768 * 32
    assert int(found["bytes"]) > 2 * 768 * 32 * 4


def test_peak_is_what_was_alive_at_once():
    def act():
        first = torch.zeros(1000)  # 4,000 bytes
        second = first + 1  # 8,000 alive
        del first
        third = second + 1  # 8,000 again
        return second, third

    assert peak(act, torch.device("cpu")) == pytest.approx(8000, abs=64)  # and the ones that are added
