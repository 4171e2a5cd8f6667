"""Training the diffusion model of faces: v at a time drawn from [0, 1] (Ho et al., NeurIPS 2020; Salimans & Ho, 2022).

    loss = mean |v(x_t, t) - (sqrt(a_t) n - sqrt(1 - a_t) x)|^2

``python train.py experiment=diffusion`` trains the one that ships.
"""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from anon.generators.diffusion import Diffusion
from anon.training.augment import step_rng
from anon.training.gradients import mean_over_processes
from anon.training.schedule import warm_cosine

LEVELS = (0.1, 0.2, 0.4, 0.7)  # at which it is validated


class DiffusionTraining(pl.LightningModule):
    """AdamW whose rate rises and falls along a cosine, so that the last weights need no average.

    Args:
        diffusion: what is trained.
        steps: of the training, for the rate.
        lr, weight_decay, warmup: AdamW's peak rate and decay, and the share of steps that rise to the peak.
        seed: of times and noise.
    """

    def __init__(
        self,
        diffusion: Diffusion,
        steps: int,
        lr: float = 1e-3,
        weight_decay: float = 0.01,
        warmup: float = 0.05,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.diffusion = diffusion.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.steps, self.lr, self.weight_decay, self.warmup, self.seed = steps, lr, weight_decay, warmup, seed
        self._held: dict[float, list[Tensor]] = {}

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        images = batch["image"].contiguous(memory_format=torch.channels_last)
        rng = step_rng(self.device, self.seed, self.global_step, self.global_rank)
        count = len(images)
        part = torch.rand(count, generator=rng, device=self.device)
        t = (torch.arange(count, device=self.device) + part) / count  # one of each part of [0, 1]
        noise = torch.randn(images.shape, generator=rng, device=self.device)
        loss = self.diffusion.loss(images, t, noise).mean()
        self.log("train/loss", mean_over_processes({"loss": loss})["loss"], prog_bar=True)
        return loss

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        rng = step_rng(self.device, self.seed, batch_idx, self.global_rank)
        noise = torch.randn(batch["image"].shape, generator=rng, device=self.device)
        for level in LEVELS:
            t = torch.full((len(noise),), level, device=self.device)
            self._held.setdefault(level, []).append(self.diffusion.loss(batch["image"], t, noise))

    def on_validation_epoch_end(self) -> None:
        for level, parts in self._held.items():
            self.log(f"val/loss_{level:g}", torch.cat(parts).mean(), prog_bar=True, sync_dist=True)
        self._held.clear()

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.diffusion.parameters(), lr=self.lr, weight_decay=self.weight_decay)
        rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warm_cosine(step, self.steps, self.warmup))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": rate, "interval": "step"}}
