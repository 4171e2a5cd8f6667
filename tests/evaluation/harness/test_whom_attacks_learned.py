"""An attack in a table meets whom it learned, or its line says so, or there is no line.

Kind: a figure of an attack that learned somebody else, which looks like privacy; see tests/attacks/test_victim.py.
"""

from __future__ import annotations

import pytest
import torch

from anon.anonymizers.composed import Anonymizer
from anon.anonymizers.filters import Pixelate
from anon.attacks.victim import describe
from anon.defenses.processing import Resample
from anon.errors import UserError
from anon.evaluation.harness.attackers import Attacker, Unavailable
from anon.evaluation.harness.suite import Combination
from anon.identity.policies import AnchorSampling
from anon.identity.tracking import IdentityTracker
from tests.evaluation import tiny_world
from tests.evaluation.harness.tiny_stages import settings, stages

OTHER = Anonymizer(
    tiny_world.encoder(0),
    IdentityTracker(AnchorSampling(torch.eye(32)[:6], m=-0.5, mirrored=True), 0.3),
    tiny_world.Other(),
)
RECORDS = {
    "other.ckpt": describe(OTHER),
    "other_half.ckpt": describe(OTHER, Resample(0.5)),
    "shipped:pixelate": describe(Pixelate(2)),
    "pixelate.ckpt": describe(Pixelate(2)),
    "old.ckpt": None,
}


@pytest.fixture(autouse=True)
def attacks(monkeypatch):
    def trained(checkpoint):
        found = tiny_world.attack("-1")
        found.learned_on = RECORDS[checkpoint]
        return found

    monkeypatch.setattr("anon.apps.victims.trained_attack", trained)


def met(checkpoint, method="other", policy="itm", defense="none", adaptive=False, **flags):
    """What an attack on a combination is, and the notes of the tables."""
    trained = {method: {defense: checkpoint} if adaptive else checkpoint}
    own = {"trained": trained, "train": "python train.py {victim}", "adaptive": adaptive, **flags}
    made = stages(attacks={**settings()["attacks"], "mine": own, "reconstruction": own})
    found = made.factory.attackers.attack(Combination("default", method, policy, defense=defense, attack="mine"))
    return found, [note for note in made.factory.notes if note.startswith("The attack 'mine'")]


def test_whom_it_learned():
    found, notes = met("other.ckpt")
    assert isinstance(found, Attacker) and found.note is None and not notes


def test_another_policy_is_noted():
    found, notes = met("other.ckpt", policy="plain")
    assert isinstance(found, Attacker) and found.note == "learned on Other + ITM"
    assert notes == ["The attack 'mine' on Other: learned on Other + ITM."]


def test_another_method_is_refused_or_called_a_transfer():
    with pytest.raises(UserError, match=r"cannot attack Other \+ ITM: .* learned Pixelate \(blocks 2\).*method=other"):
        met("pixelate.ckpt")
    with pytest.raises(UserError, match="cannot attack PixelNoise"):
        met("pixelate.ckpt", method="noise", policy="none")
    found, notes = met("pixelate.ckpt", transfer=True)
    assert isinstance(found, Attacker) and found.note == "transfer from Pixelate (blocks 2)"
    assert notes == ["The attack 'mine' on Other + ITM: transfer from Pixelate (blocks 2)."]


def test_what_ships_is_no_attack_on_another_method():
    with pytest.raises(Unavailable, match=r"^needs an attack on Other, for the one that ships learned Pixelate"):
        met("shipped:pixelate")
    found, _ = met("shipped:pixelate", method="pixelate", policy="none")
    assert isinstance(found, Attacker) and found.note is None


def test_an_adaptive_attack_learned_its_defense():
    found, _ = met("other_half.ckpt", defense="half", adaptive=True)
    assert isinstance(found, Attacker) and found.note is None
    with pytest.raises(UserError, match=r"behind Resample \(scale 0.5\): it learned Other \+ ITM;"):
        met("other.ckpt", defense="half", adaptive=True)
    found, _ = met("other_half.ckpt", defense="half")  # under the naive one's name
    assert isinstance(found, Attacker) and found.note == "learned on Other + ITM behind Resample (scale 0.5)"


def test_old_checkpoints_are_called_unknown():
    found, (note,) = met("old.ckpt")
    assert isinstance(found, Attacker) and "unknown" in str(found.note) and "unknown" in note


def test_a_gradient_defense_works_against_an_attack_on_the_method():
    one = Combination("default", "other", "itm", defense="fgsm")
    fgsm = {"fgsm": {"_target_": "anon.defenses.gradient.FGSM", "_partial_": True, "epsilon": 0.1}}
    for checkpoint, refused in (("other.ckpt", False), ("pixelate.ckpt", True)):
        own = {"trained": {"other": checkpoint}, "train": "train"}
        made = stages(attacks={"reconstruction": own}, defenses=fgsm)
        if refused:
            with pytest.raises(UserError, match="cannot attack Other"):
                made.factory.defense(one)
        else:
            assert made.factory.defense(one).defense.epsilon == 0.1
