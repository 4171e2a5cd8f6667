"""Training a recognizer with a margin softmax (ArcFace, CosFace) on the train split of any face data.

    loss = cross_entropy(head(backbone(augment(X)), y))

``python train.py experiment=recognizer`` trains the first shipped recognizer (small IResNet, ArcFace) and
``experiment=recognizer_b`` the second (CompactNet, CosFace); ``experiment=parrot`` goes on from the second, on
anonymized faces; ``experiment=recognizer_robust`` goes on from the first, on the worst pictures of a ball
(:mod:`anon.training.robustness`). The background split, of other people, is validated on after every epoch, by each
process on all of it (``trainer.use_distributed_sampler=false``), for its error rate is one of pairs; the evaluation
split is left to :func:`anon.identity.verification.evaluate_recognizer`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anon.errors import UserError
from anon.faces.alignment import Framing, reframe
from anon.identity.verification import equal_error_rate, pair_distances, summarize
from anon.training.gradients import mean_over_processes
from anon.training.robustness import Losses
from anon.training.schedule import warm_cosine
from anon.weights.files import load_into


class RecognizerTraining(pl.LightningModule):
    """AdamW, linear warm-up and cosine decay; the identities are those of ``trainer.datamodule.faces("train")``.

    Args:
        backbone: normalized images (B, 3, S, S), here in [-1, 1] -> raw embeddings (B, D); has ``dim``.
        head: partial of a margin head, called with (dim, classes).
        steps: batches of the whole training, which the schedule spans; None: what the trainer's epochs make.
        lr, weight_decay, warmup: AdamW's peak rate, its decay (on matrices only), the share of steps that rise to it.
        strength: of the augmentation; 0 switches it off.
        seed: of the augmentation; with the step number it gives the draws, so a resumed run repeats them.
        start: weights of the backbone to begin from, a file or ``shipped:<name>``; None: random ones. They are read
            when training begins; a checkpoint does not need them.
        size: side S of the backbone's input in pixels, to whose framing images are brought; None: they have it.
        adversarial: makes of each picture the one that is learned from, see :mod:`anon.training.robustness`; None: the
            picture itself.
    """

    def __init__(
        self,
        backbone: nn.Module,
        head: Callable[[int, int], nn.Module],
        steps: int | None = None,
        lr: float = 3e-3,
        weight_decay: float = 0.05,
        warmup: float = 0.15,
        strength: float = 1.0,
        seed: int = 0,
        start: str | None = None,
        size: int | None = None,
        adversarial: Callable[[Losses, Tensor, torch.Generator], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.make_head = head
        self.head: nn.Module | None = None
        self.steps, self.lr, self.weight_decay, self.warmup = steps, lr, weight_decay, warmup
        self.strength, self.seed = strength, seed
        self.start, self.size, self.adversarial = start, size, adversarial
        self._held: list[tuple[Tensor, Tensor]] = []

    def setup(self, stage: str) -> None:
        """Make the head."""
        if self.head is None:
            classes = len(self.trainer.datamodule.faces("train").names)  # type: ignore[attr-defined]
            if classes < 2:
                raise UserError(f"A recognizer needs at least two training identities, the data has {classes}.")
            self.head = self.make_head(int(self.backbone.dim), classes)  # type: ignore[arg-type]

    def on_fit_start(self) -> None:
        """Load ``start``, unless a checkpoint is resumed; in ``setup`` that is not known yet."""
        if self.start is not None and self.trainer.ckpt_path is None:
            load_into(self.backbone, self.start)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Also outside a trainer: the head is then made for as many identities as the file has."""
        if self.head is None and "head.weight" in state_dict:
            self.head = self.make_head(int(self.backbone.dim), len(state_dict["head.weight"]))  # type: ignore[arg-type]
        return super().load_state_dict(state_dict, strict=strict, assign=assign)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, S, S) -> unit embeddings (B, D), float32."""
        return F.normalize(self.backbone(self._sized(images)).float())

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        images, labels = batch["image"], batch["identity"]
        seed = (self.seed * 1_000_003 + self.global_step) * 4096 + self.global_rank
        rng = torch.Generator(images.device).manual_seed(seed)
        images = self._sized(augment(images, rng, self.strength))
        assert self.head is not None
        head = self.head

        def losses(at: Tensor) -> Tensor:
            return F.cross_entropy(head(self.backbone(at), labels), labels, reduction="none")

        images = self._perturbed(losses, images, rng)
        logits = head(self.backbone(images), labels)
        loss = F.cross_entropy(logits, labels)
        figures = {"train/loss": loss, "train/accuracy": (logits.argmax(1) == labels).float().mean()}
        self.log_dict(mean_over_processes(figures), prog_bar=True)
        return loss

    def _perturbed(self, losses: Losses, images: Tensor, rng: torch.Generator) -> Tensor:
        """What is learned from, of one form with ``images``; the search uses and moves no statistics of the batch."""
        if self.adversarial is None:
            return images
        self.backbone.eval()
        found = self.adversarial(losses, images, rng)
        self.backbone.train()
        return found.contiguous(memory_format=torch.channels_last)

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self._held.append((self(batch["image"]), batch["identity"]))

    def on_validation_epoch_end(self) -> None:
        if not self._held:
            return
        z, labels = (torch.cat(part) for part in zip(*self._held, strict=True))
        self._held.clear()
        genuine, impostor = pair_distances(z, labels)
        if not len(genuine) or not len(impostor):
            return
        figures = {"eer": equal_error_rate(genuine, impostor)[0]}
        if len(impostor) >= 1000:
            figures = {key: value for key, value in summarize(z.cpu(), labels.cpu()).items() if key in _LOGGED}
        named = {f"val/{key}": value for key, value in figures.items()}
        self.log_dict(named, prog_bar=True, sync_dist=True)  # the same on all processes

    def configure_optimizers(self) -> Any:
        if self.steps is None:
            self.steps = int(self.trainer.estimated_stepping_batches)
        learned = [parameter for parameter in self.parameters() if parameter.requires_grad]
        groups: list[dict[str, Any]] = [
            {"params": [parameter for parameter in learned if parameter.ndim > 1]},
            {"params": [parameter for parameter in learned if parameter.ndim <= 1], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=self.lr, weight_decay=self.weight_decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self.rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def rate(self, step: int) -> float:
        """Share of the peak learning rate at a step."""
        return warm_cosine(step, self.steps or 1, self.warmup)

    def _sized(self, images: Tensor) -> Tensor:
        """Framed as encoders frame theirs."""
        if self.size is not None:
            images = reframe(images, Framing.of(self.size))
        return images.contiguous(memory_format=torch.channels_last)


_LOGGED = ("eer", "tar", "top1")


def augment(images: Tensor, rng: torch.Generator, strength: float = 1.0) -> Tensor:
    """Cheap distortions of a batch (B, 3, H, W) in [-1, 1], drawn per image from ``rng``.

    Mirroring, shift by up to 5 % and zoom by up to 8 % of the side, light and contrast, and for part of the batch a
    0.4-0.8x shrink and enlargement, noise (both for the sake of resized and compressed faces) and a grey cut-out of up
    to a third of the side.
    """
    if strength <= 0:
        return images
    count, _, height, width = images.shape
    device = images.device

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(shape or (count, 1, 1, 1), generator=rng, device=device)

    flip = torch.where(uniform(0, 1, count) < 0.5, -1.0, 1.0)
    zoom = 1.0 + strength * uniform(-0.08, 0.08, count)
    theta = images.new_zeros(count, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = flip * zoom, zoom
    theta[:, :, 2] = strength * uniform(-0.1, 0.1, count, 2)  # grid_sample counts the half side as 1
    grid = F.affine_grid(theta, [count, 3, height, width], align_corners=False)
    out = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)

    factor = float(uniform(0.4, 0.8, 1))
    small = F.interpolate(out, scale_factor=factor, mode="bilinear", align_corners=False, antialias=True)
    small = F.interpolate(small, (height, width), mode="bilinear", align_corners=False)
    out = torch.where(uniform(0, 1) < 0.25 * strength, small, out)

    out = out * (1.0 + strength * uniform(-0.25, 0.25)) + strength * uniform(-0.2, 0.2)
    noise = torch.randn(out.shape, generator=rng, device=device)
    out = out + noise * uniform(0, 0.08) * (uniform(0, 1) < 0.5) * strength

    side = uniform(0.1, 0.33, count, 1, 1) * (uniform(0, 1, count, 1, 1) < 0.4 * strength)
    x0, y0 = uniform(0, 1, count, 1, 1), uniform(0, 1, count, 1, 1)
    x = (torch.arange(width, device=device) + 0.5).view(1, 1, width) / width
    y = (torch.arange(height, device=device) + 0.5).view(1, height, 1) / height
    hole = ((x - x0).abs() < side / 2) & ((y - y0).abs() < side / 2)
    return out.masked_fill(hole[:, None], 0.0).clamp(-1.0, 1.0)
