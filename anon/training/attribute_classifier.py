"""Training the classifier of binary attributes.

    loss = mean over attributes of the cross-entropy of classify(distort(X)) and whether X has it

(eq. 4.3 of Wen et al., *Face De-identification*, Springer 2024). ``python train.py experiment=attribute_classifier``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from anon.attributes.classifier import AttributeClassifier, balanced, soft_margin
from anon.faces.attributes import Rows, binary
from anon.faces.contract import FaceSet
from anon.training.attributes import photometric
from anon.training.augment import step_rng
from anon.training.gradients import mean_over_processes
from anon.training.schedule import one_cycle


class Truth:
    """The attributes of each face of a set, for batches of it."""

    def __init__(self, faces: FaceSet, names: tuple[str, ...]) -> None:
        self.values, self._rows = binary(faces, names), Rows(faces)

    def of(self, batch: Mapping[str, Tensor]) -> Tensor:
        """(B, c) of 0, 1 and NaN, on the device of the batch."""
        return self.values[self._rows.of(batch)].to(batch["image"].device)


class AttributeClassifierTraining(pl.LightningModule):
    """AdamW with a one-cycle schedule.

    Args:
        classifier: what is trained.
        lr, weight_decay, warmup: AdamW's peak rate and decay, and the share of steps that rise to the peak.
        strength: of the photometric distortion, which moves nothing.
        seed: of the distortion.
    """

    def __init__(
        self,
        classifier: AttributeClassifier,
        lr: float = 3e-3,
        weight_decay: float = 0.02,
        warmup: float = 0.15,
        strength: float = 0.3,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.classifier = classifier.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.lr, self.weight_decay, self.warmup, self.strength, self.seed = lr, weight_decay, warmup, strength, seed
        self._truth: dict[str, Truth] = {}
        self._held: list[tuple[Tensor, Tensor]] = []

    def truth(self, split: str, batch: Mapping[str, Tensor]) -> Tensor:
        """What a batch of a split has, (B, c)."""
        if split not in self._truth:
            data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
            self._truth[split] = Truth(data.faces(split), self.classifier.attributes)
        return self._truth[split].of(batch)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        rng = step_rng(self.device, self.seed, self.global_step, self.global_rank)
        images = photometric(batch["image"], rng, self.strength).contiguous(memory_format=torch.channels_last)
        loss = soft_margin(self.classifier(images), self.truth("train", batch))
        self.log("train/loss", mean_over_processes({"loss": loss})["loss"], prog_bar=True)
        return loss

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self._held.append((self.classifier.read(batch["image"])[1], self.truth("background", batch)))

    def on_validation_epoch_end(self) -> None:
        if self._held and not self.trainer.sanity_checking:
            read, truth = (torch.cat(part) for part in zip(*self._held, strict=True))
            for name, value in zip(self.classifier.attributes, balanced(read, truth), strict=True):
                self.log(f"val/{name}", value, sync_dist=True)
            right = (read == truth)[~truth.isnan()].float().mean()
            self.log("val/accuracy", right, prog_bar=True, sync_dist=True)
        self._held.clear()

    def configure_optimizers(self) -> Any:
        steps = int(self.trainer.estimated_stepping_batches)
        return one_cycle(self.classifier, steps, self.lr, self.weight_decay, self.warmup)
