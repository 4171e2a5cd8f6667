"""Training the look regressor on rendered people, whose identity parameters are known.

    loss = mean over parameters of (network(distort(X)) - truth)²

in standard deviations over the training people. The distortion covers faces with fine patterns, which a person sees
through: a regressor that they deceive would take a pattern for another look.

``python train.py experiment=look`` trains the one that ships.
"""

from __future__ import annotations

import math
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor

from anon.attributes.look import LookRegressor, explained
from anon.errors import UserError
from anon.faces.alignment import Framing, reframe
from anon.faces.contract import FaceSet
from anon.training.attributes import photometric
from anon.training.gradients import mean_over_processes
from anon.training.schedule import one_cycle


class LookTraining(pl.LightningModule):
    """AdamW with a one-cycle schedule; after every epoch the parameters' R² on background people become their weights.

    Args:
        regressor: what is trained.
        lr, weight_decay, warmup: AdamW's peak rate and decay, and the share of steps that rise to the peak.
        strength: of the photometric distortion, which leaves the person as it is.
        pattern: largest amplitude of the patterns that are laid over faces, in units of the [-1, 1] range.
        seed: of both.
    """

    def __init__(
        self,
        regressor: LookRegressor,
        lr: float = 3e-3,
        weight_decay: float = 0.02,
        warmup: float = 0.15,
        strength: float = 0.6,
        pattern: float = 0.3,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.regressor = regressor.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.lr, self.weight_decay, self.warmup = lr, weight_decay, warmup
        self.strength, self.pattern, self.seed = strength, pattern, seed
        self._looks: dict[str, Tensor] = {}
        self._held: list[tuple[Tensor, Tensor]] = []

    def setup(self, stage: str) -> None:
        """The training people's mean and deviation; Lightning restores a checkpoint after this."""
        look = look_of_people(self.trainer.datamodule.faces("train"))  # type: ignore[attr-defined]
        self.regressor.mean.copy_(look.mean(0))
        self.regressor.std.copy_(look.std(0).clamp(min=1e-6))

    def _truth(self, split: str, identity: Tensor) -> Tensor:
        if split not in self._looks:
            self._looks[split] = look_of_people(self.trainer.datamodule.faces(split))  # type: ignore[attr-defined]
        look = self._looks[split].to(identity.device)[identity]
        return self.regressor.standardized(look)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        seed = (self.seed * 1_000_003 + self.global_step) * 4096 + self.global_rank
        rng = torch.Generator(self.device).manual_seed(seed)
        seen = reframe(batch["image"], Framing.of(self.regressor.size))  # no pattern is finer than what it sees
        images = photometric(patterned(seen, rng, self.pattern), rng, self.strength)
        read = self.regressor.read(images.contiguous(memory_format=torch.channels_last))
        loss = F.mse_loss(read, self._truth("train", batch["identity"]))
        self.log("train/loss", mean_over_processes({"loss": loss})["loss"], prog_bar=True)
        return loss

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self._held.append((self.regressor.read(batch["image"]), self._truth("background", batch["identity"])))

    def on_validation_epoch_end(self) -> None:
        if self._held and not self.trainer.sanity_checking:
            found = explained(*(torch.cat(part) for part in zip(*self._held, strict=True)))
            self.regressor.readable.copy_(found.clamp(min=0.0))
            self.log("val/R2", found.mean(), prog_bar=True, sync_dist=True)
        self._held.clear()

    def configure_optimizers(self) -> Any:
        steps = int(self.trainer.estimated_stepping_batches)
        return one_cycle(self.regressor, steps, self.lr, self.weight_decay, self.warmup)


def look_of_people(faces: FaceSet) -> Tensor:
    """(P, K) of the people of a set.

    Raises:
        UserError: they are not rendered.
    """
    look = getattr(faces, "look", None)
    if not callable(look):
        raise UserError("The look regressor learns rendered people, whose parameters are known; use data=synthetic.")
    return look()


def patterned(images: Tensor, rng: torch.Generator, amplitude: float = 0.3) -> Tensor:
    """Faces (B, 3, H, W) in [-1, 1] with patterns laid over them: a third mosaics of noise, a third gratings.

    Mosaics have cells of 1 to 4 pixels, one draw a batch, in two dimensions or as lines; gratings have 0.1 to 0.5
    cycles a pixel each way, so that a checkerboard is one of them. ``rng`` is a generator on the images' device.
    """
    if amplitude <= 0:
        return images
    count, _, height, width = images.shape

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=rng, device=images.device)

    cell = 1 + int(4 * float(torch.rand((), generator=torch.Generator().manual_seed(rng.initial_seed()))))
    grid = torch.randn((count, 3, math.ceil(height / cell), math.ceil(width / cell)), generator=rng, device=rng.device)
    kind = uniform(0, 1, count, 1, 1, 1)
    grid = torch.where(kind < 0.25, grid[..., :1], grid)  # rows
    grid = torch.where(kind > 0.75, grid[..., :1, :], grid)  # columns
    mosaic = F.interpolate(grid, scale_factor=cell, mode="nearest")[..., :height, :width].clamp(-2, 2) / 2
    y, x = torch.meshgrid(
        *(torch.arange(side, device=images.device, dtype=images.dtype) for side in (height, width)), indexing="ij"
    )
    turns = uniform(0.1, 0.5, 2, count, 1, 1, 1) * torch.where(uniform(0, 1, 2, count, 1, 1, 1) < 0.2, 0.0, 1.0)
    turns[0] = turns[0] * torch.where(uniform(0, 1, count, 1, 1, 1) < 0.5, -1.0, 1.0)
    grating = torch.cos(2 * math.pi * (turns[0] * y + turns[1] * x + uniform(0, 1, count, 3, 1, 1)))
    chosen = uniform(0, 1, count, 1, 1, 1)
    pattern = torch.where(chosen < 1 / 3, mosaic, torch.where(chosen < 2 / 3, grating, 0.0))
    return (images + uniform(0, amplitude, count, 1, 1, 1) * pattern).clamp(-1, 1)
