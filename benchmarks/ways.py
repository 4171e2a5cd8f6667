"""How a training step can be run, published or ours, and the runs themselves: with weights, batches and draws alike."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.utils.data import DataLoader

from anon.apps.config import config_dir
from anon.faces.contract import float_batch
from anon.identity.encoder import RANDOM, Encoder, prepare
from anon.training.target_oriented import TargetOriented
from benchmarks.machine import allow_tf32, device, smooth_pictures, synchronize
from benchmarks.published import PUBLISHED, contiguous

Batch = dict[str, Tensor]
#: Steps between two R1 penalties of the lazy recipe; windows are a multiple of it.
LAZY = 8
RECIPE = ["model.view.share=0", "model.clip=null", "model.warmup=0", "model.cooldown=0", "model.decay=1"]
#: What of an experiment is ours and not the paper's.
OURS = {"fiva": ["model.pairing=null", "objective.terms.pixel.loss.inside=1.0"]}


@dataclass(frozen=True)
class Way:
    """How a step is run. ``published``: by :mod:`benchmarks.published`; else ours, with ``overrides``."""

    name: str
    precision: str = "fp32"
    published: bool = False
    forms: bool = True  # of the published step: the blocks as published too
    plain: bool = False  # ours with the published layout and optimizer
    overrides: tuple[str, ...] = ()


LITERAL = Way("published", published=True)
SAME = Way("ours, same maths, layout and optimizer", plain=True, overrides=("model.channels_last=false",))
FASTER = Way("+ channels_last, fused Adam")
HALF = Way("+ bf16", "bf16")
BEST = Way("+ lazy R1", "bf16", overrides=(f"objective.r1_every={LAZY}",))
#: The last rung by itself.
ALL = replace(BEST, name="all of ours")


#: Compiled is compared with this, not with the published step, which is not.
COMPILED = replace(BEST, name="compiled", overrides=(*BEST.overrides, "model.compile=true"))


def ways() -> list[Way]:
    """The ladder from the published step to all of ours."""
    found = [LITERAL, Way("published, our blocks", published=True, forms=False), SAME, FASTER, HALF, BEST]
    if torch.cuda.is_available():
        found[1:1] = [Way("published, TF32", "tf32", published=True)]
        found.append(Way("ours, TF32, R1 at every step", "tf32"))
    return found


@dataclass
class Setting:
    """One experiment at one size."""

    experiment: str
    overrides: list[str]
    config: DictConfig = field(init=False)

    def __post_init__(self) -> None:
        self.config = self.composed()

    def composed(self, *more: str) -> DictConfig:
        published = [*RECIPE, "objective.r1_every=1", *OURS.get(self.experiment, [])]
        words = [f"experiment={self.experiment}", *published, *self.overrides, *more]
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            return compose("train", words)

    def module(self, *more: str) -> TargetOriented:
        """The same weights at every call."""
        torch.manual_seed(0)
        config = self.composed(*more)
        module = instantiate(config.model).to(device())
        if config.encoder.weights == RANDOM:
            settle(module.encoder.backbone, smooth_pictures(16, module.encoder.size, seed=0).to(device()))
        return module

    def batches(self, size: int, count: int = 4) -> list[Batch]:
        """Synthetic ones, on the device already."""
        side = int(self.config.data.size)
        pictures = [smooth_pictures(2 * size, side, seed).to(device()) for seed in range(count)]
        return [{"image": both[:size], "changed": both[size:]} for both in pictures]

    def data(self) -> pl.LightningDataModule:
        """The real loader, as ``train.py`` builds it."""
        data = instantiate(self.config.data)
        return data if self.config.attack is None else instantiate(self.config.attack, data=data)


@torch.no_grad()
def settle(backbone: nn.Module, images: Tensor) -> None:
    """Give the batch norms of an untrained recognizer the statistics of ``images``, without which it overflows."""
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            module.momentum = None  # averages
    backbone.train()(images)
    backbone.eval()


class ContiguousEncoder(Encoder):
    """For :data:`SAME`, whose layout is the published one everywhere."""

    def prepare(self, images: Tensor) -> Tensor:
        return prepare(images, self.size, self.mean, self.std, self.bgr)


class Watch(pl.Callback):
    """Seconds of all steps but the first ``warm``, and every step's losses where they are logged."""

    def __init__(self, warm: int, plain: bool) -> None:
        self.warm, self.plain = warm, plain
        self.began = self.seconds = 0.0
        self.done = 0  # over all epochs
        self.losses: list[dict[str, float]] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        for optimizer in trainer.optimizers if self.plain else ():
            for group in optimizer.param_groups:
                group["fused"] = group["foreach"] = False
        self._look()

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        self.done += 1
        if trainer.log_every_n_steps == 1:  # type: ignore[attr-defined]
            figures = {name.removeprefix("train/"): float(value) for name, value in trainer.callback_metrics.items()}
            self.losses.append(figures)
        if self.done == self.warm:
            self._look()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        synchronize()
        self.seconds = time.perf_counter() - self.began

    def _look(self) -> None:
        synchronize()
        self.began = time.perf_counter()


