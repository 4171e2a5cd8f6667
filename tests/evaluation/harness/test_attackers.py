"""Attackers of a combination: planted ones change what their hook says and nothing else, and share nothing with the
defender; those that still want something get it."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch
from torch import nn

from anon.attacks.contract import Attack
from anon.errors import UserError
from anon.evaluation import protocol
from anon.evaluation.harness.attackers import Unavailable, recognizers_of
from anon.evaluation.harness.context import MeasureContext
from anon.evaluation.harness.pictures import Readers
from anon.evaluation.harness.stages import Stages
from anon.evaluation.harness.store import Store
from anon.evaluation.harness.suite import Combination, Suite
from anon.evaluation.measures.attacked import Attacked
from anon.evaluation.measures.retrieval import Retrieval
from anon.faces.datamodule import synthetic_data
from anon.faces.splits import EmptySplit
from anon.identity.encoder import Encoder
from anon.identity.judge import Judge
from anon.identity.networks.compact import CompactNet
from tests.evaluation.harness.tiny_stages import settings, stages
from tests.evaluation.tiny_world import Data, People, attack, encoder, judge

HERE = "tests.evaluation.harness.test_attackers"
JUDGE = 0x5EED
PATTERN = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(8)) * 2 - 1
PARROT = {"attack": {"_target_": "anon.attacks.parrot.Parrot", "_partial_": True}}


class Inverted(nn.Module):
    """The photographic negative."""

    def forward(self, images, *, source=None, key=None, track=None, rng=None):
        return -images


class NegativeGallery(Attack):
    def gallery(self, images):
        return -images


class VeiledGallery(Attack):
    """Everybody is enrolled behind one pattern: nearer to each other than they are."""

    def gallery(self, images):
        return 0.5 * images + 0.5 * PATTERN


class Undone(Attack):
    def images(self, changed):
        return -changed


class Even(Judge):
    """Sees no difference between a picture and its negative; compares all the same as the judge does."""

    def embed(self, images):
        return super().embed(images.abs())


def even():
    """What an attack's recognizer is built by."""
    return Even(encoder(JUDGE), flip=False)


class Remembers(nn.Module):
    """Adds a number that it draws once and keeps, and writes down who called it."""

    calls: ClassVar[list[tuple[float, int]]] = []

    def __init__(self) -> None:
        super().__init__()
        self.shift: float | None = None

    def forward(self, images, *, source=None, key=None, track=None, rng=None):
        assert source is None and key is None and track is None
        if self.shift is None:
            self.shift = float(torch.rand((), generator=rng))
        self.calls.append((self.shift, len(images)))
        return (0.5 * images + 0.2 * self.shift).clamp(-1, 1)


def attackers(victim, names, defense="none", **changes):
    """Figures by attack on an anonymizer of this file; ``names``: its attacks, or their settings."""
    given = {
        name: each if isinstance(each, dict) else {"attack": {"_target_": f"{HERE}.{each}"}}
        for name, each in names.items()
    }
    methods = {
        "real": {"title": "Real", "anonymizer": None},
        "mine": {"title": "Mine", "anonymizer": {"_target_": f"{HERE}.{victim}"}},
    }
    made = stages(
        data=Data(clips=2), judge=JUDGE, methods=methods, attacks=given, attacked_probes=2, resamples=200, **changes
    )
    contexts = {
        name: MeasureContext(made, Combination("default", "mine", defense=defense, attack=name))
        for name in ("none", *given)
    }
    return {name: Retrieval((1,))(context) | Attacked((1,))(context) for name, context in contexts.items()}


def values(figures):
    names = ("RA", "RA_rank1", "recalibrated", "threshold_adversary", "EER_adversary")
    return [figures[name].value for name in names]


