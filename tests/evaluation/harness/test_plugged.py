"""What a user may plug in is any callable of the form that the docs say, or is one sentence at the door.

The kind: a part of one's own met the code where it was first used, in the middle of an evaluation (``AttributeError``
of a callable without ``.to``, ``TypeError`` of a network without keywords, ``KeyError`` of an attack alone). Other
instances: victims of the ladder, of transfers and of trained attacks; defenses, measures, estimators, detectors.
"""

from __future__ import annotations

import functools

import pytest
import torch
from torch import nn

from anon.anonymizers.composed import Unchanged
from anon.anonymizers.contract import AnonymizerLike
from anon.anonymizers.plugged import Plugged, as_anonymizer, name_of
from anon.attacks.victim import describe
from anon.defenses.defended import Defended, check_defense
from anon.errors import UserError
from anon.evaluation.harness.suite import Suite
from anon.plugs import built_of
from tests.evaluation.harness.test_run import attacks, evaluate, line  # noqa: F401

HERE = "tests.evaluation.harness.test_plugged"


class Strength:
    """A callable that is no network."""

    def __init__(self, strength: float = 0.5) -> None:
        self.strength = strength

    def __call__(self, images):
        return images * self.strength


class Flip(nn.Module):
    """A network without keywords."""

    def forward(self, images):
        return images.flip(-1)


class Noisy(nn.Module):
    """Takes one keyword of four."""

    def forward(self, images, rng=None):
        return (images + 0.1 * torch.randn(images.shape, generator=rng)).clamp(-1, 1)

    def recover(self, changed, key):
        return changed


def darker(images):
    return images - 0.1 * (images + 1)


class Needy(nn.Module):
    """Wants a setting."""

    def __init__(self, strength):
        super().__init__()


def test_a_function_needs_no_partial():
    """Its call without pictures was a traceback."""
    built = built_of({"_target_": f"{HERE}.darker"}, "mine")
    images = torch.ones(1, 3, 4, 4)
    assert torch.equal(built(images), darker(images))
    assert torch.equal(built_of({"_target_": f"{HERE}.darker", "_partial_": True}, "mine")(images), darker(images))
    assert isinstance(built_of({"_target_": f"{HERE}.Strength"}, "mine"), Strength)
    with pytest.raises(UserError, match=r"mine is a Needy, which cannot be built so \(missing a required.*'strength'"):
        built_of({"_target_": f"{HERE}.Needy"}, "mine")


class Nothing(nn.Module):
    """Neither an attack nor a defense."""

    def forward(self, first, second):
        return first


def test_three_kinds_of_callables_are_evaluated(tmp_path):
    """Old code: AttributeError ('Strength' has no 'to'), TypeError (unexpected keyword 'rng'), KeyError 'title'."""
    mine = f"+suite.methods.own={{_target_: {HERE}.Strength, strength: 0.25}}"
    flip = f"+suite.methods.flip={{title: Flip, anonymizer: {{_target_: {HERE}.Flip}}}}"
    dark = f"+suite.methods.dark.anonymizer={{_target_: {HERE}.darker, _partial_: true}}"
    attack = "+suite.attacks.mirror={_target_: tests.evaluation.harness.tiny_stages.Mirror}"
    grid = "suite.tables.table1.grid=[{methods: [own, flip, dark], attacks: [none, mirror]}]"
    few = ("suite.tables.table1.measures=[retrieval,attacked,picture]", "suite.tables.robustness=null")
    found = evaluate(tmp_path, mine, flip, dark, attack, grid, *few, "suite.tables.identities=null")
    assert {each.method for each in found.lines} == {"own", "Flip", "dark"}
    assert [each.needs for each in found.lines] == [None] * 6
    # Mirrored twice a face is itself: the attack undoes the method, and only this one.
    real = evaluate(
        tmp_path / "real",
        "suite.tables.table1.grid=[{methods: [real]}]",
        few[0],
        *few[1:],
        "suite.tables.identities=null",
    )
    assert line(found, "Flip", attack="mirror")["RA"].value == line(real, "Real")["ID"].value
    assert line(found, "Flip")["ID"].value < line(real, "Real")["ID"].value


def test_what_it_takes_it_gets_and_nothing_else() -> None:
    images = torch.linspace(-1, 1, 2 * 3 * 4 * 4).view(2, 3, 4, 4)
    rng = torch.Generator().manual_seed(0)
    noisy = as_anonymizer(Noisy(), "x")
    expected = Noisy()(images, torch.Generator().manual_seed(0))
    assert torch.equal(noisy(images, source=images, key=None, rng=rng), expected)
    assert isinstance(noisy, AnonymizerLike) and noisy.recover(1, 2) == 1
    assert as_anonymizer(unchanged := Unchanged(), "x") is unchanged
    assert torch.equal(as_anonymizer(functools.partial(darker), "x")(images), darker(images))
    assert name_of(Plugged(Strength())) == "Strength" and describe(Plugged(Strength()))["settings"]["strength"] == 0.5
    assert list(as_anonymizer(nn.Conv2d(3, 3, 1), "x").state_dict()) == ["plugged.weight", "plugged.bias"]


@pytest.mark.parametrize(
    ("given", "told"),
    [(5, "is a int, which cannot be called as anonymizer"), (Nothing(), "missing a required argument: 'second'")],
)
def test_what_is_no_anonymizer(given: object, told: str) -> None:
    with pytest.raises(UserError, match=told):
        as_anonymizer(given, "suite.methods.x.anonymizer")


def test_what_is_no_defense() -> None:
    with pytest.raises(UserError, match="The defense is a Flip, which cannot be called as"):
        check_defense(Flip())
    with pytest.raises(UserError, match="Parameter noise needs a generator"):
        from anon.defenses.parameters import ParameterNoise

        Defended(as_anonymizer(Flip(), "x"), ParameterNoise(0.1))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (f"+suite.attacks.x={{_target_: {HERE}.Nothing}}", "The attack is a Nothing, which has no images, probe"),
        (f"+suite.measures.odd={{_target_: {HERE}.Nothing}}", "suite.measures.odd is a Nothing"),
        (f"+suite.defenses.x={{_target_: {HERE}.Nothing}}", "The defense is a Nothing"),
        (f"+suite.inputs.x={{_target_: {HERE}.Nothing}}", "suite.inputs.x is a Nothing"),
        (f"+suite.methods.x={{_target_: {HERE}.Nothing}}", "suite.methods.x.anonymizer is a Nothing"),
    ],
)
def test_parts_that_are_none(tmp_path, words: str, told: str) -> None:
    kind = next((kind for kind in ("attacks", "defenses", "inputs") if kind in words), None)
    method = "x" if "methods" in words else "checkpoint"
    block = f"{{methods: [{method}], policies: [itm]{f', {kind}: [x]' if kind else ''}}}"
    metric = "odd" if "measures" in words else "picture"
    grid = (f"suite.tables.table1.grid=[{block}]", f"suite.tables.table1.measures=[{metric}]")
    with pytest.raises(UserError, match=told):
        evaluate(tmp_path, words, *grid, "suite.tables.robustness=null", "suite.tables.identities=null")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"methods": {"x": 5}}, "suite.methods.x=5 is none"),
        ({"methods": {"x": {"title": "X"}}}, r"suite\.methods\.x needs anonymizer"),
        ({"attacks": {"x": {"trained": 5}}}, r"suite\.attacks\.x needs attack"),
    ],
)
def test_entries_that_say_too_little(given: dict, told: str) -> None:
    with pytest.raises(UserError, match=told):
        Suite(**given)
