"""IDeudemon from its command lines: its checkpoint with a dial, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from anon.apps.checkpoints import CheckpointFiles, restore_ideudemon
from anon.apps.config import composed
from anon.errors import UserError
from tests.apps.conftest import Command


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Of the experiment's model with few channels, at its random start."""
    few = ("model.network.widths=[8,16]", "model.network.reader=[8,16]", "discriminator.base=4")
    model = OmegaConf.to_container(composed("train", ["experiment=ideudemon", *few]).model, resolve=True)
    torch.manual_seed(0)
    content = {"state_dict": instantiate(model).state_dict(), "global_step": 3}
    text = OmegaConf.to_yaml({"experiment": "ideudemon", "model": model})
    CheckpointFiles(text).save_checkpoint(content, tmp_path / "checkpoints" / "last.ckpt")
    return tmp_path / "checkpoints" / "last.ckpt"


def test_a_checkpoint_comes_back_with_its_dial(checkpoint: Path) -> None:
    made = restore_ideudemon(checkpoint, scale=0.1, albedo=True)
    assert (made.scale, made.albedo, set(made.recognizers)) == (0.1, True, {"synthetic_robust"})
    kept = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert torch.equal(made.network.reader.scene[0].weight, kept["network.reader.scene.0.weight"])
    assert not any(each.requires_grad for each in made.network.parameters())
    faces = torch.zeros(2, 3, 64, 64)
    assert made(faces, rng=torch.Generator().manual_seed(0)).shape == faces.shape


def test_another_experiments_checkpoint_is_none(tmp_path: Path) -> None:
    model = {"_target_": "anon.training.diffusion.DiffusionTraining", "steps": 1}
    model["diffusion"] = {
        "_target_": "anon.generators.diffusion.Diffusion",
        "denoiser": {"_target_": "anon.generators.diffusion.Denoiser", "widths": [8, 8]},
    }
    content = {"state_dict": instantiate(model).state_dict(), "global_step": 1}
    text = OmegaConf.to_yaml({"experiment": "diffusion", "model": model})
    CheckpointFiles(text).save_checkpoint(content, tmp_path / "a.ckpt")
    with pytest.raises(UserError, match="is of experiment=diffusion, not of ideudemon"):
        restore_ideudemon(tmp_path / "a.ckpt")


def test_steps_that_leave_the_restorer_none(train: Command) -> None:
    small = ("data.identities=4", "data.images=2", "data.clips=0", "data.size=32", "logger=csv")
    ended = train("experiment=ideudemon", *small, "steps=100")
    assert ended.code == 2
    assert "model.ahead=200 leaves none of steps=100 for the restorer; make it less" in ended.err
