"""IDeudemon from its command lines: its checkpoint with a dial, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from anon.apps.checkpoints import restore_ideudemon
from anon.apps.config import composed
from anon.errors import UserError
from tests.apps.conftest import Command, checkpoint_of


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Of the experiment's model with few channels, at its random start."""
    few = ("model.network.widths=[8,16]", "model.network.reader=[8,16]", "discriminator.base=4")
    model = composed("train", ["experiment=ideudemon", *few]).model
    return checkpoint_of("ideudemon", model, tmp_path / "checkpoints" / "last.ckpt")


def test_a_checkpoint_comes_back_with_its_dial(checkpoint: Path) -> None:
    made = restore_ideudemon(checkpoint, scale=0.1, albedo=True)
    assert (made.scale, made.albedo, set(made.recognizers)) == (0.1, True, {"synthetic_robust"})
    kept = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert torch.equal(made.network.reader.scene[0].weight, kept["network.reader.scene.0.weight"])
    assert not any(each.requires_grad for each in made.network.parameters())
    faces = torch.zeros(2, 3, 64, 64)
    assert made(faces, rng=torch.Generator().manual_seed(0)).shape == faces.shape


def test_another_experiments_checkpoint_is_none(of_another_experiment: Path) -> None:
    with pytest.raises(UserError, match="is of experiment=diffusion, not of ideudemon"):
        restore_ideudemon(of_another_experiment)


def test_steps_that_leave_the_restorer_none(train: Command) -> None:
    small = ("data.identities=4", "data.images=2", "data.clips=0", "data.size=32", "logger=csv")
    ended = train("experiment=ideudemon", *small, "steps=100")
    assert ended.code == 2
    assert "model.ahead=200 leaves none of steps=100 for the restorer; make it less" in ended.err
