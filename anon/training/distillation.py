"""A robust student of a recognizer: its embeddings, but without the patterns that fool it.

    loss = 1 - cos(student(c(x) + d), teacher(x)),   d = the worst change of the same loss within a ball around c(x)

The teacher is any frozen encoder, such as one from a file; it sees the augmented picture, the student the worst picture
of a ball around it (adversarially robust distillation: Goldblum et al., AAAI 2020, eq. 1, with the teacher's answer in
the place of the labels within the search too, as Zi et al., ICCV 2021). c gives the face another light and tint, which
no ball of small changes holds and a generator that flees finds at once (ours). No labels are learned from, so any
folder of faces will do, and both see one view of a picture (Beyer et al., CVPR 2022). It is for generators to flee, who
find no pattern against it as cheaply as against its teacher (:mod:`anon.training.robustness`). With L2 the radius grows
with the picture's side, for one change a pixel: 2.0 at 64 px is 3.5 at 112 px.

With a network of its own the student begins at random, or at ``start``, such as a student that learned without worst
pictures. Without one it is a copy of the teacher that becomes robust (Schlarmann et al., ICML 2024, eq. 3, with the
cosine distance).

    python train.py experiment=recognizer_student data=packed data.root=<packed> encoder=mobilefacenet \
        encoder.weights=<file>
    python train.py experiment=fiva data=packed data.root=<packed> data.size=112 encoder=student \
        encoder.weights=<run folder>/checkpoints/last.ckpt
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from anon.errors import UserError
from anon.identity.encoder import Encoder
from anon.training.augment import Colours, step_rng
from anon.training.gradients import mean_over_processes
from anon.training.recognizer import RecognizerTraining, augment
from anon.training.robustness import Losses


class CopyOf(nn.Module):
    """The network of an encoder, to be trained: framed images (B, 3, S, S) in [-1, 1] -> raw embeddings (B, dim).

    It normalizes them as the encoder does; ``encoder=<the encoder's choice> encoder.weights=<checkpoint>`` reads it.

    Raises:
        UserError: an encoder of an ONNX file, which no checkpoint can replace.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        if hasattr(encoder.backbone, "fingerprint"):
            raise UserError(
                f"the student cannot be a copy of '{encoder.name}', which is an ONNX file and has no encoder that "
                "would read it; leave model.backbone, a network of its own, as it is."
            )
        self.network = copy.deepcopy(encoder.backbone).requires_grad_(True)
        self.dim, self.bgr = encoder.dim, encoder.bgr
        self.register_buffer("mean", encoder.mean.clone(), persistent=False)
        self.register_buffer("std", encoder.std.clone(), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        x = (images - self.mean) / self.std
        return self.network(x.flip(1) if self.bgr else x)


class DistillationTraining(RecognizerTraining):
    """The student learns; the teacher is no part of the checkpoint, whose weights are the student's alone.

    Args:
        teacher: whose embeddings are learned; frozen.
        backbone: the student, framed images (B, 3, S, S) in [-1, 1] -> raw embeddings (B, teacher.dim); has ``dim``.
            None: a copy of the teacher's network, at the teacher's size.
        adversarial: from the student's loss, the pictures (B, 3, H, W) and a generator to the pictures that the student
            sees, such as :class:`anon.training.robustness.WorstPicture`; None: those that the teacher sees.
        colours: from pictures (B, 3, H, W) and a generator to those around which the ball lies; None: as they are.
        steps, lr, weight_decay, warmup, strength, seed, start, size: as :class:`RecognizerTraining` has them.

    Raises:
        UserError: a backbone whose embeddings are not as long as the teacher's.
    """

    teacher: Encoder

    def __init__(
        self,
        teacher: Encoder,
        backbone: nn.Module | None = None,
        adversarial: Callable[[Losses, Tensor, torch.Generator], Tensor] | None = None,
        steps: int | None = None,
        lr: float = 1e-3,
        weight_decay: float = 0.05,
        warmup: float = 0.05,
        strength: float = 1.0,
        seed: int = 0,
        start: str | None = None,
        size: int | None = None,
        colours: Colours | None = None,
    ) -> None:
        if backbone is None:
            backbone, size = CopyOf(teacher), teacher.size
        if int(backbone.dim) != teacher.dim:  # type: ignore[arg-type]
            raise UserError(
                f"the student's embeddings have {backbone.dim} numbers and those of its teacher, '{teacher.name}', "
                f"{teacher.dim}; give model.backbone.dim={teacher.dim}."
            )
        # No people are told apart: the head has no weights.
        super().__init__(
            backbone, nn.Identity, steps, lr, weight_decay, warmup, strength, seed, start, size, adversarial
        )
        self.__dict__["teacher"] = teacher  # not a submodule, so neither trained nor saved
        self.colours = colours

    def on_fit_start(self) -> None:
        super().on_fit_start()
        self.teacher.to(self.device)  # Lightning moves submodules alone

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        rng = step_rng(self.device, self.seed, self.global_step, self.global_rank)
        images = augment(batch["image"], rng, self.strength)
        with torch.no_grad():
            wanted = self.teacher(images).z

        def losses(seen: Tensor) -> Tensor:
            return 1.0 - (self(seen) * wanted).sum(1)

        coloured = images if self.colours is None else self.colours(images, rng)
        loss = losses(self._perturbed(losses, coloured, rng)).mean()
        self.log_dict(mean_over_processes({"train/loss": loss}), prog_bar=True)
        return loss

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Beside the error rate, how far the student is from its teacher on pictures that nobody changed."""
        super().validation_step(batch, batch_idx)
        away = 1.0 - (self._held[-1][0] * self.teacher(batch["image"]).z).sum(1)
        self.log("val/loss", away.mean(), batch_size=len(away), sync_dist=True)
