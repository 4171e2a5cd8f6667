"""Training the diffusion model: it learns what it is shown, and a step's draws are of the step alone."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from anon.generators.diffusion import Denoiser, Diffusion
from anon.training.diffusion import DiffusionTraining


def batch(colour: float = 0.5) -> dict[str, torch.Tensor]:
    return {"image": torch.full((8, 3, 16, 16), colour)}


def training(steps: int = 60) -> DiffusionTraining:
    torch.manual_seed(0)
    made = DiffusionTraining(Diffusion(Denoiser((16, 16))), steps, lr=3e-2)
    made.log = lambda *_, **__: None
    made.trainer = SimpleNamespace(global_step=0, global_rank=0, world_size=1)
    return made


def test_pictures_of_one_colour_come_back_out_of_noise() -> None:
    made = training(200)
    (optimizer,), schedule = [made.configure_optimizers()["optimizer"]], made.configure_optimizers()["lr_scheduler"]
    assert schedule["interval"] == "step"
    losses = []
    for step in range(150):
        made.trainer.global_step = step
        loss = made.training_step(batch(), step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])
    found = made.diffusion.clean(torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(1)), 1.0, 10)
    assert float(found.mean()) == pytest.approx(0.5, abs=0.15)


def test_a_steps_draws_are_of_the_step_alone() -> None:
    made = training()
    losses = {}
    for step in (3, 5, 3):
        made.trainer.global_step = step
        losses.setdefault(step, []).append(float(made.training_step(batch(), 0).detach()))
    assert losses[3][0] == losses[3][1] != losses[5][0]


def test_validation_is_of_levels_of_their_own() -> None:
    made, told = training(), {}
    made.log = lambda name, value, **_: told.__setitem__(name, float(value.detach()))
    made.validation_step(batch(0.0), 0)
    made.on_validation_epoch_end()
    assert set(told) == {"val/loss_0.1", "val/loss_0.2", "val/loss_0.4", "val/loss_0.7"}
    assert told["val/loss_0.1"] == pytest.approx(0.97, abs=0.1)  # black: v is the noise, as far as it is kept
    assert told["val/loss_0.7"] == pytest.approx(0.21, abs=0.05)
