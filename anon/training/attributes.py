"""Training the attribute regressor on faces whose pose, expression, gaze and five points are known.

    loss = sum over outputs of smooth-L1(network(distort(X)), truth)

``python train.py experiment=attributes`` trains the one that ships.
"""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor

from anon.attributes.regressor import AttributeRegressor, Attributes, attribute_errors, targets
from anon.errors import UserError
from anon.training.gradients import mean_over_processes
from anon.training.schedule import one_cycle


class AttributeTraining(pl.LightningModule):
    """AdamW with a one-cycle schedule.

    Args:
        regressor: what is trained.
        lr, weight_decay, warmup: AdamW's peak rate and decay, and the share of steps that rise to the peak.
        strength: of the photometric distortion, which leaves the truth as it is.
        seed: of the distortion.
    """

    def __init__(
        self,
        regressor: AttributeRegressor,
        lr: float = 3e-3,
        weight_decay: float = 0.02,
        warmup: float = 0.15,
        strength: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.regressor = regressor.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.lr, self.weight_decay, self.warmup, self.strength, self.seed = lr, weight_decay, warmup, strength, seed
        self._errors: dict[str, list[Tensor]] = {}

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        if "pose" not in batch:
            raise UserError("The attribute regressor needs data with ground truth; use data=synthetic.")
        seed = (self.seed * 1_000_003 + self.global_step) * 4096 + self.global_rank
        rng = torch.Generator(self.device).manual_seed(seed)
        images = photometric(batch["image"], rng, self.strength).contiguous(memory_format=torch.channels_last)
        truth = targets(batch, self.regressor.size)
        losses = {
            name: F.smooth_l1_loss(out, truth[name], beta=0.3) for name, out in self.regressor.read(images).items()
        }
        loss = torch.stack(list(losses.values())).sum()
        figures = mean_over_processes({"loss": loss, **losses})
        for name, value in figures.items():
            self.log(f"train/{name}", value, prog_bar=name == "loss")
        return loss

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        truth = Attributes(**{name: batch[name] for name in ("pose", "expression", "gaze", "landmarks")})  # type: ignore[typeddict-item]
        for name, error in attribute_errors(self.regressor(batch["image"]), truth).items():
            self.log(f"val/{name}", error.mean(), prog_bar=True, batch_size=len(error), sync_dist=True)

    def configure_optimizers(self) -> Any:
        steps = int(self.trainer.estimated_stepping_batches)
        return one_cycle(self.regressor, steps, self.lr, self.weight_decay, self.warmup)


def photometric(images: Tensor, rng: torch.Generator, strength: float = 1.0) -> Tensor:
    """Distortions (B, 3, H, W) that move nothing: light, contrast, colour, noise, and a soft half of the batch.

    ``rng`` is a generator on the images' device.
    """
    if strength <= 0:
        return images
    count, _, height, width = images.shape

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=rng, device=images.device)

    factor = float(uniform(0.45, 0.9, 1))
    small = F.interpolate(images, scale_factor=factor, mode="bilinear", align_corners=False, antialias=True)
    small = F.interpolate(small, (height, width), mode="bilinear", align_corners=False)
    out = torch.where(uniform(0, 1, count, 1, 1, 1) < 0.4, small, images)
    out = out * (1 + strength * uniform(-0.25, 0.25, count, 1, 1, 1)) + strength * uniform(-0.15, 0.15, count, 3, 1, 1)
    noise = torch.randn(images.shape, generator=rng, device=images.device)
    return (out + noise * strength * uniform(0, 0.1, count, 1, 1, 1)).clamp(-1, 1)
