"""Training Face Anonymization Made Simple: a person's other picture and another person's same scene give the picture.

    loss = mean |v(x_t, t; source, driving) - (sqrt(a_t) n - sqrt(1 - a_t) X)|^2

No loss of identity, landmarks or masks. A share of sources is nobody (zeros), so that nobody can be asked for; the
driving picture is never left out. In a few triples the driving picture is the truth itself, with a source that is
known: an anonymized face's source is its driving picture, which no other triple has.

    python train.py experiment=made_simple
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from anon.errors import UserError
from anon.generators.made_simple.network import MadeSimple
from anon.training.augment import step_rng
from anon.training.gradients import mean_over_processes
from anon.training.grids import SampleGrids
from anon.training.schedule import warm_cosine

LEVELS = (0.4, 0.7, 0.95)  # at which it is validated


class MadeSimpleTraining(pl.LightningModule):
    """AdamW whose rate rises and falls along a cosine. Batches have ``image`` (the truth), ``source``, ``driving``.

    Args:
        network: what is trained.
        steps: of the training, for the rate.
        lr, weight_decay, warmup: AdamW's peak rate and decay, and the share of steps that rise to the peak.
        null_share: of the triples whose source is nobody.
        own_share: of the triples whose driving picture is the truth.
        flip_share: of the triples that are mirrored, all three pictures.
        late: how many times are near to pure noise, where the source tells most: t = 1 - (1 - u)^late of even u; 1 is
            even, as published.
        seed: of times, noise and which triples these are.
    """

    def __init__(
        self,
        network: MadeSimple,
        steps: int,
        lr: float = 1e-3,
        weight_decay: float = 0.01,
        warmup: float = 0.05,
        null_share: float = 0.1,
        own_share: float = 0.1,
        flip_share: float = 0.5,
        late: float = 2.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.steps, self.lr, self.weight_decay, self.warmup, self.seed = steps, lr, weight_decay, warmup, seed
        self.null_share, self.own_share, self.flip_share, self.late = null_share, own_share, flip_share, late
        self._held: dict[str, list[Tensor]] = {}

    def on_fit_start(self) -> None:
        """The data have triples.

        Raises:
            UserError: they have not.
        """
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        if not {"source", "driving"} <= set(data.faces("train")[0]):
            raise UserError(
                f"experiment=made_simple learns from a person's other picture and another person in the same scene, "
                f"which data.name={data.name} has not; data=synthetic_crossed renders them."
            )

    def told(self, batch: dict[str, Tensor], rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Truth, source, driving (B, 3, H, W) of a step, and ``known`` (B,): 0 where the source is nobody."""
        truth, source, driving = (batch[key] for key in ("image", "source", "driving"))
        lot, flip = torch.rand(2, len(truth), generator=rng, device=self.device)
        known = (lot >= self.null_share).to(truth)
        own = (lot >= self.null_share) & (lot < self.null_share + self.own_share)  # never of nobody: no copy of that
        driving = torch.where(own.view(-1, 1, 1, 1), truth, driving)
        turned = (flip < self.flip_share).view(-1, 1, 1, 1)
        truth, source, driving = (torch.where(turned, each.flip(-1), each) for each in (truth, source, driving))
        layout = torch.channels_last
        return (
            truth.contiguous(memory_format=layout),
            source.contiguous(memory_format=layout),
            driving.contiguous(memory_format=layout),
            known,
        )

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        rng = step_rng(self.device, self.seed, self.global_step, self.global_rank)
        truth, source, driving, known = self.told(batch, rng)
        count = len(truth)
        part = torch.rand(count, generator=rng, device=self.device)
        even = (torch.randperm(count, generator=rng, device=self.device) + part) / count  # one of each part of [0, 1]
        t = 1 - (1 - even) ** self.late
        noise = torch.randn(truth.shape, generator=rng, device=self.device)
        loss = self.network.loss(truth, source, driving, known, t, noise).mean()
        self.log("train/loss", mean_over_processes({"loss": loss})["loss"], prog_bar=True)
        return loss

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Losses of background triples, and of the same with nobody for a source: what the source tells."""
        rng = step_rng(self.device, self.seed, batch_idx, self.global_rank)
        for (level, known), losses in level_losses(self.network, batch, rng).items():
            self._held.setdefault(f"val/{'loss' if known else 'loss_nobody'}_{level:g}", []).append(losses)

    def on_validation_epoch_end(self) -> None:
        for name, parts in self._held.items():
            self.log(name, torch.cat(parts).mean(), sync_dist=True)
        self._held.clear()

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.network.parameters(), lr=self.lr, weight_decay=self.weight_decay)
        rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warm_cosine(step, self.steps, self.warmup))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": rate, "interval": "step"}}


@torch.no_grad()
def level_losses(
    network: MadeSimple, batch: Mapping[str, Tensor], rng: torch.Generator
) -> dict[tuple[float, bool], Tensor]:
    """Losses (B,) of triples by time and by whether their source is known, with the same noise for all."""
    truth, found = batch["image"], {}
    noise = torch.randn(truth.shape, generator=rng, device=truth.device)
    for level in LEVELS:
        t = truth.new_full((len(truth),), level)
        for known in (True, False):
            told = truth.new_full((len(truth),), float(known))
            found[level, known] = network.loss(truth, batch["source"], batch["driving"], told, t, noise)
    return found


class DegreeGrids(SampleGrids):
    """A row a face: as it is, at degrees 0, .6 and 1.25, another face, and that one in the face's scene."""

    def columns(self, pl_module: pl.LightningModule, target: Tensor) -> list[Tensor]:
        rng = torch.Generator().manual_seed(0)
        noise = torch.randn(target.shape, generator=rng).to(target)
        network: Any = pl_module.network
        degrees = [network.draw(target, target, noise, degree) for degree in (0.0, 0.6, 1.25)]
        source = target.roll(1, 0)
        return [target, *degrees, source, network.draw(target, source, noise)]
