"""Every measure of conf/measure on every kind of combination: figures with intervals or a reason, never an error."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from anon.evaluation.document import Curve, Histogram
from anon.evaluation.harness.context import MeasureContext
from anon.evaluation.harness.suite import Combination
from tests.evaluation.harness.tiny_stages import stages

FILES = sorted((Path(__file__).resolve().parents[3] / "conf" / "measure").glob("*.yaml"))
CELLS = {
    "real": {"method": "real"},
    "filter": {"method": "pixelate"},
    "generator with clips": {"method": "other", "policy": "itm"},
    "defended and attacked": {"method": "other", "policy": "itm", "defense": "half", "attack": "mirror"},
    "negation": {"method": "other", "policy": "plain", "attack": "negation"},
    "parrot on a filter": {"method": "pixelate", "defense": "uniform", "attack": "parrot"},
    "swap": {"method": "other", "policy": "source"},
    "defended swap": {"method": "other", "policy": "source", "defense": "uniform"},
    "degraded input": {"method": "other", "policy": "itm", "input": "mosaic"},
    "dial": {"method": "other", "policy": "dial", "dial": 1.0},
}


@pytest.fixture(scope="module")
def measures():
    config = OmegaConf.create({"lpips": None, "m": {file.stem: OmegaConf.load(file) for file in FILES}})
    return {file.stem: instantiate(config.m[file.stem]) for file in FILES}


@pytest.fixture(scope="module")
def contexts():
    made = stages()
    return {name: MeasureContext(made, Combination(data="default", **what)) for name, what in CELLS.items()}


def test_each_has_its_file(measures):
    identity = {"retrieval", "encoder", "attacked", "change_detection", "distance", "verification", "identities"}
    identity |= {"couple", "recovery", "swap", "pairs", "purified", "look", "averaged", "keys", "monotone", "poisoned"}
    identity |= {"attribute_path", "clip_recovery"}
    rest = {
        "temporal",
        "attributes",
        "picture",
        "detection",
        "distribution",
        "quality",
        "cost",
        "groups",
        "hifd",
        "spectrum",
        "pulse",
    }
    assert set(measures) == identity | rest


@pytest.mark.parametrize("kind", CELLS)
def test_figures_or_reasons(measures, contexts, kind):
    context, names = contexts[kind], set()
    for name, measure in measures.items():
        found = measure(context)
        assert not names & set(found), f"{name} names a figure of another measure"
        names |= set(found)
        for figure in found.values():
            if figure.value is None:
                assert figure.reason.startswith(("n/a (", "needs ")), figure.reason
            else:
                assert math.isfinite(figure.value) and figure.n > 0
                assert figure.low is None or figure.low - 1e-6 <= figure.high
                assert figure.draws is None or figure.draws.shape == (50,)
        for plot in getattr(measure, "plots", lambda *_: [])(context, "a label", 3):
            assert isinstance(plot, Curve | Histogram) and (plot.label, plot.line) == ("a label", 3)
    assert names


def test_what_does_not_apply_gives_nothing(measures, contexts):
    def empty(kind):
        return {name for name, measure in measures.items() if not measure(contexts[kind])}

    compares = {"distance", "picture", "distribution", "identities", "recovery", "clip_recovery"}
    attacked = {"attacked", "change_detection", "couple", "pulse"}
    paths = {"attribute_path"}
    assert empty("real") == compares | attacked | paths | {"encoder", "swap", "cost"} | {
        "hifd",
        "keys",
        "monotone",
        "poisoned",
    }
    assert empty("filter") == attacked | paths | {"encoder", "swap", "keys", "monotone"}
    assert empty("generator with clips") == attacked | {"swap", "keys", "monotone"}
    assert empty("defended and attacked") == {
        "attribute_path",
        "couple",
        "pulse",
        "retrieval",
        "averaged",
        "encoder",
        "swap",
        "recovery",
        "clip_recovery",
        "keys",
        "monotone",
        "poisoned",
        "cost",
        "hifd",
        "purified",
        "look",
        "spectrum",
    }
    assert empty("swap") == attacked | {"keys", "monotone", "poisoned"}


def test_missing_weights_are_named(measures, contexts):
    context = contexts["filter"]
    reasons = {name: figure.reason for measure in measures.values() for name, figure in measure(context).items()}
    assert reasons["lpips"] == "needs lpips=<alexnet-owt-7be5be79.pth>"
    assert reasons["FID"].startswith("needs suite.measures.distribution.inception=<pt_inception-2015-12-05")
    assert "detectors.<name>.weights=<file>" in reasons["detected"]
    assert "attributes=faceapi_age_gender" in reasons["age_error"]
    assert reasons["recovery"] == "n/a (no key)" and reasons["clip_recovery"] == "n/a (no key of clips)"
    assert reasons["mask_area"] == "n/a (no mask)"


def test_intervals_hold_their_values(measures, contexts):
    """Percentiles of few people may leave a value out by chance, but not in all of the figures."""
    inside = [
        figure.low - 1e-6 <= figure.value <= figure.high + 1e-6
        for measure in measures.values()
        for figure in measure(contexts["swap"]).values()
        if figure.low is not None
    ]
    assert len(inside) > 40 and sum(inside) >= 0.95 * len(inside)


def test_two_runs_give_the_same(measures, contexts):
    again = MeasureContext(stages(), Combination(data="default", **CELLS["swap"]))
    for name, measure in measures.items():
        assert name == "cost" or measure(again) == measure(contexts["swap"])  # a time is kept, not the same twice
