"""The ladder: planted attacks change what their hook says and nothing else, and nothing is shared with the defender."""

from __future__ import annotations

import csv
import json
from typing import ClassVar

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from anon.apps import victims
from anon.attacks.contract import Attack
from anon.errors import UserError
from anon.evaluation import ladder, protocol
from anon.faces.datamodule import synthetic_data
from anon.identity.encoder import Encoder
from anon.identity.judge import Judge
from anon.identity.networks.compact import CompactNet
from tests.evaluation.tiny_world import CONFIG, Data, Negative, attack, encoder, judge

HERE = "tests.evaluation.test_ladder"
JUDGE = 0x5EED
PATTERN = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(8)) * 2 - 1


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


def config(adversaries, defenses=("none",), **rest):
    known = {
        "none": {"_target_": "anon.defenses.contract.NoDefense"},
        "uniform_noise": {"_target_": "anon.defenses.noise.UniformNoise", "epsilon": 2.0},
        "off": None,
        "fgsm": {"_target_": "anon.defenses.gradient.FGSM", "_partial_": True, "epsilon": 2.0},
    }
    rule = {
        **CONFIG["protocol"],
        "_target_": "anon.evaluation.ladder.LadderProtocol",
        "_recursive_": False,
        "probes": 2,
        "defenses": {name: known[name] for name in defenses},
        "adversaries": {
            name: given if isinstance(given, dict) or given is None else {"_target_": f"{HERE}.{given}"}
            for name, given in adversaries.items()
        },
        **rest,
    }
    return OmegaConf.create({**CONFIG, "protocol": rule})


def run(output, adversaries, *args, **rest):
    asked = config(adversaries, *args, **rest)
    path = ladder.run(Negative(), encoder(0), judge(JUDGE), Data(clips=2), asked, output)
    rows = json.loads(path.read_text())["rows"]
    return {(row["defense"], row["adversary"]): row["metrics"] for row in rows}


def values(metrics):
    return {name: figure["value"] for name, figure in metrics.items()}


def test_each_hook_changes_what_it_says(tmp_path):
    """Everybody is drawn as the negative. The judge is linear, so each hook that negates finds all, by hand."""
    rows = run(
        tmp_path,
        {
            "none": "Attack",
            "images": "Undone",
            "probe": {"_target_": "anon.attacks.negation.Negation"},
            "gallery": "NegativeGallery",
            "judge": {"_target_": "anon.attacks.recognizer.OwnRecognizer", "recognizer": {"_target_": f"{HERE}.even"}},
            "off": None,
        },
    )
    none = values(rows["none", "none"])
    assert [name for _, name in rows] == ["Real", "none", "images", "probe", "gallery", "judge"]
    assert values(rows["none", "Real"]) == {**none, "found": 1.0, "rank1": 1.0}
    assert none["found"] == 0.0 and none["recalibrated"] == 0.0 and 0 < none["threshold"] < 1
    for hook in ("images", "probe"):  # found with the judge's own threshold
        assert values(rows["none", hook]) == {**none, "found": 1.0, "rank1": 1.0}
    gallery = values(rows["none", "gallery"])  # -z and -z' are as far apart as z and z'
    assert gallery == pytest.approx({**none, "found": 1.0, "rank1": 1.0, "recalibrated": 1.0}, abs=1e-3)  # eight bits

    background = Data(clips=2).faces("background")
    known = protocol.some_of_each(background, 10)
    exact = protocol.calibrate(even().embed(background.images[known]), background.labels[known], 0.01, "it")
    own = values(rows["none", "judge"])
    assert own["found"] == own["rank1"] == own["recalibrated"] == 1.0
    assert own["threshold"] == pytest.approx(exact.threshold, abs=5e-3) != pytest.approx(none["threshold"], abs=5e-3)
    assert own["eer"] == pytest.approx(exact.eer, abs=1e-3)
    assert rows["none", "none"]["found"]["high"] == pytest.approx(1 - 0.025 ** (1 / 7))
    assert rows["none", "none"]["found"]["n"] == 14  # two probes of seven people


def test_the_threshold_is_of_people_who_are_enrolled_in_the_same_way(tmp_path):
    rows = run(tmp_path, {"none": "Attack", "veiled": "VeiledGallery"})
    background = Data(clips=2).faces("background")
    known = protocol.some_of_each(background, 10)
    z = judge(JUDGE).embed(0.5 * background.images[known] + 0.5 * PATTERN)
    exact = protocol.calibrate(z, background.labels[known], 0.01, "it")
    veiled, none = values(rows["none", "veiled"]), values(rows["none", "none"])
    assert veiled["threshold"] == pytest.approx(exact.threshold, abs=5e-3)  # eight bits
    assert veiled["threshold"] < 0.7 * none["threshold"]
    table = (tmp_path / "table.md").read_text()
    assert table.count(" * |") == 1 and "chance (rank-1) is 0.12" in table  # eight people are enrolled
    lines = list(csv.DictReader((tmp_path / "table.csv").open()))
    found = [line for line in lines if line["adversary"] == "veiled" and line["metric"] == "threshold"]
    assert float(found[0]["value"]) == veiled["threshold"] and found[0]["defense"] == "none"


