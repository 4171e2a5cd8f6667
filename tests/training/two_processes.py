"""Run by test_ddp.py: trainings of a few steps in two gloo processes, one after the other; each rank saves what it has.

The modules and faces are made here for one process as well, see :func:`module` and :func:`data`.
"""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path
from typing import Any

import anon  # noqa: F401  before Lightning: it mends torchvision

# isort: split
import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from anon.apps.config import config_dir
from anon.faces.datamodule import FaceData
from anon.identity.margins import ArcFace
from anon.identity.networks.iresnet import IResNet
from anon.training.augment import View
from anon.training.recognizer import RecognizerTraining
from tests.training import small

BATCH, FACES, HELD_OUT = 4, 24, 13  # an odd number of faces to validate on, and no whole number of batches
STEPS = {"fiva": 4, "facedancer": 2, "simswap": 2, "recognizer": 3}  # fiva's go on into a second epoch
SMALL = {
    "facedancer": ["generator.base=8", "generator.mapping=16", "model.pairing.share=0.4"],
    "simswap": ["generator.base=8", "generator.blocks=1"],
}


class Record(Callback):
    """What is logged in each step, and the faces that are trained on and validated on by this process."""

    def __init__(self) -> None:
        self.figures: list[dict[str, float]] = []
        self.faces: list[list[int]] = []
        self.validated: list[int] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.figures.append({name: value for name, value in figures.items() if name != "train/images_per_s"})
        self.faces.append(batch["number"].tolist())

    def on_validation_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, *rest: Any) -> None:
        self.validated += batch["number"].tolist()


class Numbered(small.Pictures):
    """Pictures of ``side`` pixels that know their number."""

    def __init__(self, side: int, split: str) -> None:
        super().__init__(split, FACES if split == "train" else HELD_OUT)
        self.images = torch.nn.functional.interpolate(self.images, (side, side), mode="bilinear")

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return super().__getitem__(index) | {"number": torch.tensor(index)}


def data(name: str, batch_size: int) -> FaceData:
    side = 32 if name in SMALL else small.SIZE
    return FaceData(functools.partial(Numbered, side), "pictures", side, synthetic=True, batch_size=batch_size)


def module(name: str) -> Any:
    """The same weights at every call; swappers are those of the configuration, with narrow networks."""
    if name == "fiva":
        return small.module(view=View(share=0.7), warmup=2, seed=5)
    torch.manual_seed(0)
    if name == "recognizer":
        return RecognizerTraining(IResNet((1, 1), (8, 16), 16, 16), functools.partial(ArcFace, s=16.0, m=0.2), seed=3)
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        words = [f"experiment={name}", "data.size=32", "discriminator.base=4", "model.distortion.rotation=5"]
        return instantiate(compose("train", words + SMALL[name]).model)


def trainer(name: str, folder: Path, steps: int, **options: Any) -> pl.Trainer:
    """With the validation and the samplers of conf/trainer."""
    plain = OmegaConf.load(config_dir() / "trainer" / "default.yaml")
    options |= {"limit_val_batches": 1.0, "num_sanity_val_steps": 0}
    options |= {"use_distributed_sampler": plain.use_distributed_sampler}
    return small.trainer(folder, steps, **options | ({"max_steps": steps} if name == "recognizer" else {}))


def fit(name: str, folder: Path, module: Any, batch_size: int, steps: int | None = None, **options: Any) -> pl.Trainer:
    """Train, and validate after each epoch, of three batches."""
    checkpoint = options.pop("ckpt_path", None)
    made = trainer(name, folder, steps or STEPS[name], **options)
    made.fit(module, datamodule=data(name, batch_size), ckpt_path=checkpoint, weights_only=True)
    return made


def validation(trainer: pl.Trainer) -> dict[str, float]:
    """What the last validation found."""
    return {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")}


def run(folder: Path) -> dict[str, Any]:
    """All trainings of one process of two."""
    found = {}
    both = {"devices": 2, "strategy": "ddp_find_unused_parameters_true"}
    for name in STEPS:
        record, ours = Record(), module(name)
        made = fit(name, folder, ours, BATCH, callbacks=[record], **both)
        kept = {"figures": record.figures, "faces": record.faces, "validated": record.validated}
        found[name] = {"state": ours.state_dict(), "validation": validation(made), **kept}
    both["strategy"], file = "ddp", folder / "half.ckpt"
    fit("fiva", folder, module("fiva"), BATCH, steps=2, **both).save_checkpoint(file)
    ours = module("fiva")
    fit("fiva", folder, ours, BATCH, ckpt_path=file, **both)
    return found | {"resumed": {"state": ours.state_dict()}}


if __name__ == "__main__":
    torch.set_num_threads(1)
    found = run(Path(sys.argv[1]))
    torch.save(found, Path(sys.argv[1]) / f"rank{os.environ.get('LOCAL_RANK', '0')}.pt")
