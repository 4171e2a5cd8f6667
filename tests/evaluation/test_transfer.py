"""The transfer matrix on the tiny world, worked out by hand, and the whole line from training to the matrix."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from torch import nn
from torch.nn import functional as F

from anon.anonymizers.filters import PixelNoise
from anon.apps import evaluate as evaluate_app
from anon.apps import train as train_app
from anon.attacks.reconstruction import Reconstruction
from anon.errors import UserError
from anon.evaluation import transfer
from anon.evaluation.protocol import first_of_each, halves
from anon.faces.contract import to_float, to_uint8
from tests.evaluation.tiny_world import Data, Projection, encoder, judge

FILES = ["histograms.png", "results.json", "table.csv", "table.md"]


class Dark(nn.Module):
    """Halves the range and darkens: nothing is brighter than grey, and nothing is lost but half of the eight bits."""

    def __init__(self):
        super().__init__()
        self.seen = 0

    def forward(self, images, *, source=None, key=None, track=None, rng=None):
        self.seen += len(images)
        return images / 2 - 0.5


def conditioned(seed):
    """An anonymizer that was trained with this recognizer."""
    victim = Dark()
    victim.encoder = encoder(seed)
    return victim


class Brighten(nn.Module):
    """What an attack on :class:`Dark` should learn: pictures without light are undone, others are left alone."""

    def forward(self, images):
        return torch.where(images.amax((1, 2, 3), keepdim=True) <= 0.01, (2 * images + 1).clamp(-1, 1), images)


def planted(checkpoint):
    """In the place of what ``experiment=reconstruction`` trained; the encoder's number follows the name."""
    name, _, seed = checkpoint.partition("@")
    return Reconstruction({"brighten": Brighten(), "nothing": nn.Identity()}[name], encoder(int(seed or 0)))


@pytest.fixture(autouse=True)
def attacks(monkeypatch):
    monkeypatch.setattr("anon.apps.victims.trained_attack", planted)


def config(**changes):
    """``dark`` can be undone, ``open`` changes nothing, of ``solid`` nothing is left."""
    protocol = {
        "_target_": "anon.evaluation.transfer.TransferProtocol",
        "far": 0.01,
        "resamples": 200,
        "batch_size": 5,
        "probes": 2,
        "victims": {
            "dark": {"_target_": "tests.evaluation.test_transfer.Dark"},
            "open": {"_target_": "anon.anonymizers.composed.Unchanged"},
            "solid": {"_target_": "anon.anonymizers.filters.SolidMask", "colour": [-1.0, -1.0, -1.0]},
        },
        "attacks": {"dark": "brighten", "solid": "nothing"},
    }
    given = {"seed": 3, "protocol": protocol, "logger": {"images": False}, "paths": {"cache": None}}
    return OmegaConf.merge(OmegaConf.create(given), {"protocol": changes})


def metrics(path):
    return {(row["method"], row["attack"]): row["metrics"] for row in json.loads(path.read_text())["rows"]}


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("anon.apps.victims.trained_attack", planted)
        folder = tmp_path_factory.mktemp("transfer")
        return transfer.run(judge(0x5EED), Data(), config(), folder, commit="abc")


def probes():
    faces = Data().faces("evaluation")
    probe = halves(faces).probe
    return faces.images[probe[first_of_each(faces.labels[probe], 2)]]


def test_the_attack_on_what_it_knows(evaluated):
    found = metrics(evaluated)["dark", "dark"]
    assert found["ID"]["value"] < 0.5 and found["RA"]["value"] == found["RA_rank1"]["value"] == 1.0
    assert found["RA"]["n"] == 14  # two probes of seven people
    assert (found["AUC"]["value"], found["EER"]["value"], found["AUC"]["n"]) == (1.0, 0.0, 28)
    bound = 0.025 ** (1 / 7)  # seven people, each a trial that went well
    assert found["AUC"]["low"] == pytest.approx(bound) and found["AUC"]["high"] == 1.0
    assert found["EER"]["low"] == 0.0 and found["EER"]["high"] == pytest.approx(1 - bound)
    assert found["flagged_genuine"]["value"] == found["distance_genuine"]["value"] == 0.0