def test_each_hook_changes_what_it_says():
    """Everybody is drawn as the negative. The judge is linear, so each hook that negates finds all, by hand."""
    own = {"_target_": "anon.attacks.recognizer.OwnRecognizer", "recognizer": {"_target_": f"{HERE}.even"}}
    found = attackers(
        "Inverted",
        {
            "nothing": {"attack": {"_target_": "anon.attacks.contract.Attack"}},
            "images": "Undone",
            "probe": {"attack": {"_target_": "anon.attacks.negation.Negation"}},
            "gallery": "NegativeGallery",
            "judge": {"attack": own},
        },
    )
    ra, _, recalibrated, threshold, eer = values(found["nothing"])
    assert found["none"]["ID"].value == ra == recalibrated == 0.0 and 0 < threshold < 1
    assert found["nothing"]["RA"].n == 14  # two probes of seven people
    assert found["nothing"]["RA"].high == pytest.approx(1 - 0.025 ** (1 / 7))
    for hook in ("images", "probe"):  # found with the judge's own threshold
        assert values(found[hook]) == [1.0, 1.0, 0.0, threshold, eer]
    gallery = values(found["gallery"])  # -z and -z' are as far apart as z and z'
    assert gallery == pytest.approx([1.0, 1.0, 1.0, threshold, eer], abs=1e-3)  # eight bits

    background = Data(clips=2).faces("background")
    known = protocol.some_of_each(background, 10)
    exact = protocol.calibrate(even().embed(background.images[known]), background.labels[known], 0.01, "it")
    judged = values(found["judge"])
    assert judged[:3] == [1.0, 1.0, 1.0]
    assert judged[3] == pytest.approx(exact.threshold, abs=5e-3) != pytest.approx(threshold, abs=5e-3)
    assert judged[4] == pytest.approx(exact.eer, abs=1e-3)


def test_the_threshold_is_of_people_who_are_enrolled_in_the_same_way():
    found = attackers(
        "Inverted", {"nothing": {"attack": {"_target_": "anon.attacks.contract.Attack"}}, "veiled": "VeiledGallery"}
    )
    background = Data(clips=2).faces("background")
    known = protocol.some_of_each(background, 10)
    z = judge(JUDGE).embed(0.5 * background.images[known] + 0.5 * PATTERN)
    exact = protocol.calibrate(z, background.labels[known], 0.01, "it")
    veiled, nothing = (found[name]["threshold_adversary"] for name in ("veiled", "nothing"))
    assert veiled.value == pytest.approx(exact.threshold, abs=5e-3)  # eight bits
    assert veiled.value < 0.7 * nothing.value and veiled.low <= veiled.value <= veiled.high


def test_the_parrots_anonymizer_is_its_own():
    alone = attackers("Remembers", {})
    Remembers.calls.clear()
    found = attackers("Remembers", {"parrot": PARROT})
    assert found["none"]["ID"] == alone["none"]["ID"]  # the defender did not notice
    called = {who: sum(count for other, count in Remembers.calls if other == who) for who, _ in Remembers.calls}
    data = Data(clips=2)
    faces, background = data.faces("evaluation"), data.faces("background")
    half = protocol.halves(faces)
    anonymized = len(stages(data=data, attacked_probes=2).subjects("default").items)
    calibrating = len(protocol.calibrating(background, 10).every)
    assert sorted(called.values()) == sorted([calibrating, len(half.enrol), anonymized])
    assert found["parrot"]["recalibrated"].value == 1.0


def test_defenses_reach_the_parrots_gallery():
    """Noise as large as the range: by its own noisy gallery the parrot's threshold is another."""
    noise = {"loud": {"_target_": "anon.defenses.noise.UniformNoise", "epsilon": 2.0}}
    plain, noisy = (
        attackers("Inverted", {"parrot": PARROT}, defense, defenses=noise)["parrot"] for defense in ("none", "loud")
    )
    assert plain["RA"].value == 1.0 and plain["EER_adversary"].value < noisy["EER_adversary"].value


