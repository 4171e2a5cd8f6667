"""Whom an attack learned: the record, plain and complete, and what becomes of one that meets somebody else.

Kind: a figure of a part that was made for something else, printed as if it were made for this. Instances: an attack on
FIVA given to FaceDancer, on one filter to another, on one strength of it to another, behind one defense to another; a
gradient defense against such an attack; an attack under another's name in the transfer matrix; a parrot's recognizer.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from omegaconf import OmegaConf
from torch import nn

from anon.anonymizers.composed import Anonymizer
from anon.anonymizers.filters import GaussianBlur, Pixelate
from anon.apps.victims import record_of
from anon.attacks.contract import Attack
from anon.attacks.reconstruction import Reconstruction
from anon.attacks.victim import compare, describe, title_of
from anon.defenses.noise import UniformNoise
from anon.errors import UserError
from anon.evaluation.trained import check_victim, learned_on
from anon.identity.policies import AnchorSampling, Negation
from anon.identity.tracking import IdentityTracker
from tests.evaluation.tiny_world import Negative, Other, encoder


def fiva(policy=None, generator=None):
    if policy is None:
        policy = IdentityTracker(AnchorSampling(torch.eye(32)[:4], m=-0.5, mirrored=True), 0.3)
    return Anonymizer(encoder(0), policy, generator or Other())


def attack(record):
    return Reconstruction(nn.Identity(), encoder(0), record)


def test_a_record_is_plain_and_is_read_back_as_it_was():
    record = describe(fiva(), UniformNoise(0.15))
    assert yaml.safe_load(yaml.safe_dump(record)) == record
    assert record["method"] == "Other" and record["policy"]["threshold"] == 0.3
    sampling = record["policy"]["policy"]
    assert (sampling["m"], sampling["mirrored"], sampling["reading"]) == (-0.5, True, "signed")
    assert record["defense"]["epsilon"] == 0.15 and len(record["weights"]) == len(record["encoder"]) == 64
    assert title_of(record).startswith("Other + ITM behind UniformNoise (epsilon 0.15")


def test_the_same_anonymizer_is_no_stranger_whatever_data_it_calibrates_on():
    again = fiva(IdentityTracker(AnchorSampling(torch.eye(32)[4:9], m=-0.5, mirrored=True), 0.4))
    assert compare(describe(fiva()), describe(again)) == (False, None, True)


@pytest.mark.parametrize(
    ("learned", "met"),
    [
        (GaussianBlur(0.1), Pixelate(8)),
        (GaussianBlur(0.1), GaussianBlur(0.02)),
        (GaussianBlur(0.1), fiva()),
        (fiva(), fiva(generator=Negative())),
    ],
)
def test_an_attack_on_another_method_is_refused(learned, met):
    whom = re.escape(title_of(describe(learned)))
    whom = f"another {whom}, of other .*" if title_of(describe(met)) == title_of(describe(learned)) else whom
    with pytest.raises(UserError, match=f"mine cannot attack .*: the attack learned {whom}; do so"):
        check_victim(attack(describe(learned)), met, "mine", "do so")


def test_weights_tell_two_trainings_apart():
    other = fiva()
    with torch.no_grad():
        other.generator.inverse[0, 0] += 1e-3
    with pytest.raises(UserError, match="cannot attack"):
        check_victim(attack(describe(fiva())), other, "mine", "do so")


def test_another_policy_of_the_same_generator_is_noted():
    known = attack(describe(fiva()))
    assert check_victim(known, fiva(), "mine", "do so") is None
    assert check_victim(known, fiva(Negation()), "mine", "do so") == "learned on Other + ITM"
    unmirrored = fiva(IdentityTracker(AnchorSampling(torch.eye(32)[:4], m=-0.5), 0.3))
    told = "learned on Other + ITM whose policy had mirrored True (here False)"
    assert check_victim(known, unmirrored, "mine", "do so") == told


def test_an_attack_behind_a_defense():
    noise = UniformNoise(0.15)
    known = attack(describe(fiva(), noise))
    assert check_victim(known, fiva(), "mine", "do so", noise, adaptive=True) is None
    assert "behind UniformNoise" in str(check_victim(known, fiva(), "mine", "do so", noise))  # as the naive one
    for other in (UniformNoise(0.3), None):
        with pytest.raises(UserError, match=r"it learned Other \+ ITM behind UniformNoise"):
            check_victim(known, fiva(), "mine", "do so", other, adaptive=True)
    with pytest.raises(UserError, match=r"it learned Other \+ ITM; do so"):
        check_victim(attack(describe(fiva())), fiva(), "mine", "do so", noise, adaptive=True)


def test_an_attack_without_a_record_is_called_unknown():
    assert "unknown" in str(check_victim(attack(None), GaussianBlur(0.1), "mine", "do so"))
    assert check_victim(Attack(), GaussianBlur(0.1), "mine", "do so") is None  # it learned nobody
    assert learned_on(Attack()) == (False, None)


class Given:
    """A filter whose setting is no plain public value."""

    def __init__(self, setting, name="_setting"):
        setattr(self, name, setting)

    def __call__(self, images, **given):
        return images


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (0.1, 0.9),
        (torch.ones(3, 3), torch.ones(5, 5)),
        ({"s": 0.1}, {"s": 0.9}),
        (np.float32(0.1), np.float32(0.9)),
        (Path("a"), Path("b")),
    ],
)
@pytest.mark.parametrize("name", ["_setting", "setting"])
def test_a_setting_of_any_kind_tells_two_filters_apart(name, one, other):
    """The kind: a comparison sees only public plain values. So it was for tensors, dicts, paths and code, too."""
    assert compare(describe(Given(one, name)), describe(Given(one, name))) == (False, None, True)
    found = compare(describe(Given(one, name)), describe(Given(other, name)))
    assert found.stranger and "learned Given" in found.note
    noise = describe(GaussianBlur(0.1), Given(one, name)), describe(GaussianBlur(0.1), Given(other, name))
    assert [compare(noise[0], each).behind for each in noise] == [True, False]


def test_a_filter_of_this_project_is_told_by_its_settings():
    """An attack that learned it stays one on it when our code is rearranged."""
    assert describe(GaussianBlur(0.1))["code"] is None


def test_edited_code_tells_two_filters_apart():
    def made(strength):
        space = {"__name__": "written_by_a_user"}
        exec(f"class G:\n    def __call__(self, x, **given): return x * {strength}\n", space)
        return describe(space["G"]())

    assert compare(made(0.1), made(0.1)) == (False, None, True)
    assert "other code or inner settings" in compare(made(0.1), made(0.9)).note
    old = {name: value for name, value in made(0.1).items() if name != "code"}
    assert compare(old, made(0.9)) == (False, None, True)  # from before there was one


@pytest.mark.parametrize(
    "damage",
    [
        {"policy": "text"},
        {"defense": "text"},
        {"settings": 5},
        {"method": [1]},
        {"weights": {}},
        {"code": 3},
        "text",
        5,
    ],
)
def test_a_damaged_record_is_refused(damage):
    """It was an AttributeError, or was taken for none."""
    record = describe(fiva()) | damage if isinstance(damage, dict) else damage
    with pytest.raises(UserError, match="is damaged; name another checkpoint"):
        record_of(OmegaConf.create({"run": {"victim": record}}))
    assert record_of(OmegaConf.create({"run": {"victim": describe(fiva())}})) == describe(fiva())
    assert record_of(OmegaConf.create({"run": {}})) is None