class Runner:
    """One way, ready to be run again and again."""

    def __init__(self, way: Way, setting: Setting, *more: str) -> None:
        self.way = way
        self.module = setting.module(*way.overrides, *more)
        if way.plain:
            contiguous(self.module.encoder.backbone)
            self.module.encoder.__class__ = ContiguousEncoder
        self.step = PUBLISHED[setting.experiment](self.module, way.forms).step if way.published else None

    def run(self, batches: Any, steps: int, warm: int = 1, log_every: int = 10) -> tuple[float, list[dict[str, float]]]:
        """Seconds of ``steps`` steps after ``warm`` ones, and each step's losses with ``log_every=1``.

        Args:
            batches: a list of them, over and over, or the data module.
        """
        allow_tf32(self.way.precision != "fp32")  # with bf16 too: what stays in float32 there is R1
        if self.step is None:
            return self._fit(batches, steps, warm, log_every)
        losses: list[dict[str, float]] = []
        synchronize()
        began = time.perf_counter()
        for number, batch in enumerate(itertools.islice(endless(batches), warm + steps)):
            found = self.step(float_batch({name: value.to(device()) for name, value in batch.items()}), number)
            if log_every == 1:
                losses.append({name: float(value) for name, value in found.items()})
            if number + 1 == warm:
                synchronize()
                began = time.perf_counter()
        synchronize()
        return time.perf_counter() - began, losses

    def _fit(self, batches: Any, steps: int, warm: int, log_every: int) -> tuple[float, list[dict[str, float]]]:
        watch = Watch(warm, self.way.plain)
        trainer = pl.Trainer(
            accelerator="auto",
            devices=1,
            precision="bf16-mixed" if self.way.precision == "bf16" else "32-true",
            max_steps=2 * (warm + steps),  # Lightning counts both optimizers
            max_epochs=-1,
            log_every_n_steps=log_every,
            limit_val_batches=0,
            logger=False,
            callbacks=[watch],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        if isinstance(batches, pl.LightningDataModule):
            trainer.fit(self.module, datamodule=batches)
        else:
            several = list(itertools.islice(endless(batches), warm + steps))
            trainer.fit(self.module, DataLoader(several, batch_size=None))  # type: ignore[arg-type]
        self.module.to(device())  # Lightning takes it from the GPU
        return watch.seconds, watch.losses


def endless(batches: Any) -> Iterator[Batch]:
    """Batches of a list or of a data module's loader, as they go to the device, without end."""
    if isinstance(batches, pl.LightningDataModule):
        batches = batches.train_dataloader()
    return itertools.chain.from_iterable(itertools.repeat(batches))
