"""Training the expression embedder (Paper II) in two stages of one run.

    embed:     loss = SupCon(project(trunk(distort(X))), class) + w·affect(trunk(..)) against valence and arousal
    classify:  loss = weighted cross-entropy(classifier(trunk(distort(X))), class), everything but the classifier frozen

Both weigh classes by inverse frequency in the training split. ``python train.py experiment=expression``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor

from anon.attributes.expression import ExpressionEmbedder
from anon.attributes.expression_classes import Labels, class_counts, labelled
from anon.attributes.expression_figures import affect_figures, classification, concordance, confusion
from anon.errors import UserError
from anon.losses.contrastive import inverse_frequency, supervised_contrastive
from anon.training.attributes import photometric
from anon.training.gradients import average_gradients, local_backward, mean_over_processes
from anon.training.schedule import warm_cosine


class ExpressionTraining(pl.LightningModule):
    """AdamW for the embedder, then another for the classifier; each stage warms up and falls along a cosine.

    The stage and the rate are functions of the step, so a resumed run is the unbroken one. Under DDP each process
    contrasts its own batch.

    Args:
        embedder: what is trained.
        labels: makes the labels of a batch that has none of its own, for synthetic faces.
        counts: faces of each class in the training split; None: counted once before training, which reads all of it.
        steps: batches of both stages; None: what the trainer's epochs make.
        embed: share of the steps that train the embedder; the rest train the classifier.
        tau: temperature of the contrastive loss.
        affect_weight: of the valence and arousal loss; 0: not trained.
        affect_loss: ``mse``, or ``ccc`` for 1 - CCC.
        views: distorted copies of each face in a batch; 2 as Khosla et al., 1 where the batch has many of each class.
        lr, classify_lr, weight_decay, warmup: peak rates, decay, and the share of a stage that rises to the peak.
        strength: of the distortion (mirroring, light, noise, blur); 0 switches it off.
        seed: of the distortion.
    """

    def __init__(
        self,
        embedder: ExpressionEmbedder,
        labels: Callable[[dict[str, Tensor]], Labels] | None = None,
        counts: Sequence[int] | None = None,
        steps: int | None = None,
        embed: float = 0.85,
        tau: float = 0.1,
        affect_weight: float = 1.0,
        affect_loss: str = "mse",
        views: int = 1,
        lr: float = 3e-3,
        classify_lr: float = 1e-2,
        weight_decay: float = 0.02,
        warmup: float = 0.1,
        strength: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if affect_loss not in ("mse", "ccc"):
            raise UserError(f"model.affect_loss={affect_loss} is none of mse, ccc.")
        if not 0 < embed < 1 or views < 1:
            raise UserError(f"model.embed={embed} must lie between 0 and 1, model.views={views} be at least 1.")
        if counts is not None and len(counts) != embedder.classes:
            raise UserError(f"model.counts has {len(counts)} numbers for {embedder.classes} expression classes.")
        self.automatic_optimization = False
        self.embedder = embedder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.labels, self.counts = labels, None if counts is None else torch.tensor(list(counts))
        self.steps, self.embed, self.tau, self.views = steps, embed, tau, views
        self.affect_weight, self.affect_loss = affect_weight, affect_loss
        self.lr, self.classify_lr, self.weight_decay, self.warmup = lr, classify_lr, weight_decay, warmup
        self.strength, self.seed = strength, seed
        self._held: list[tuple[Tensor, Tensor, Labels]] = []

    @property
    def step(self) -> int:
        """Index of the batch, over all epochs and resumed runs."""
        return self.trainer.fit_loop.total_batch_idx

    @property
    def embed_steps(self) -> int:
        """Batches of the first stage."""
        return max(1, round(self.embed * (self.steps or 1)))

    def setup(self, stage: str) -> None:
        if self.counts is None:
            faces = self.trainer.datamodule.faces("train")  # type: ignore[attr-defined]
            self.counts = class_counts(faces, self.labels, self.embedder.classes)

    def configure_optimizers(self) -> Any:
        if self.steps is None:
            self.steps = int(self.trainer.estimated_stepping_batches)
        classifier = list(self.embedder.classifier.parameters())
        own = {id(parameter) for parameter in classifier}
        learned = [p for p in self.embedder.parameters() if p.requires_grad and id(p) not in own]
        return [
            torch.optim.AdamW(learned, self.lr, weight_decay=self.weight_decay),
            torch.optim.AdamW(classifier, self.classify_lr, weight_decay=self.weight_decay),
        ]

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        known = labelled(batch, self.labels, self.embedder.classes)
        assert self.counts is not None
        weights = inverse_frequency(self.counts).to(self.device)
        rng = torch.Generator(self.device).manual_seed((self.seed * 1_000_003 + self.step) * 4096 + self.global_rank)
        optimizers = self.optimizers()
        assert isinstance(optimizers, list)
        embed, classify = optimizers
        if self.step < self.embed_steps:
            self.embedder.train()
            loss = self._embed_loss(batch["image"], known, weights, rng)
            self._descend(loss, embed, self.lr * warm_cosine(self.step, self.embed_steps, self.warmup))
        else:
            self.embedder.eval()  # batch norms included
            loss = self._classify_loss(batch["image"], known, weights, rng)
            done = self.step - self.embed_steps
            rate = warm_cosine(done, (self.steps or 1) - self.embed_steps, self.warmup)
            self._descend(loss, classify, self.classify_lr * rate)
        self._log("loss", loss)

    def _embed_loss(self, images: Tensor, known: Labels, weights: Tensor, rng: torch.Generator) -> Tensor:
        labels = known["expression_class"].repeat(self.views)
        features = self.embedder.features(self._distorted(images.repeat(self.views, 1, 1, 1), rng))
        with torch.autocast(self.device.type, enabled=False):  # losses in float32
            contrast = supervised_contrastive(self.embedder.project(features), labels, weights, self.tau)
            self._log("contrast", contrast)
            if self.affect_weight == 0:
                return contrast
            said = self.embedder.judge(features)["affect"]
            truth = torch.stack((known["valence"], known["arousal"]), -1).repeat(self.views, 1)
            if self.affect_loss == "ccc":
                affect = 1 - (concordance(said[:, 0], truth[:, 0]) + concordance(said[:, 1], truth[:, 1])) / 2
            else:
                finite = truth.isfinite()
                affect = (said - truth.nan_to_num()).square()[finite].sum() / finite.sum().clamp(min=1)
            self._log("affect", affect)
            return contrast + self.affect_weight * affect

    def _classify_loss(self, images: Tensor, known: Labels, weights: Tensor, rng: torch.Generator) -> Tensor:
        labels = known["expression_class"]
        with torch.no_grad():
            features = self.embedder.features(self._distorted(images, rng))
        logits = self.embedder.judge(features)["logits"]
        given = labels >= 0
        self._log("accuracy", (logits.argmax(1) == labels)[given].float().mean().nan_to_num())
        each = F.cross_entropy(logits.float(), labels.clamp(min=0), reduction="none") * given
        weight = weights[labels.clamp(min=0)] * given
        return (each * weight).sum() / weight.sum().clamp(min=1e-8)

    def _log(self, name: str, figure: Tensor) -> None:
        """The mean over processes."""
        self.log_dict(mean_over_processes({f"train/{name}": figure}), prog_bar=name in ("loss", "accuracy"))

    def _descend(self, loss: Tensor, optimizer: Any, rate: float) -> None:
        for group in optimizer.param_groups:
            group["lr"] = rate
        self.embedder.zero_grad()  # also what the first stage has left
        with local_backward(self.trainer):
            self.manual_backward(loss)
        average_gradients(self.embedder)
        optimizer.step()

    def _distorted(self, images: Tensor, rng: torch.Generator) -> Tensor:
        if self.strength > 0:
            mirrored = torch.rand(len(images), 1, 1, 1, generator=rng, device=images.device) < 0.5
            images = torch.where(mirrored, images.flip(-1), images)
        return photometric(images, rng, self.strength).contiguous(memory_format=torch.channels_last)

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        read = self.embedder.judge(self.embedder.features(batch["image"]))
        self._held.append((read["logits"], read["affect"], labelled(batch, self.labels, self.embedder.classes)))

    def on_validation_epoch_end(self) -> None:
        if not self._held:
            return
        logits, affect = (torch.cat([row[i] for row in self._held]) for i in (0, 1))  # type: ignore[misc]
        known = {key: torch.cat([row[2][key] for row in self._held]) for key in self._held[0][2]}
        self._held.clear()
        figures = affect_figures(affect, known["valence"], known["arousal"])
        if self.step >= self.embed_steps:  # before, nothing has taught the classifier
            said = logits.argmax(1)
            figures |= classification(confusion(said, known["expression_class"], self.embedder.classes))
        named = {f"val/{key.replace(' ', '_')}": value for key, value in figures.items()}
        self.log_dict(named, prog_bar=True, sync_dist=True)  # the same on all processes, which see all faces
