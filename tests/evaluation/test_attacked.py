"""RA in table 1 and table 3 on the tiny world: a generator that negates the picture, and an attack that knows."""

from __future__ import annotations

import json

import pytest
from omegaconf import OmegaConf
from torch import nn

from anon.attacks.reconstruction import Reconstruction
from anon.errors import UserError
from anon.evaluation import table1, table3
from anon.generators.contract import Redrawn
from tests.evaluation.test_table1 import CONFIG
from tests.evaluation.tiny_world import Data, encoder, judge


class Negative(nn.Module):
    """Draws the photographic negative, whatever z is."""

    steers = -1

    def forward(self, target, z):
        return Redrawn(-target, None)


class Scale(nn.Module):
    """Multiplies; by -1 it undoes :class:`Negative`."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, images):
        return images * self.factor


def attack(checkpoint, seed=0):
    """What ``attack=reconstruction`` builds: here the checkpoint's name is the factor."""
    return Reconstruction(Scale(float(checkpoint)), encoder(seed))


def config(checkpoint, protocol=None, seed=0):
    given = {"_target_": "tests.evaluation.test_attacked.attack", "checkpoint": checkpoint, "seed": seed}
    return OmegaConf.merge(OmegaConf.create(CONFIG), {"attack": given, "protocol": protocol or {}})


def metrics(path, key="method"):
    return {row[key]: row["metrics"] for row in json.loads(path.read_text())["rows"]}


def test_ra_is_a_column_where_an_attack_is_given(tmp_path):
    path = table1.run(Negative(), encoder(0), judge(0x5EED), Data(clips=2), config("-1"), tmp_path / "undone")
    for name, row in metrics(path).items():
        assert row["RA"]["value"] == row["RA_rank1"]["value"] == (0.0 if name == "Real" else 1.0)
    assert "| RA ↓" in (tmp_path / "undone" / "table.md").read_text()
    path = table1.run(Negative(), encoder(0), judge(0x5EED), Data(clips=2), config("1"), tmp_path / "not")
    assert metrics(path)["FIVA + ITM"]["RA"]["value"] == 0.0
    assert metrics(path)["Real"]["RA"]["value"] == 1.0
    path = table1.run(
        Negative(), encoder(0), judge(0x5EED), Data(clips=2), OmegaConf.create(CONFIG), tmp_path / "without"
    )
    assert "RA" not in (tmp_path / "without" / "table.md").read_text()


def test_the_attacks_own_recognizer_does_not_judge(tmp_path):
    with pytest.raises(UserError, match="trained with the judge"):
        table1.run(Negative(), encoder(0), judge(7), Data(), config("-1", seed=7), tmp_path)


DEFENSES = {
    "_target_": "anon.evaluation.table3.DefenseProtocol",
    "probes": 2,
    "defenses": {
        "none": {"_target_": "anon.defenses.contract.NoDefense"},
        "uniform_noise": {"_target_": "anon.defenses.noise.UniformNoise", "epsilon": 2.0},
        "fgsm": {"_target_": "anon.defenses.gradient.FGSM", "_partial_": True, "epsilon": 2.0},
    },
}


def test_table3(tmp_path, capsys):
    """Noise as large as the range stops both attackers; the adaptive one of ``none`` has learned nothing."""
    protocol = {**DEFENSES, "adaptive": {"none": "1"}}
    path = table3.run(Negative(), encoder(0), judge(0x5EED), Data(clips=2), config("-1", protocol), tmp_path)
    rows = metrics(path, "defense")
    assert list(rows) == ["none", "uniform_noise", "fgsm"]
    none, noise = rows["none"], rows["uniform_noise"]
    assert none["RA"]["value"] == 1.0 and none["ID"]["value"] == 0.0 and none["RA_adaptive"]["value"] == 0.0
    assert none["ssim"]["value"] == pytest.approx(1.0, abs=0.01)  # eight bits
    assert noise["RA"]["value"] < 0.5 and noise["ssim"]["value"] < 0.5
    assert noise["RA_adaptive"]["reason"] == "not trained"
    assert rows["fgsm"]["RA"]["value"] < 1.0
    assert none["RA"]["n"] == 14  # two probes of seven people
    table = capsys.readouterr().out
    assert "| **uniform_noise** " in table and ".004" in table and "RA adaptive" in table


@pytest.mark.parametrize("name", ["anon.attacks.parrot.Parrot", "anon.attacks.recognizer.OwnRecognizer"])
def test_whoever_enrols_or_recognizes_for_himself_is_sent_to_the_ladder(name):
    attack = {"_target_": name, "_partial_": name.endswith("Parrot")}
    if not attack["_partial_"]:
        attack["recognizer"] = None
    with pytest.raises(UserError, match="experiment=ladder"):
        table1.adversary(attack, judge(1), "cpu")
    assert table1.adversary(attack, judge(1), "cpu", whole=True) is not None


def test_table3_needs_a_trained_attack(tmp_path):
    with pytest.raises(UserError, match="attack=reconstruction"):
        table3.run(
            Negative(),
            encoder(0),
            judge(1),
            Data(),
            OmegaConf.merge(OmegaConf.create(CONFIG), {"protocol": DEFENSES}),
            tmp_path,
        )
    with pytest.raises(UserError, match="adaptive names 'blur'"):
        protocol = {**DEFENSES, "adaptive": {"blur": "1"}}
        table3.run(Negative(), encoder(0), judge(1), Data(), config("-1", protocol), tmp_path)
