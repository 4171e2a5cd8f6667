"""The configurations of experiment=gafni, and steps that train every part."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from anon.apps.checkpoints import CONFIG_KEY, restore_module
from anon.apps.config import config_dir
from anon.generators.gafni import Gafni
from anon.training.target_oriented import TargetOriented
from tests.training import small


def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return compose("train", ["experiment=gafni", "encoder.weights=random", *overrides])


def test_steps_move_both_networks_and_are_loaded_again(tmp_path: Path) -> None:
    config = composed("generator.widths=[8,8,8,8,8]")
    torch.manual_seed(0)
    module = instantiate(config.model)
    assert module.steers == -1 and module.objective.terms["repulsion"].rise == 120
    images = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    small.settle(module.encoder.backbone, images)
    before = {name: value.clone() for name, value in module.state_dict().items() if name.endswith("weight")}
    trainer = small.trainer(tmp_path, 2)
    trainer.fit(module, small.loader(images))
    after = module.state_dict()
    assert not [n for n, value in before.items() if not n.startswith("ema") and torch.equal(value, after[n])]
    for term in config.objective.terms:
        assert trainer.callback_metrics[f"train/{term}"].isfinite()
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    content = torch.load(tmp_path / "last.ckpt", weights_only=True)
    torch.save(content | {CONFIG_KEY: OmegaConf.to_yaml(config, resolve=True)}, tmp_path / "last.ckpt")
    restored, _ = restore_module(tmp_path / "last.ckpt")
    assert isinstance(restored, TargetOriented) and isinstance(restored.averaged, Gafni)


def test_paper_scale_is_larger(tmp_path: Path) -> None:
    config = composed("scale=paper")
    assert (config.data.size, list(config.model.betas)) == (256, [0.5, 0.99])
    with torch.device("meta"):
        generator = instantiate(config.generator)
    assert generator.side == 8 and generator.skip == 3  # 32 x 32
    assert sum(parameter.numel() for parameter in generator.parameters()) == pytest.approx(86.4e6, rel=0.001)
