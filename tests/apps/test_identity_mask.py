"""IdentityMask from its command lines: the motion trained, continued and put behind a generator; a table of clips."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from anon.anonymizers.composed import Anonymizer
from anon.apps.checkpoints import restore_generator, restore_identity_mask
from anon.apps.config import composed
from anon.apps.run_folders.folder import LAST
from anon.errors import UserError
from anon.evaluation.document import read
from anon.identity.rotation import KeyedRotation
from tests.apps.conftest import Command, checkpoint_of, folder_of

NETWORK = ("model.network.base=8", "model.network.depth=2", "model.network.widths=[8,16]", "model.network.residuals=1")
PEOPLE = "data.identities={train: 4, background: 3, attacker: 1, evaluation: 2}"
TINY = ("experiment=identity_mask", PEOPLE, "data.clip_frames=4", "data.size=32", "data.batch_size=4", "logger=csv")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Of the experiment's model with few channels, at its random start."""
    model = composed("train", ["experiment=identity_mask", *NETWORK]).model
    return checkpoint_of("identity_mask", model, tmp_path / "checkpoints" / "last.ckpt")


def test_a_checkpoint_comes_back_behind_a_generator_with_its_policy(checkpoint: Path) -> None:
    trained = restore_generator("shipped:fiva")
    part = Anonymizer(trained.encoder, KeyedRotation(torch.eye(trained.encoder.dim)), trained.generator)
    made = restore_identity_mask({"image": part}, checkpoint, "chained")
    kept = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert torch.equal(made.network.first.weight, kept["network.first.weight"])
    assert made.flow == "chained" and made.temporal and made.reversible and made.image is part
    assert not any(each.requires_grad for each in made.network.parameters())


def test_another_experiments_checkpoint_is_none(of_another_experiment: Path) -> None:
    with pytest.raises(UserError, match="is of experiment=diffusion, not of identity_mask"):
        restore_identity_mask({}, of_another_experiment)


@pytest.mark.slow
def test_a_run_that_was_continued_has_the_weights_of_an_unbroken_one(train: Command, tmp_path: Path) -> None:
    """Stopped after a checkpoint in the middle of the first epoch (12 batches), with the rate of the whole."""
    own = (*TINY, *NETWORK, "model.steps=3", "checkpoint_every=1", "callbacks.grids.every=3")
    whole = folder_of(train(*own, "steps=3", f"paths.runs={tmp_path / 'whole'}"))
    half = folder_of(train(*own, "steps=2", f"paths.runs={tmp_path / 'half'}"))
    again = folder_of(train(TINY[0], "ckpt_path=last", "steps=3", f"paths.runs={tmp_path / 'half'}"))
    assert half == again
    first, second = (torch.load(folder / LAST, weights_only=True)["state_dict"] for folder in (whole, again))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert (whole / "grids" / "0000003.png").is_file()
    figures = (whole / "metrics.csv").read_text()
    assert all(f"val/{name}" in figures for name in ("l1", "l1_still", "flow", "flow_still"))


def test_stills_among_the_training_pictures_are_refused_before_a_step(train: Command) -> None:
    ended = train(*TINY, *NETWORK, "steps=1", "data.images=2")
    assert ended.code == 2 and "these data have stills, too: data.images=0" in ended.err


AT = "suite.methods.identity_mask"
SUITE = ("suite=identity_mask", "suite.far=0.05", "suite.resamples=20", "suite.anchors=16", "suite.max_eer=1")
SUITE += (
    "suite.grid_faces=0",
    "suite.clip_frames=4",
    "data.clip_frames=4",
    "data.size=32",
    "logger=csv",
    "judge=synthetic_b",
)
SUITE += (
    "data.identities={train: 12, background: 12, attacker: 1, evaluation: 3}",
    "suite.policies.rotation_60.rank=4",
)


@pytest.mark.slow
def test_its_table(evaluate: Command, checkpoint: Path) -> None:
    """With the FIVA that ships in the place of one trained for keys: clips that are moved, and frames by themselves."""
    words = [f"{AT}.anonymizer.checkpoint={checkpoint}", f"{AT}.methods.image.anonymizer.checkpoint=shipped:fiva"]
    grid = "[{methods: [real]}, {methods: [identity_mask, identity_mask_none], policies: [rotation_60]}]"
    ended = evaluate(*SUITE, *words, f"suite.tables.identity_mask.grid={grid}")
    assert ended.code == 0, ended.err
    real, moved, each = read(Path(ended.out.splitlines()[-1])).lines
    assert "clip_CSIM" not in real.metrics
    for line in (moved, each):
        assert line.metrics["clip_right_PSNR"].value > 5 and line.metrics["M_tc_mu"].n == 3
        assert 0 <= line.metrics["clip_wrong_match"].value <= 1
    assert moved.metrics["M_tc_mu"].value != each.metrics["M_tc_mu"].value


def test_who_evaluates_stills_is_told_once(evaluate: Command, checkpoint: Path) -> None:
    words = [f"{AT}.anonymizer.checkpoint={checkpoint}", f"{AT}.methods.image.anonymizer.checkpoint=shipped:fiva"]
    words.append("data.images.evaluation=2")
    grid = "suite.tables.identity_mask.grid=[{methods: [identity_mask], policies: [rotation_60]}]"
    ended = evaluate(*SUITE, *words, grid)
    assert ended.code == 2 and "was given a still; stills have method=reversible" in ended.err


def test_what_nobody_trained_is_named(evaluate: Command) -> None:
    grid = "suite.tables.identity_mask.grid=[{methods: [identity_mask], policies: [rotation_60]}]"
    ended = evaluate(*SUITE, f"{AT}.methods.image.anonymizer.checkpoint=shipped:fiva", grid)
    assert ended.code == 2
    assert "needs python train.py experiment=identity_mask, then suite.methods.identity_mask.anonymizer" in ended.err
