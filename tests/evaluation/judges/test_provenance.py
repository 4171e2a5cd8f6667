"""Nobody is evaluated whom a network learned from, and a table tells where a network never saw such faces.

The kind: an evaluation knows the data that it reads, and not what its networks learned from: a generator of folder A
measured on folder B with A's people in it, the shipped FIVA on photographs (ID .978 was printed without a word).
Instances: methods, encoders, trained attacks, the recognizer that a parrot brings, judges, estimators; in suites, the
ladder, transfer, the share of noise, and on the pairs of LFW, which compared names letter by letter.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from anon import weights
from anon.apps.checkpoints import LEARNED_KEY, CheckpointFiles, learned_from, read_checkpoint, restore_generator
from anon.apps.victims import trained_attack
from anon.attacks.contract import Attack
from anon.attacks.parrot import Parrot
from anon.errors import UserError
from anon.evaluation.harness.suite import Combination
from anon.evaluation.judges.provenance import Provenance, same_people
from anon.evaluation.protocol import Protocol
from anon.faces.learned import DOMAINS, Learned, remember
from anon.identity.encoder import Encoder
from tests.apps.tiny import Tiny
from tests.evaluation import tiny_world
from tests.evaluation.harness.tiny_stages import stages

NAMES = ["anna b", "Bob", "0001"]


def taught(names: list[str], synthetic: bool = False) -> torch.nn.Module:
    network = torch.nn.Sequential(torch.nn.Identity())
    remember(network[0], Learned.of(names, synthetic))
    return network


def test_people_who_trained_are_refused_in_any_spelling() -> None:
    with pytest.raises(UserError, match=r"^FIVA learned from 1 of the 3 people of faces .*allow_training_people=true"):
        Provenance(Protocol()).check(taught(["Anna_B", "Eve"]), "FIVA", NAMES, False, "faces")


def test_or_marked_where_that_is_asked_for() -> None:
    found = Provenance(Protocol(allow_training_people=True))
    found.check(taught(["Anna_B", "Eve"]), "FIVA", NAMES, False, "faces")
    assert found.notes() == [
        "FIVA learned from 1 of the 3 evaluated people of faces: its figures say nothing about strangers."
    ]


def test_strangers_are_no_word_and_numbers_are_marked() -> None:
    found = Provenance(Protocol())
    found.check(taught(["Eve"]), "FIVA", NAMES, False, "faces")
    assert found.notes() == []
    found.check(taught(["0001"]), "FIVA", NAMES, False, "faces")
    (note,) = found.notes()
    assert note.startswith("FIVA learned from people with the numbers of 1 of the 3")


def test_the_recognizer_that_a_parrot_brings() -> None:
    judge = tiny_world.judge(0)
    remember(judge.encoder.backbone, Learned.of(["Bob"], synthetic=False))
    with pytest.raises(UserError, match="projection-0 learned from 1 of the 3 people"):
        Provenance(Protocol()).check(functools.partial(Parrot, recognizer=judge), "parrot", NAMES, False, "faces")


def test_what_ships_never_saw_a_photograph() -> None:
    """All of it says so in the index; of FIVA on photographs the table tells."""
    assert {entry["domain"] for entry in weights.index().values()} == {"synthetic"}
    trained = restore_generator("shipped:fiva")
    found = Provenance(Protocol())
    for part, title in ((trained.generator, "FIVA"), (trained.encoder, "x")):
        found.check(part, title, ["Ann"], False, "folder")
    found.check(trained_attack("shipped:reconstruction"), "reconstruction", ["Ann"], False, "folder")
    assert found.notes() == [
        "FIVA, synthetic_robust, reconstruction and synthetic_a learned from rendered faces and never saw a "
        "photograph; the faces of folder are photographs."
    ]
    rendered = Provenance(Protocol())
    rendered.check(trained.generator, "FIVA", ["synthetic-000001"], True, "synthetic")
    assert rendered.notes() == []


def test_photographs_and_rendered_faces() -> None:
    found = Provenance(Protocol())
    found.check(taught(["Ann"]), "FIVA", NAMES, True, "synthetic")
    assert found.notes() == [
        "FIVA learned from photographs and never saw a rendered face; the faces of synthetic are rendered faces."
    ]


@pytest.mark.parametrize("part", ["generator", "encoder", "attack"])
def test_a_suite_refuses_them(part: str) -> None:
    made = stages(attacks={"mirror": {"attack": {"_target_": "tests.evaluation.judges.test_provenance.Taught"}}})
    base = made.factory._base(made.suite.methods["other"]["anonymizer"], "other")
    known = Learned.of(["Evaluation 2", "someone"], synthetic=True)  # evaluation-2 in another spelling
    if part != "attack":
        remember(base.generator if part == "generator" else base.encoder.backbone, known)
    one = Combination("default", "other", "itm", attack="mirror" if part == "attack" else "none")
    who = {"generator": "Other", "encoder": "projection-0", "attack": "mirror"}[part]
    with pytest.raises(UserError, match=rf"^{who} learned from 1 of the 8 people of fake"):
        made.factory.attackers.attack(one) if part == "attack" else made.factory.method(one)


class Taught(Attack):
    """An attack that learned from one of the evaluated people."""

    def __init__(self) -> None:
        super().__init__()
        remember(self, Learned.of(["evaluation_2"], synthetic=True))


def checkpoint(path: Path, data: dict[str, Any], learned: Learned | None) -> Path:
    content = {"state_dict": Tiny().state_dict(), "global_step": 3}
    CheckpointFiles(OmegaConf.to_yaml({"model": {}, "data": data}), learned).save_checkpoint(content, path)
    return path


def test_checkpoints_keep_it_and_old_ones_say_what_they_can(tmp_path: Path) -> None:
    new = checkpoint(tmp_path / "new.ckpt", {}, Learned.of(["Ann"], synthetic=False))
    content, config = read_checkpoint(new)
    found = learned_from(content, config, new)
    assert found is not None and found.known(["ann", "bob"]) == ["ann"]
    for target, domain, complete in (("synthetic", DOMAINS[0], True), ("folder", DOMAINS[1], False)):
        old = checkpoint(tmp_path / f"{target}.ckpt", {"_target_": f"anon.faces.datamodule.{target}_data"}, None)
        content, config = read_checkpoint(old)
        assert LEARNED_KEY not in content
        assert learned_from(content, config, old) == Learned(frozenset([domain]), complete=complete)
    network = torch.nn.Identity()
    remember(network, Learned(frozenset(["photographs"]), complete=False))
    noted = Provenance(Protocol())
    noted.check(network, "FIVA", NAMES, False, "faces")
    assert noted.notes() == ["The checkpoint of FIVA does not say whom it learned from: some may be in faces."]


def test_a_judge_is_looked_at_too() -> None:
    assert isinstance(tiny_world.judge(0).encoder, Encoder)
    judge = tiny_world.judge(0)
    remember(judge.encoder.backbone, Learned.of(["Ann"], synthetic=True))
    found = Provenance(Protocol())
    found.check(judge, "the judge", NAMES, False, "faces")
    assert found.notes()[0].startswith("projection-0 learned from rendered faces and never saw a photograph")


def shipped(name: str) -> torch.nn.Module:
    network = torch.nn.Sequential(torch.nn.Identity())
    network[0].__dict__["shipped"] = name
    return network


def test_who_learned_from_the_same_people(monkeypatch: pytest.MonkeyPatch) -> None:
    """By salted hashes of the people at hand, or by what the index of shipped weights calls the set of people."""
    entry = {"domain": "synthetic"}
    index = {"a": entry, "b": entry, "c": {**entry, "people": "the judges' own"}, "d": {**entry, "people": "others"}}
    monkeypatch.setattr(weights, "index", lambda: index)
    names = ["anna b", "Bob"]
    cases = [
        (shipped("a"), shipped("b"), True),
        (shipped("a"), shipped("c"), False),
        (shipped("c"), shipped("c"), True),
        (shipped("c"), shipped("d"), False),
        (taught(["Anna_B"]), taught(["ANNA B", "Eve"]), True),
        (taught(["Anna_B"]), taught(["Bob"]), False),
        (taught(["Eve"]), taught(["Eve"]), False),  # nobody at hand tells
        (taught(["Bob"], synthetic=True), shipped("a"), True),
        (taught(["Bob"], synthetic=True), shipped("c"), False),
        (torch.nn.Identity(), shipped("a"), False),
        (object(), shipped("a"), False),
    ]
    for first, second, same in cases:
        assert same_people(first, second, names, rendered=True) is same_people(second, first, names, True) is same
    assert not same_people(taught(["Bob"]), shipped("a"), names, rendered=False)


def test_a_recognizer_of_ones_own_tells_by_its_weight_file(tmp_path: Path) -> None:
    """``judge.encoder.weights=<checkpoint>``; a file of somebody else's that says something else is no witness."""
    state = {f"backbone.{name}": value for name, value in tiny_world.Projection(3).state_dict().items()}
    told = {"own": Learned.of(["Bob"], synthetic=False).plain(), "odd": {"learned": "much"}, "wrong": None}
    told["wrong"] = {**told["own"], "domains": ["the moon"]}
    read = {}
    for name, learned in told.items():
        torch.save({"state_dict": state, "learned": learned}, tmp_path / f"{name}.ckpt")
        read[name] = Encoder(tiny_world.Projection(4), 16, weights=str(tmp_path / f"{name}.ckpt"), name=name)
    with pytest.raises(UserError, match=r"^own learned from 1 of the 3 people of faces"):
        Provenance(Protocol()).check(read["own"], "the judge", NAMES, False, "faces")
    assert same_people(read["own"], taught(["bob"]), NAMES, rendered=False)
    Provenance(Protocol()).check(read["odd"], "the judge", NAMES, False, "faces")
    with pytest.raises(UserError, match="the weight file of a Projection says of whom it learned what cannot be"):
        Provenance(Protocol()).check(read["wrong"], "the judge", NAMES, False, "faces")
