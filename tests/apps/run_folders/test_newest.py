"""``last:<experiment>``: one's own newest run, else what ships; and a training keeps the record of its victim.

Kind: a default that is another thing than the user's own. Instances: every method of conf/method that has a
checkpoint, and attack=reconstruction.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from anon import weights
from anon.anonymizers.filters import GaussianBlur
from anon.apps.checkpoints import read_checkpoint, restore_generator
from anon.apps.evaluate import _attack_on
from anon.apps.run_folders.folder import LAST
from anon.apps.run_folders.newest import name_newest
from anon.apps.victims import record_of, shipped_on, trained_attack
from anon.errors import UserError
from anon.weights.files import fingerprint
from tests.apps.conftest import Command, folder_of
from tests.apps.test_configs import composed
from tests.apps.test_evaluate import SMALL

CHEAP = (*SMALL, "suite.resamples=20", "suite.far=0.01", "data.clips=0", "suite.tables.robustness=null")
CHEAP += ("judge=synthetic_b",)


def run(root: Path, name: str, checkpoint: bool = True, scale: str = "default", data: str = "synthetic") -> Path:
    folder = root / "train" / "fiva" / name
    (folder / LAST).parent.mkdir(parents=True)
    OmegaConf.save({"scale": scale, "data": {"name": data, "root": None}}, folder / "config.yaml")
    if checkpoint:
        (folder / LAST).touch()
    return folder / LAST


def test_ones_own_newest_run_else_what_ships(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def named(method: str = "fiva", *words: str, **options: object) -> str:
        config = composed("train", "experiment=reconstruction", f"method={method}", *words)
        config.paths.runs = str(tmp_path)
        name_newest(config, "method", **options)  # type: ignore[arg-type]
        return str(config.attack.method.anonymizer.checkpoint)

    assert named() == "shipped:fiva" and named("facedancer") == "shipped:facedancer"
    assert "method.anonymizer.checkpoint shipped:fiva" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"experiment=simswap with a checkpoint.*none ships; train one"):
        named("simswap")
    own = run(tmp_path, "2026-11-02")
    run(tmp_path, "2026-11-01")
    run(tmp_path, "2026-11-03", checkpoint=False)
    run(tmp_path, "2026-11-04", scale="paper")
    run(tmp_path, "2026-11-05", data="folder")
    assert named() == named("fiva", "policy=negation") == str(own)
    assert named("fiva", "checkpoints=shipped") == "shipped:fiva"
    assert named(fits=lambda file: file != str(own)).endswith("2026-11-01/checkpoints/last.ckpt")
    begun = OmegaConf.create({"method": {"anonymizer": {"checkpoint": "/what/it/began/with"}}})
    assert named(continued=begun) == "/what/it/began/with"


def test_what_ships_says_whom_it_learned() -> None:
    """The record that was written by hand is that of the generator and the encoder that ship."""
    record = trained_attack("shipped:reconstruction").learned_on
    generator, encoder, *_ = restore_generator("shipped:fiva")
    assert record is not None and record == weights.index()["reconstruction"]["config"]["victim"]
    assert (record["weights"], record["encoder"]) == (fingerprint(generator), fingerprint(encoder))
    assert record["defense"] is None and record["policy"]["policy"]["mirrored"] is True


def test_of_attacks_that_ship_the_one_that_learned_it_is_taken(tmp_path: Path) -> None:
    for checkpoint, attack in (("fiva", "reconstruction"), ("facedancer", "reconstruction_facedancer")):
        words = ["experiment=fiva", f"checkpoint=shipped:{checkpoint}", "attack=reconstruction"]
        config = composed("evaluate", *words)
        config.paths.runs = str(tmp_path)
        name_newest(config, "attack", fits=_attack_on(f"shipped:{checkpoint}"))
        assert config.attack.checkpoint == f"shipped:{attack}"
    assert shipped_on(GaussianBlur(0.1)) == "shipped:reconstruction_blur"
    assert shipped_on(GaussianBlur(0.05)) is None


@pytest.mark.slow
def test_an_attack_on_ones_own_generator_meets_it_and_nobody_else(train: Command, evaluate: Command) -> None:
    """From training to the table: ``experiment=facedancer attack=reconstruction`` printed an RA of .000."""
    few = ("steps=2", "data.batch_size=4", *SMALL)
    generator = folder_of(train("experiment=fiva", *few)) / LAST
    ended = train("experiment=reconstruction", *few)
    assert f"method.anonymizer.checkpoint {generator}" in ended.out, ended.err
    attack = folder_of(ended) / LAST
    record = record_of(read_checkpoint(attack)[1])
    assert record is not None and record["weights"] == fingerprint(restore_generator(generator).generator)  # type: ignore[arg-type]

    ended = evaluate("experiment=fiva", "attack=reconstruction", *CHEAP)
    assert ended.code == 0 and f"attack.checkpoint {attack}" in ended.out, ended.err
    content = json.loads(Path(ended.out.splitlines()[-1]).read_text())
    attacked = {line["policy"]: line for line in content["lines"] if line["attack"] == "given"}
    assert attacked["itm"]["learned"] is None and attacked["itm"]["metrics"]["RA"]["value"] is not None
    assert attacked["plain"]["learned"] == attacked["sampling"]["learned"] == "learned on FIVA + ITM"
    assert "The attack 'given' on FIVA + Sampling: learned on FIVA + ITM." in content["notes"]

    other = ("experiment=fiva", "checkpoint=shipped:facedancer", "attack=reconstruction", *CHEAP)
    ended = evaluate(*other)
    assert ended.code == 0 and "attack.checkpoint shipped:reconstruction_facedancer" in ended.out, ended.err
    content = json.loads(Path(ended.out.splitlines()[-1]).read_text())
    attacked = {line["policy"]: line for line in content["lines"] if line["attack"] == "given"}
    assert attacked["itm"]["learned"] is None and attacked["itm"]["metrics"]["RA"]["value"] is not None

    ended = evaluate(*other, "attack.checkpoint=shipped:reconstruction")
    content = json.loads(Path(ended.out.splitlines()[-1]).read_text())
    attacked = {line["policy"]: line for line in content["lines"] if line["attack"] == "given"}
    needs = "the one that ships learned FIVA + ITM: python train.py experiment=reconstruction method="
    assert needs + "facedancer policy=itm" in attacked["itm"]["needs"] and not attacked["itm"]["metrics"]

    ended = evaluate(*other, f"attack.checkpoint={attack}")
    assert ended.code == 2 and "cannot attack FaceDancer" in ended.err and "the attack learned FIVA + ITM" in ended.err
    ended = evaluate(*other, f"attack.checkpoint={attack}", "+suite.attacks.given.transfer=true")
    assert ended.code == 0, ended.err
    content = json.loads(Path(ended.out.splitlines()[-1]).read_text())
    assert {line["learned"] for line in content["lines"] if line["attack"] == "given"} == {
        None,
        "transfer from FIVA + ITM",
    }


@pytest.mark.parametrize("name", ["a" * 5000, "", "../../etc", "/etc", "a\0b"])
def test_a_name_that_no_experiment_has(name: str, tmp_path: Path) -> None:
    """5,000 letters were an OSError of the file system."""
    config = composed("train", "experiment=reconstruction", f"paths.runs={tmp_path}")
    config.attack = {"checkpoint": f"last:{name}"}
    with pytest.raises(UserError, match="names no experiment"):
        name_newest(config, "attack")
