"""Sample grids while training: a few faces of the background split, how they look now."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from PIL import Image
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import TensorBoardLogger, WandbLogger
from torch import Tensor

from anon.faces.cache import owners_only
from anon.faces.contract import FaceSet, to_uint8
from anon.faces.splits import EmptySplit
from anon.training.callbacks.steps import steps_done


def spread(faces: FaceSet, count: int, key: str = "image") -> Tensor:
    """(n, 3, H, W) with n <= count: the first picture of people spread over the set, always the same ones."""
    _, first = torch.unique_consecutive(faces.labels, return_counts=True)
    starts = torch.cat((first.new_zeros(1), first.cumsum(0)[:-1]))
    chosen = starts[torch.linspace(0, len(starts) - 1, min(count, len(starts))).long()]
    return torch.stack([faces[int(index)][key] for index in chosen])  # type: ignore[literal-required]


def sheet(columns: list[Tensor]) -> Tensor:
    """Image batches (B, 3, H, W), one a column, to one picture uint8 (B·H, columns·W, 3)."""
    whole = torch.cat([torch.cat(list(column), 1) for column in columns], 2).float().cpu()
    return to_uint8(whole.nan_to_num(0.0, 1.0, -1.0))  # NaN is grey: a grid shows a broken network, the guards tell


class SampleGrids(Callback):
    """Writes ``<folder>/<step>.png``, a row a face: target, then raw, mask and blended for its own embedding, blended
    for the opposite one, and another face with the target redrawn to be it.

    Drawn, in the run folder, in W&B and in TensorBoard, only when the data module says ``synthetic`` or ``images`` is
    true: faces that belong to somebody stay out of logs unless asked for.

    Args:
        folder: made when the first grid is written.
        every: batches between grids; one more is written when training ends.
        faces: rows, at most as many as there are people in the background split.
    """

    def __init__(self, folder: str, every: int = 500, faces: int = 8, images: bool = False) -> None:
        self.folder, self.every, self.faces, self.images = Path(folder), every, faces, images
        self._targets: Tensor | None = None

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.is_global_zero and (steps_done(trainer) % self.every == 0 or trainer.should_stop):
            self.write(trainer, pl_module, steps_done(trainer))

    @torch.no_grad()
    def write(self, trainer: pl.Trainer, pl_module: pl.LightningModule, step: int) -> None:
        """One grid of the averaged generator; none where faces may not be shown or the data has no background split."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        if not (self.images or data.synthetic):
            return
        if self._targets is None:
            try:
                self._targets = self.pick(data.faces("background"))
            except EmptySplit:
                self._targets = torch.empty(0)
        if not len(self._targets):
            return
        picture = Image.fromarray(sheet(self.columns(pl_module, self._targets.to(pl_module.device))).numpy())
        picture = picture.resize((picture.width * 2, picture.height * 2), Image.Resampling.NEAREST)
        self.folder.mkdir(exist_ok=True)  # not the run folder, if that has been removed
        opener = None if data.synthetic else owners_only
        with open(self.folder / f"{step:07d}.png", "wb", opener=opener) as file:
            picture.save(file, "PNG")
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_image("grid", [picture], step=step - 1)  # with the figures of the same batch
            elif isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image("grid", np.asarray(picture), step - 1, dataformats="HWC")

    def pick(self, faces: FaceSet) -> Tensor:
        """The pictures that the grids are made of."""
        return spread(faces, self.faces)

    def columns(self, pl_module: pl.LightningModule, target: Tensor) -> list[Tensor]:
        """Image batches, one a column."""
        z = pl_module.encoder(target).z  # type: ignore[operator]
        redrawn = pl_module(target, z)
        columns = [target, redrawn.image]
        if redrawn.mask is not None:
            columns.append(redrawn.mask.expand_as(target) * 2 - 1)
        source = target.roll(1, 0)
        swapped = pl_module(target, pl_module.steers * z.roll(1, 0)).blend(target)  # type: ignore[operator]
        return [*columns, redrawn.blend(target), pl_module(target, -z).blend(target), source, swapped]


class ReconstructionGrids(SampleGrids):
    """A row a face: as it was, as it was changed, as the attack finds it."""

    def pick(self, faces: FaceSet) -> Tensor:
        """(n, 2, 3, H, W): faces and their changed ones."""
        return torch.stack([spread(faces, self.faces, key) for key in ("image", "changed")], 1)

    def columns(self, pl_module: pl.LightningModule, target: Tensor) -> list[Tensor]:
        image, changed = target.unbind(1)
        return [image, changed, pl_module.averaged(changed).clamp(-1, 1)]  # type: ignore[operator]


class ReversibleGrids(SampleGrids):
    """A row a face: as it was, redrawn with a key, recovered with the same, and with another one (both turn by 90°)."""

    def columns(self, pl_module: pl.LightningModule, target: Tensor) -> list[Tensor]:
        return pl_module.undone(target, torch.Generator().manual_seed(0))  # type: ignore[operator]


class InpaintingGrids(SampleGrids):
    """A row a face: as it was, what the network sees of it, and three people drawn into the hole."""

    def columns(self, pl_module: pl.LightningModule, target: Tensor) -> list[Tensor]:
        context = pl_module.averaged.see(target).context  # type: ignore[operator, union-attr]
        return [target, context, *pl_module.drawn(target, 3)]  # type: ignore[operator]
