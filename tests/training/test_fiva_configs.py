"""The configurations of experiment=fiva: what they build at both scales, and one full-size step."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import nn

from anon.apps.config import config_dir
from anon.generators.contract import GeneratorLike
from anon.training.target_oriented import TargetOriented
from tests.training import small


def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return compose("train", ["experiment=fiva", "encoder.weights=random", *overrides])


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_default_scale_is_small_and_has_five_terms() -> None:
    module = instantiate(composed().model)
    assert isinstance(module, GeneratorLike)
    assert module.steers == -1
    assert parameters(module.generator) == pytest.approx(1.79e6, rel=0.01)
    assert parameters(module.discriminator) < 1e6
    assert module.objective.terms.keys() == {"identity", "ifsr", "pixel", "mask", "adversarial"}


def test_a_term_can_be_switched_off_from_the_command_line() -> None:
    objective = instantiate(composed("objective.terms.adversarial.weight=0").model.objective)
    assert "adversarial" not in objective.terms
    assert objective.drawn("logits") == []


@pytest.mark.slow
def test_paper_scale_takes_a_step(tmp_path: Path) -> None:
    """256 x 256, IResNet-100, FaceDancer's discriminator, R1 at every step, no view."""
    config = composed("scale=paper")
    assert (config.data.size, config.model.lr, list(config.model.betas)) == (256, 1e-4, [0.5, 0.99])
    torch.manual_seed(0)
    module = instantiate(config.model)
    assert isinstance(module, TargetOriented)
    assert parameters(module.generator) == pytest.approx(24.45e6, rel=0.01)
    assert parameters(module.discriminator) == pytest.approx(23.97e6, abs=0.005e6)
    assert parameters(module.encoder) == pytest.approx(65.16e6, abs=0.01e6)
    assert module.objective.r1_every == 1
    small.settle(module.encoder.backbone, torch.rand(2, 3, 112, 112) * 2 - 1)
    before = {name: value.clone() for name, value in module.state_dict().items() if name.endswith("weight")}
    trainer = small.trainer(tmp_path, 1)
    trainer.fit(module, small.loader(torch.rand(1, 3, 256, 256) * 2 - 1))
    after = module.state_dict()
    moved = [name for name, value in before.items() if not torch.equal(value, after[name])]
    assert len(moved) == len(before)
    assert trainer.callback_metrics["train/r1"].isfinite()
