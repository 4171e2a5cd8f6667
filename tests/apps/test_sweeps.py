"""The multiruns of attackers: a run folder for every rung, and the same command goes on where it was stopped."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from anon.apps import runs
from anon.apps.config import choices, config_dir
from tests.apps.conftest import Command

SMALL = [
    "experiment=reconstruction",
    "anonymizer@attack.victim=pixelate",
    "data.identities.attacker=4",
    "data.identities.background=2",
    "data.images=2",
    "data.batch_size=2",
    "generator.widths=[8,16]",
    "generator.weights=null",
    "discriminator.base=4",
    "steps=2",
    "model.cooldown=1",
    "logger=csv",
]


@pytest.mark.parametrize(
    ("sweep", "group", "key"),
    [
        ("ladder", "defense", "+defense@attack.defense"),
        ("transfer", "anonymizer", "anonymizer@attack.victim"),
    ],
)
def test_a_sweep_names_choices_that_exist(sweep: str, group: str, key: str) -> None:
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        config = compose("train", ["experiment=reconstruction", f"attack={sweep}"], return_hydra_config=True)
    assert config.hydra.mode.name == "MULTIRUN"
    assert set(config.hydra.sweeper.params[key].split(",")) <= set(choices(group))
    assert config.ckpt_path == "auto"
    if sweep == "ladder":  # the same as table 3 asks for
        table = OmegaConf.load(config_dir() / "table" / "table3.yaml")
        assert config.hydra.sweeper.params[key].split(",") == list(table.grid[0].defenses)


def test_the_ladder_goes_on_where_it_was_stopped(train: Command, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("ANON_CACHE", str(tmp_path / "cache"))
    words = [*SMALL, "attack=ladder", f"paths.ladder={tmp_path / 'ladder'}", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    assert train(*words, "+defense@attack.defense=none").code == 0
    whole = train(*words, "+defense@attack.defense=none,jpeg")
    assert whole.code == 0, whole.err
    assert whole.out.count("finished already") == 1
    shelf = tmp_path / "ladder"
    files = {name: (shelf / name / "train" / "reconstruction").glob(f"*/{runs.LAST}") for name in ("none", "jpeg")}
    configs = {}
    for name, found in files.items():
        (file,) = found
        configs[name] = OmegaConf.create(torch.load(file, weights_only=True)["config"])
    assert configs["none"].attack.defense._target_.endswith("NoDefense")
    assert configs["jpeg"].attack.defense._target_.endswith("Jpeg")
    assert train(*words, "+defense@attack.defense=none,jpeg").out.count("finished already") == 2