def test_the_parrots_anonymizer_is_its_own(tmp_path):
    parrot = {"_target_": "anon.attacks.parrot.Parrot", "_partial_": True}
    victim = {"_target_": f"{HERE}.Remembers"}
    alone = run(tmp_path / "alone", {"none": "Attack"}, victim=victim)
    Remembers.calls.clear()
    rows = run(tmp_path / "with", {"parrot": parrot, "none": "Attack"}, victim=victim)
    assert rows["none", "none"] == alone["none", "none"]  # the defender did not notice
    called = {who: sum(count for other, count in Remembers.calls if other == who) for who, _ in Remembers.calls}
    background = len(protocol.some_of_each(Data(clips=2).faces("background"), 10))
    enrolled = len(protocol.halves(Data(clips=2).faces("evaluation")).enrol)
    assert sorted(called.values()) == sorted([background, enrolled, 14])
    assert values(rows["none", "parrot"])["recalibrated"] == 1.0


def test_defenses_reach_the_parrots_gallery(tmp_path):
    """Noise as large as the range: by its own noisy gallery the parrot's threshold is another."""
    parrot = {"_target_": "anon.attacks.parrot.Parrot", "_partial_": True}
    rows = run(tmp_path, {"parrot": parrot, "none": "Attack"}, ("none", "off", "uniform_noise"))
    assert {defense for defense, _ in rows} == {"none", "uniform_noise"}
    plain, noisy = values(rows["none", "parrot"]), values(rows["uniform_noise", "parrot"])
    assert plain["found"] == 1.0 and plain["eer"] < noisy["eer"]
    assert values(rows["uniform_noise", "Real"])["found"] < values(rows["none", "Real"])["found"] == 1.0
    assert values(rows["uniform_noise", "none"])["threshold"] == values(rows["none", "none"])["threshold"]


def test_attacks_by_checkpoint(tmp_path, monkeypatch):
    """Retrained ones stand in the rows of their defense, transferred ones in all; an old folder gives the rest."""

    def trained(checkpoint):
        return attack("-1" if checkpoint.endswith("last.ckpt") else checkpoint)

    monkeypatch.setattr(victims, "trained_attack", trained)
    kept = tmp_path / "runs" / "none" / "train" / "reconstruction" / "2026-01-01" / "checkpoints" / "last.ckpt"
    kept.parent.mkdir(parents=True)
    kept.touch()
    fixed = {"_target_": "tests.evaluation.tiny_world.attack", "checkpoint": "-1", "seed": 0}
    rows = run(
        tmp_path,
        {"none": "Attack", "reconstruction": fixed},
        ("none", "uniform_noise", "fgsm"),
        retrained={"uniform_noise": "+1"},
        folder=str(tmp_path / "runs"),
        transferred={"blur": "+1"},
    )
    by_defense = {defense: [name for each, name in rows if each == defense] for defense, _ in rows}
    common = ["Real", "none", "reconstruction", "transferred from blur"]
    assert by_defense == {
        "none": [*common, "retrained"],
        "uniform_noise": [*common, "retrained"],
        "fgsm": common,
    }
    assert values(rows["none", "reconstruction"])["found"] == values(rows["none", "retrained"])["found"] == 1.0
    assert values(rows["none", "transferred from blur"])["found"] == 0.0
    assert values(rows["fgsm", "reconstruction"])["found"] < 1.0
    assert "| .996 " in (tmp_path / "table.md").read_text()  # FIVA + ITM, table 3


def test_what_is_refused(tmp_path):
    with pytest.raises(UserError, match="retrained names 'blur'"):
        run(tmp_path, {"none": "Attack"}, retrained={"blur": "x.ckpt"})
    spy = {"_target_": "tests.evaluation.tiny_world.attack", "checkpoint": "-1", "seed": JUDGE}
    with pytest.raises(UserError, match="trained with the judge"):
        run(tmp_path, {"spy": spy})
    with pytest.raises(UserError, match="encoder that the generator was trained with"):
        ladder.run(Negative(), encoder(JUDGE), judge(JUDGE), Data(), config({"none": "Attack"}), tmp_path)
    assert not (tmp_path / "results.json").exists()


@pytest.mark.parametrize(
    "victim",
    [
        {"_target_": "anon.anonymizers.filters.Pixelate", "blocks": 8},
        {"_target_": "anon.anonymizers.filters.GaussianBlur", "sigma": 0.1},
    ],
)
def test_filters_hide_from_the_naive_and_not_from_the_parrot(tmp_path, victim):
    """Of rendered faces by the shipped judge (Newton et al. 2005; McPherson et al. 2016)."""
    counts = {"train": 2, "background": 16, "attacker": 2, "evaluation": 12}
    data = synthetic_data(64, counts, 6, 0, 1, batch_size=8)
    parrot = {"_target_": "anon.attacks.parrot.Parrot", "_partial_": True}
    shipped = Judge(Encoder(CompactNet(), 64, name="synthetic_b", weights="shipped:synthetic_b"))
    asked = config({"none": "Attack", "parrot": parrot}, victim=victim, far=0.01, probes=3)
    path = ladder.run(Negative(), encoder(0), shipped, data, asked, tmp_path)
    rows = {row["adversary"]: values(row["metrics"]) for row in json.loads(path.read_text())["rows"]}
    assert rows["Real"]["rank1"] > 0.9
    assert rows["parrot"]["found"] > rows["none"]["found"] + 0.3
    assert rows["parrot"]["rank1"] > rows["none"]["rank1"]
