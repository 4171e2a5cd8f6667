"""Whom a training sees: for every experiment nobody of the evaluation, for an attack nobody but the attacker's own.

What a training reads goes through its data module, so every split that is asked for is written down while the batches
of training and validation are made, the attacker's pairs included.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from anon.apps.config import config_dir
from anon.faces.contract import FaceSet, float_batch
from tests.apps.test_configs import TRAINED

SMALL = {"train": 3, "background": 2, "attacker": 4, "evaluation": 3}
DATA = [f"data.identities.{split}={count}" for split, count in SMALL.items()]
ATTACKS = {"reconstruction", "parrot"}
CROSSED = {"made_simple"}  # of groups of people in the same scenes, without clips


@pytest.mark.parametrize("experiment", TRAINED)
def test_nobody_of_the_evaluation_is_trained_on(experiment: str, tmp_path: Path) -> None:
    victim = ["method=pixelate"] if experiment in ATTACKS else []
    small = ["data.images=2", "data.size=32", "data.batch_size=2", f"paths.cache={tmp_path}"]
    small += ["data.group=2"] if experiment in CROSSED else ["data.clips=0"]
    words = [f"experiment={experiment}", *DATA, *small]
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        config = compose("train", [*words, *victim])
    data = base = instantiate(config.data)
    asked: list[str] = []
    sets = base.sets

    def written_down(split: str) -> FaceSet:
        asked.append(split)
        return sets(split=split)

    base.sets = written_down
    if config.attack is not None:
        data = instantiate(config.attack, data=base)
    data.prepare_data()
    batches = [*data.train_dataloader(), *data.val_dataloader()]
    own = "attacker" if experiment in ATTACKS else "train"
    assert sorted(asked) == sorted(["background", own])

    evaluated = {split: sets(split=split) for split in SMALL}
    names = {split: set(faces.names) for split, faces in evaluated.items()}
    read = {name for split in ("train", "background") for name in data.faces(split).names}
    assert read == names[own] | names["background"] and not read & names["evaluation"]
    pictures = torch.stack([evaluated["evaluation"][index]["image"] for index in range(len(evaluated["evaluation"]))])
    for batch in map(float_batch, batches):
        apart = (batch["image"][:, None] - pictures[None]).abs().flatten(2).mean(2)
        assert float(apart.min()) > 0.01  # nor a picture of theirs, whatever its label


def test_the_attacks_are_all_there() -> None:
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        found = {name for name in TRAINED if compose("train", [f"experiment={name}"]).attack is not None}
    assert found == ATTACKS
