"""A FIVA of a few thousand parameters, an untrained encoder and random pictures: training in a second."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from anon.faces.datamodule import FaceData
from anon.generators.discriminator import Discriminator
from anon.generators.fiva import FIVA
from anon.identity.encoder import Encoder
from anon.identity.networks.iresnet import IResNet
from anon.losses.adversarial import NonSaturating
from anon.losses.identity import CounterfactualCosine
from anon.losses.ifsr import IFSR
from anon.losses.pixel import MaskL1, PixelL1
from anon.training.objective import Objective, Term
from anon.training.target_oriented import TargetOriented

SIZE, DIM = 16, 12


class Pictures:
    """A face set of smooth random pictures, a person each two."""

    synthetic = True

    def __init__(self, split: str = "train", count: int = 24) -> None:
        rng = torch.Generator().manual_seed(len(split))
        coarse = torch.rand(count, 3, 4, 4, generator=rng) * 2 - 1
        self.images = nn.functional.interpolate(coarse, (SIZE, SIZE), mode="bilinear")
        self.labels = torch.arange(count) // 2
        self.videos, self.frames = torch.full((count,), -1), torch.arange(count) % 2
        self.names = [str(number) for number in range(count // 2)]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"image": self.images[index], "identity": self.labels[index]}


@torch.no_grad()
def settle(backbone: nn.Module, images: Tensor) -> None:
    """Give the batch norms of an untrained network the statistics of ``images``, so that it tells pictures apart."""
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            module.momentum = None  # averages
    backbone.train()(images)
    backbone.eval()


def encoder() -> Encoder:
    """Frozen and untrained."""
    torch.manual_seed(1)
    backbone = IResNet((1, 1), (8, 16), DIM, SIZE, stem_stride=1)
    settle(backbone, Pictures(count=64).images)
    return Encoder(backbone, SIZE, name="small", layers=("prelu", "layer1"))


def terms(**weights: float) -> dict[str, Term]:
    """FIVA's terms; a name sets the weight."""
    chosen = {"identity": 3.0, "ifsr": 2.0, "pixel": 5.0, "mask": 0.05, "adversarial": 0.5} | weights
    parts: dict[str, tuple[nn.Module, list[str]]] = {
        "identity": (CounterfactualCosine(), ["z_target", "z_raw", "z_blended"]),
        "ifsr": (IFSR(), ["maps_target", "maps_raw"]),
        "pixel": (PixelL1(), ["raw", "distorted"]),
        "mask": (MaskL1(), ["mask"]),
        "adversarial": (NonSaturating(), ["logits_blended"]),
    }
    return {name: Term(loss, of, chosen[name]) for name, (loss, of) in parts.items()}


def module(objective: Objective | None = None, **options: Any) -> TargetOriented:
    """The same weights at every call."""
    frozen_encoder = encoder()
    torch.manual_seed(0)
    generator, discriminator = FIVA((8, 16), DIM, bottleneck=1), Discriminator(SIZE, base=4)
    objective = objective or Objective(terms(), r1_every=2)
    return TargetOriented(generator, discriminator, frozen_encoder, objective, **{"lr": 1e-3, **options})


def data(batch_size: int = 4, count: int = 24) -> FaceData:
    return FaceData(partial(Pictures, count=count), "pictures", SIZE, synthetic=True, batch_size=batch_size)


def trainer(folder: Path, steps: int, **options: Any) -> pl.Trainer:
    plain: dict[str, Any] = {
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "max_epochs": -1,
        "max_steps": 2 * steps,  # Lightning counts both optimizers
        "limit_val_batches": 0,
        "log_every_n_steps": 1,
        "default_root_dir": folder,
    }
    return pl.Trainer(**(plain | options))


def loader(batch: Tensor) -> DataLoader:
    """One batch."""
    return DataLoader([{"image": image} for image in batch], batch_size=len(batch))  # type: ignore[arg-type]
