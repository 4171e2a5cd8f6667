"""The configurations of the swappers: what they build at both scales, and steps that train every part."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import nn

from anon.apps.checkpoints import CONFIG_KEY, restore_module
from anon.apps.config import config_dir
from anon.errors import UserError
from anon.generators.contract import GeneratorLike
from anon.training.target_oriented import TargetOriented
from tests.training import small


def composed(experiment: str, *overrides: str) -> DictConfig:
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return compose("train", [f"experiment={experiment}", "encoder.weights=random", *overrides])


def millions(module: nn.Module) -> float:
    return sum(parameter.numel() for parameter in module.parameters()) / 1e6


@pytest.mark.parametrize("experiment", ["facedancer", "simswap", "faceshifter"])
def test_two_steps_move_both_networks(experiment: str, tmp_path: Path) -> None:
    """Two, so that alternating pairs meet both kinds; every term is finite and logged."""
    config = composed(experiment, "model.distortion.rotation=5")
    torch.manual_seed(0)
    module = instantiate(config.model)
    assert isinstance(module, TargetOriented) and isinstance(module, GeneratorLike) and module.steers == 1
    images = torch.rand(4, 3, 64, 64) * 2 - 1
    small.settle(module.encoder.backbone, images)
    before = {name: value.clone() for name, value in module.state_dict().items() if name.endswith("weight")}
    trainer = small.trainer(tmp_path, 2)
    trainer.fit(module, small.loader(images))
    after = module.state_dict()
    still = [name for name, value in before.items() if not name.startswith("ema") and torch.equal(value, after[name])]
    assert not still
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    content = torch.load(tmp_path / "last.ckpt", weights_only=True)
    torch.save(content | {CONFIG_KEY: OmegaConf.to_yaml(config, resolve=True)}, tmp_path / "last.ckpt")
    restored, _ = restore_module(tmp_path / "last.ckpt")  # refuses what is no part of this project
    assert isinstance(restored, TargetOriented)
    for term in config.objective.terms:
        assert trainer.callback_metrics[f"train/{term}"].isfinite()
    assert -1 <= trainer.callback_metrics["train/swap_raw"] <= 1


@pytest.mark.parametrize(("experiment", "size", "published"), [("facedancer", 256, 24.51), ("simswap", 224, 55.05)])
def test_paper_scale_is_the_published_network(experiment: str, size: int, published: float) -> None:
    config = composed(experiment, "scale=paper")
    assert config.data.size == size
    with torch.device("meta"):
        assert millions(instantiate(config.generator)) == pytest.approx(published, abs=0.005)


@pytest.mark.parametrize("name", ["add", "concat", "A", "B", "C", "D", "E"])
def test_every_row_of_the_ablation_can_be_chosen(name: str) -> None:
    generator = instantiate(composed("facedancer", f"generator.config={name}").generator)
    assert generator(torch.zeros(1, 3, 64, 64), torch.zeros(1, 256)).image.shape == (1, 3, 64, 64)


def test_a_swappers_objective_needs_pairs() -> None:
    config = composed("facedancer", "model.pairing=null")
    with pytest.raises(Exception, match="pairing") as caught:
        instantiate(config.model)
    assert isinstance(caught.value.__cause__, UserError)


def test_colours_reach_the_target_the_loss_and_the_condition(tmp_path: Path) -> None:
    """One draw a face and step: what the generator redraws, L1 compares and the encoder sees is one picture."""
    torch.manual_seed(0)
    module = instantiate(composed("facedancer", "model.colours={_target_:anon.training.augment.Colours}").model)
    images = torch.rand(4, 3, 64, 64) * 2 - 1
    small.settle(module.encoder.backbone, images)
    seen: list[torch.Tensor] = []
    look = module.look
    module.look = lambda batch: seen.append(look(batch)) or seen[-1]  # type: ignore[func-returns-value]
    small.trainer(tmp_path, 1).fit(module, small.loader(images))
    known = seen[0]
    apart = (known["target"] - images).abs().amax((1, 2, 3))
    assert (apart > 0.01).all() and apart.unique().numel() == 4
    assert known["distorted"] is known["target"]
    torch.testing.assert_close(module.encoder(known["target"]).z, known["z_target"], atol=1e-4, rtol=0)