def test_distances_are_the_judges_between_a_face_and_its_reconstruction(evaluated):
    """1 - cos of the projections of a darkened picture and of the picture that it was, both in eight bits."""
    dark = to_float(to_uint8(to_float(to_uint8(probes())) / 2 - 0.5))
    z, back = (F.normalize(Projection(0x5EED)(images).double()) for images in (dark, 2 * dark + 1))
    wanted = 1 - (z * back).sum(1)
    found = metrics(evaluated)["dark", "dark"]
    assert found["distance_changed"]["value"] == pytest.approx(float(wanted.median()), abs=1e-5)
    assert found["distance_changed"]["low"] <= float(wanted.median()) <= found["distance_changed"]["high"]
    assert found["flagged_changed"]["value"] == pytest.approx(float((wanted >= 0.6).double().mean()))


@pytest.mark.parametrize(("victim", "attack"), [("dark", "solid"), ("open", "solid"), ("solid", "solid")])
def test_an_attack_that_does_nothing_sees_nothing(evaluated, victim, attack):
    found = metrics(evaluated)[victim, attack]
    assert found["AUC"] == {"value": 0.5, "low": 0.5, "high": 0.5, "reason": None, "n": 28}
    assert found["EER"]["value"] == 0.5
    assert found["flagged_genuine"]["value"] == found["flagged_changed"]["value"] == 0.0
    assert found["RA"] == found["ID"]


def test_an_unchanged_face_is_found_and_cannot_be_told(evaluated):
    found = metrics(evaluated)["open", "dark"]
    assert found["ID"]["value"] == found["RA"]["value"] == 1.0 and found["AUC"]["value"] == 0.5


def test_of_a_solid_face_one_person_is_guessed(evaluated):
    """All probes are one picture, whose nearest entry is one of the eight people."""
    assert metrics(evaluated)["solid", "solid"]["RA_rank1"]["value"] in (0.0, pytest.approx(1 / 7))


def test_files(evaluated):
    folder = evaluated.parent
    assert sorted(path.name for path in folder.iterdir()) == FILES
    content = json.loads(evaluated.read_text())
    assert content["config"]["attacks"] == {"dark": "brighten", "solid": "nothing"}
    assert content["counts"]["chance"] == 1 / 8 and content["counts"]["detector_threshold"] == 0.6
    text = (folder / "table.md").read_text()
    assert "No attack was trained on: open." in text and "14 probes of 7 people" in text
    known = next(line for line in text.splitlines() if line.startswith("| dark"))  # RA of the attack on dark
    cells = [cell.strip() for cell in known.split("|")[2:-1]]
    assert cells[0] == "**1.000 [.590, 1.000]**" and not cells[1].startswith("**")  # .025^(1/7)
    rows = list(csv.DictReader((folder / "table.csv").open()))
    assert len(rows) == 6 * len(content["rows"][0]["metrics"])
    one = next(row for row in rows if (row["method"], row["attack"], row["metric"]) == ("dark", "dark", "RA"))
    assert float(one["value"]) == 1.0
    with Image.open(folder / "histograms.png") as picture:
        assert picture.size == (810, 440)  # three victims, two attacks