def test_the_linear_attacker_undoes_a_linear_change():
    """Of the attacker's ten people, with whom the 32 dimensions are not spanned; alone nobody is found."""
    linear = {"attack": {"_target_": "anon.attacks.linear.Linear", "_partial_": True}}
    found = attackers("Inverted", {"linear": linear, "half": "Undone"})
    assert found["none"]["ID"].value == 0.0
    assert found["linear"]["RA_rank1"].value > 0.5 > found["none"]["ID_rank1"].value
    assert found["linear"]["ssim_recovered"].reason == "n/a (the attack recovers no picture)"


def test_the_linear_attacker_learns_behind_the_defense(tmp_path):
    """The published software, defense and all: other pairs, another key, found again under it by the next process."""
    linear = {"attack": {"_target_": "anon.attacks.linear.Linear", "_partial_": True}}
    keys = set()
    for _ in range(2):
        made = stages(tmp_path, attacks={**settings()["attacks"], "linear": linear})
        for one in (("pixelate", "none"), ("pixelate", "half"), ("noise", "none")):
            context = MeasureContext(made, Combination("default", one[0], defense=one[1], attack="linear"))
            assert context.needs() is None
            context.gallery, context.z("seen")
            keys.add(made.factory.attackers.attack(context.one).key)
    assert len(keys) == 3 and not made.store.made


def test_who_has_nobody_to_learn_from():
    linear = {"attack": {"_target_": "anon.attacks.linear.Linear", "_partial_": True}}
    made = stages(attacks={"linear": linear})
    swap = Combination("default", "other", "source", attack="linear")
    assert MeasureContext(made, swap).needs() == "n/a (a swap needs another person's face)"
    untrained = Combination("default", "untrained", "itm", attack="linear")
    assert str(MeasureContext(made, untrained).needs()).startswith("needs python train.py experiment=untrained")


@pytest.mark.parametrize("people", [None, 1])
def test_a_set_without_attackers_ends_no_table(people):
    """Nobody, or one person, falls into the attacker's split of a small folder."""

    class Small(Data):
        def faces(self, split):
            if split == "attacker" and people is None:
                raise EmptySplit("none of the identities falls into it")
            return People("attacker", people) if split == "attacker" else super().faces(split)

    linear = {"attack": {"_target_": "anon.attacks.linear.Linear", "_partial_": True}}
    made = stages(data=Small(), attacks={"linear": linear})
    told = MeasureContext(made, Combination("default", "pixelate", attack="linear")).needs()
    assert told == f"n/a ({'nobody' if people is None else 'one person'} in the split 'attacker')"


def test_a_recognizer_that_nobody_trained_is_said_with_its_command():
    tuned = {**PARROT["attack"], "recognizer": {"_target_": f"{HERE}.even", "checkpoint": None}}
    command = "python train.py experiment=parrot {victim}"
    made = stages(attacks={"tuned": {"attack": tuned, "train": command}})
    with pytest.raises(Unavailable) as raised:
        made.factory.attackers.attack(Combination("default", "other", "itm", attack="tuned"))
    assert str(raised.value) == (
        "needs python train.py experiment=parrot method=other policy=itm, then "
        "suite.attacks.tuned.attack.recognizer.checkpoint=<its checkpoint>"
    )


@pytest.fixture
def asked(monkeypatch):
    """The checkpoints of attacks that are asked for, each of which gives an attack that says nothing of its victim."""
    names = []

    def trained(checkpoint):
        names.append(str(checkpoint))
        found = attack("-1")
        found.learned_on = None
        return found

    monkeypatch.setattr("anon.apps.victims.trained_attack", trained)
    return names


def newest_of(folder, method):
    """Two runs of an attack on a method, as a multirun leaves them; the newer checkpoint."""
    for run in ("2026-01-01", "2026-01-02"):
        file = folder / method / "train" / "reconstruction" / run / "checkpoints" / "last.ckpt"
        file.parent.mkdir(parents=True)
        file.touch()
    return str(file)