def test_of_people_who_exist_no_face_is_written(tmp_path):
    data = Data()
    data.faces("evaluation").synthetic = False
    transfer.run(judge(0x5EED), data, config(), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES


class Wiping:
    """An attack, or a defense, that works in place."""

    def images(self, changed):
        return changed.zero_()


def test_who_works_in_place_changes_nothing_for_the_next():
    """The kind: one tensor handed to several that may write to it. Also: defenses and adversaries of the ladder, and
    defenses and attacks of the noise's shares (defending.py), which met what the one before had left."""
    faces = Data().faces("evaluation")
    probe, embed = halves(faces).probe, judge(0x5EED).embed
    brighten = {"dark": planted("brighten")}
    alone = transfer.look({"dark": Dark()}, brighten, embed, faces, probe, 5, 0)
    after = transfer.look({"dark": Dark()}, {"wiping": Wiping(), **brighten}, embed, faces, probe, 5, 0)
    for key, z in alone.items():
        assert torch.equal(after[key], z)


def test_every_probe_is_changed_once_and_with_randomness_of_its_own():
    faces = Data().faces("evaluation")
    probe = halves(faces).probe
    dark, noise = Dark(), PixelNoise(0.3)
    embed = judge(0x5EED).embed
    attack = {"dark": planted("brighten"), "nothing": planted("nothing")}
    both = transfer.look({"dark": dark, "other": PixelNoise(0.3), "noise": noise}, attack, embed, faces, probe, 5, 0)
    assert dark.seen == len(probe)
    alone = transfer.look({"noise": noise}, attack, embed, faces, probe, 5, 0)
    assert set(alone) == {(shown, name) for shown in ("genuine", "noise") for name in ("none", "dark", "nothing")}
    for key, z in alone.items():
        assert torch.equal(both[key], z)


def test_refusals(tmp_path):
    with pytest.raises(UserError, match="trained with the judge"):
        transfer.run(judge(7), Data(), config(attacks={"dark": "brighten@7"}), tmp_path / "out")
    with pytest.raises(UserError, match="allow_training_encoder"):
        own = {"_target_": "tests.evaluation.test_transfer.conditioned", "seed": 7}
        transfer.run(judge(7), Data(), config(victims={"own": own}), tmp_path / "out")
    none = config()
    none.protocol.attacks = {}
    with pytest.raises(UserError, match="attack=transfer"):
        transfer.run(judge(1), Data(), none, tmp_path / "out")
    with pytest.raises(UserError, match="is no folder"):
        transfer.run(judge(1), Data(), config(folder=str(tmp_path / "absent")), tmp_path / "out")
    with pytest.raises(UserError, match="'genuine'"):
        transfer.run(judge(1), Data(), config(victims={"genuine": {"_target_": f"{__name__}.Dark"}}), tmp_path / "out")
    none.protocol.victims = {}
    with pytest.raises(UserError, match="names no anonymizer"):
        transfer.run(judge(1), Data(), none, tmp_path / "out")
    euclidean = judge(1)
    euclidean.metric = "euclidean"
    with pytest.raises(UserError, match="cosine"):
        transfer.run(euclidean, Data(), config(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_newest_attack_of_a_folder_unless_one_is_named(tmp_path):
    for name, run in (("dark", "2026-01-01"), ("dark", "2026-01-02"), ("solid", "2026-01-01"), ("blur", "2026-01-01")):
        file = tmp_path / name / "train" / "reconstruction" / run / "checkpoints" / "last.ckpt"
        file.parent.mkdir(parents=True)
        file.touch()
    rule = transfer.TransferProtocol(
        victims=dict.fromkeys(["dark", "open", "solid"]), attacks={"solid": "mine", "blur": "too"}, folder=str(tmp_path)
    )
    newest = tmp_path / "dark" / "train" / "reconstruction" / "2026-01-02" / "checkpoints" / "last.ckpt"
    assert transfer.attack_files(rule) == {"dark": str(newest), "solid": "mine", "blur": "too"}


def ran(main, patch, capsys, *words):
    patch.setattr(sys, "argv", ["script.py", *words])
    patch.setenv("HYDRA_FULL_ERROR", "0")
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code or 0, capsys.readouterr()


def test_from_training_to_the_matrix(tmp_path, monkeypatch, capsys):
    """Two steps against ``solid``; the checkpoint is found by its folder, and no generator is asked for."""
    monkeypatch.undo()
    small = [
        "data.identities={train: 12, background: 12, attacker: 4, evaluation: 6}",
        "data.images=6",
        "data.size=32",
        "logger=csv",
    ]
    training = ["experiment=reconstruction", "anonymizer@attack.victim=solid", "steps=2", "data.batch_size=4"]
    code, shown = ran(
        train_app.main, monkeypatch, capsys, *training, *small, f"paths.runs={tmp_path / 'ladder' / 'solid'}"
    )
    assert code == 0, shown.err
    left_out = [f"~protocol.victims.{name}" for name in ("fiva_itm", "facedancer_itm", "blur_weak", "pixelate")]
    words = ["protocol=transfer", f"protocol.folder={tmp_path / 'ladder'}", "protocol.far=0.01", *left_out, *small]
    words += ["protocol.resamples=20", "protocol.probes=1", "data.clips=0", f"paths.runs={tmp_path / 'runs'}"]
    code, shown = ran(evaluate_app.main, monkeypatch, capsys, *words)
    assert code == 0, shown.err
    path = Path(shown.out.splitlines()[-1])
    assert set(FILES) < {file.name for file in path.parent.iterdir()} and "checkpoint " not in shown.out
    found = metrics(path)
    assert set(found) == {("blur", "solid"), ("solid", "solid")}
    assert found["solid", "solid"]["RA"]["n"] == 6 and found["blur", "solid"]["AUC"]["n"] == 12
    words += ["judge=synthetic_a", f"output={tmp_path / 'here'}"]
    code, shown = ran(evaluate_app.main, monkeypatch, capsys, *words)
    assert code != 0 and "trained with the judge" in shown.err
    assert not (tmp_path / "here").exists()