def test_an_attack_for_each_method(tmp_path, asked):
    """By the checkpoint that is named for the method, the newest in the folder of a multirun, or what ships; else its
    command."""
    folder = newest_of(tmp_path, "pixelate")
    ships = {"pixelate": "shipped:pixelate", "dark": "shipped:dark"}
    entry = {"train": "train it", "trained": {"noise": "mine", **ships}, "folder": str(tmp_path)}
    made = stages(attacks={"reconstruction": entry})
    for method in ("pixelate", "noise", "dark"):
        made.factory.attackers.trained("reconstruction", Combination("default", method), "none")
    assert asked == [folder, "mine", "shipped:dark"]
    with pytest.raises(Unavailable) as raised:
        made.factory.attackers.trained("reconstruction", Combination("default", "real"), "none")
    assert str(raised.value) == "needs train it, then +suite.attacks.reconstruction.trained.real=<file>"


def test_one_attack_for_all_methods(tmp_path, asked):
    """By its checkpoint, else the newest on what it learned in a folder; else the command that trains it."""
    file = newest_of(tmp_path, "dark")
    entry = {"transfer": True, "train": "train it", "victim": "dark", "folder": str(tmp_path), "checkpoint": None}
    attacks = {
        "newest": entry,
        "named": {**entry, "checkpoint": "mine"},
        "absent": {**entry, "victim": "nobody"},
    }
    made = stages(attacks=attacks)
    for name in ("newest", "named"):
        made.factory.attackers.attack(Combination("default", "pixelate", attack=name))
    assert asked == [file, "mine"]
    with pytest.raises(Unavailable) as raised:
        made.factory.attackers.attack(Combination("default", "pixelate", attack="absent"))
    assert str(raised.value) == "needs train it, then +suite.attacks.absent.checkpoint=<file>"


@pytest.mark.parametrize(
    "victim",
    [
        {"_target_": "anon.anonymizers.filters.Pixelate", "blocks": 8},
        {"_target_": "anon.anonymizers.filters.GaussianBlur", "sigma": 0.1},
    ],
)
def test_filters_hide_from_the_naive_and_not_from_the_parrot(victim):
    """Of rendered faces by the shipped judge (Newton et al. 2005; McPherson et al. 2016)."""
    counts = {"train": 2, "background": 16, "attacker": 2, "evaluation": 12}
    data = synthetic_data(64, counts, 6, 0, 1, batch_size=8)
    shipped = Judge(Encoder(CompactNet(), 64, name="synthetic_b", weights="shipped:synthetic_b"))
    own = settings(
        methods={"real": {"title": "Real", "anonymizer": None}, "mine": {"title": "Mine", "anonymizer": victim}},
        attacks={"parrot": PARROT},
        attacked_probes=3,
    )
    made = Stages(Suite(**own), lambda name: data, shipped, Readers(), Store(None), 0, torch.device("cpu"))
    contexts = [MeasureContext(made, Combination("default", *one)) for one in (("real",), ("mine",))]
    real, naive = (Retrieval((1,))(context) for context in contexts)
    parrot = Attacked((1,))(MeasureContext(made, Combination("default", "mine", attack="parrot")))
    assert real["ID_rank1"].value > 0.9
    assert parrot["RA"].value > naive["ID"].value + 0.3
    assert parrot["RA_rank1"].value > naive["ID_rank1"].value


def test_an_attack_that_was_trained_with_the_judge_is_refused():
    spy = {"attack": {"_target_": "tests.evaluation.tiny_world.attack", "checkpoint": "-1", "seed": JUDGE}}
    with pytest.raises(UserError, match="trained with the judge"):
        attackers("Inverted", {"spy": spy})


def test_a_cloak_over_what_a_method_draws_is_made_on_recognizers() -> None:
    """A judge that it deceives is found there, and refused as that of a cloak alone."""
    deceived, cloak, method = encoder(3), nn.Module(), nn.Module()
    cloak.recognizers = nn.ModuleDict({"a": deceived})
    method.cloak = cloak
    assert recognizers_of(method) == recognizers_of(cloak) == (deceived,)
    method.cloak = None
    assert recognizers_of(method) == ()
