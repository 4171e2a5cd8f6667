"""Both stages of the expression embedder's training: learning, freezing, resuming, and the configurations."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from torch import Tensor

from anon.apps.config import config_dir
from anon.attributes.expression import ExpressionEmbedder
from anon.attributes.expression_classes import synthetic_labels
from anon.errors import UserError
from anon.faces.datamodule import FaceData
from anon.identity.networks.iresnet import IResNet
from anon.training.expression import ExpressionTraining
from anon.training.schedule import warm_cosine

SIZE = 16


class Patterns:
    """Four classes, a coarse pattern each under noise; every fifth face has no class, every seventh no valence."""

    synthetic = True

    def __init__(self, split: str = "train", count: int = 96) -> None:
        rng = torch.Generator().manual_seed(0)
        base = torch.nn.functional.interpolate(torch.randn(4, 3, 4, 4, generator=rng), (SIZE, SIZE)).clamp(-1, 1)
        number = torch.arange(count)
        rng.manual_seed(len(split))
        kind = torch.randint(0, 4, (count,), generator=rng)
        self.images = (base[kind] * 0.8 + 0.15 * torch.randn(count, 3, SIZE, SIZE, generator=rng)).clamp(-1, 1)
        self.kind = torch.where(number % 5 == 4, -1, kind)
        self.valence = torch.where(number % 7 == 6, float("nan"), kind / 2 - 0.75)
        self.labels, self.names = number // 2, [str(n) for n in range(count // 2)]
        self.videos, self.frames = torch.full((count,), -1), number % 2

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {
            "image": self.images[index],
            "identity": self.labels[index],
            "expression_class": self.kind[index],
            "valence": self.valence[index],
            "arousal": -self.valence[index],
        }


def module(**options: Any) -> ExpressionTraining:
    torch.manual_seed(0)
    embedder = ExpressionEmbedder(SIZE, 4, IResNet((1, 1), (8, 16), 16, SIZE), projection=8)
    return ExpressionTraining(embedder, **{"lr": 1e-2, "seed": 1, "strength": 0.3, **options})


def data() -> FaceData:
    return FaceData(Patterns, "patterns", SIZE, synthetic=True, batch_size=24)


def trainer(folder: Path, epochs: int, **options: Any) -> pl.Trainer:
    plain: dict[str, Any] = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False}
    plain |= {"enable_progress_bar": False, "enable_model_summary": False, "default_root_dir": folder}
    return pl.Trainer(max_epochs=epochs, **(plain | options))


class _Watch(pl.Callback):
    """Keeps the losses and, from the first step of the second stage on, the weights at its begin and end."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.before: dict[str, Tensor] = {}

    def on_train_batch_start(self, trainer: pl.Trainer, module: ExpressionTraining, batch: Any, batch_idx: int) -> None:  # type: ignore[override]
        if module.step == module.embed_steps:
            self.before = {name: value.clone() for name, value in module.embedder.state_dict().items()}

    def on_train_batch_end(self, trainer: pl.Trainer, *rest: Any) -> None:
        self.losses.append(float(trainer.callback_metrics["train/loss"]))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("options", [{"affect_loss": "ccc"}, {"views": 2, "affect_loss": "mse"}])
def test_learns_classes_then_freezes_all_but_the_classifier(tmp_path: Path, options: dict[str, Any]) -> None:
    trained, watch = module(embed=0.6, **options), _Watch()
    run = trainer(tmp_path, 10, callbacks=[watch])
    run.fit(trained, datamodule=data())
    assert trained.steps == 40 and trained.embed_steps == 24
    assert trained.counts.tolist() == [int((Patterns().kind == kind).sum()) for kind in range(4)]  # type: ignore[union-attr]
    assert watch.losses[23] < 0.7 * watch.losses[0]
    after = trained.embedder.state_dict()
    moved = {name.partition(".")[0] for name in after if not torch.equal(after[name], watch.before[name])}
    assert moved == {"classifier"}
    figures = run.callback_metrics
    assert figures["val/accuracy"] > 0.6 and figures["val/macro_recall"] > 0.6  # by chance .25
    assert figures["val/valence_CCC"] > 0.4


@pytest.mark.filterwarnings("ignore")
def test_overfits_a_batch(tmp_path: Path) -> None:
    trained = module(embed=0.9, strength=0.0)
    trainer(tmp_path, 25, overfit_batches=1, limit_val_batches=0).fit(trained, datamodule=data())
    images, kind = Patterns().images[:24], Patterns().kind[:24]
    with torch.no_grad():
        z = trained.embedder.eval()(images)["expression"]
    distance = torch.cdist(z, z)
    known = (kind[:, None] >= 0) & (kind[None] >= 0) & ~torch.eye(24, dtype=torch.bool)
    same = kind[:, None] == kind[None]
    assert distance[same & known].mean() < 0.3 * distance[~same & known].mean()


class _Save(pl.Callback):
    """A checkpoint in the middle."""

    def __init__(self, path: Path, at: int) -> None:
        self.path, self.at = path, at

    def on_train_batch_end(self, trainer: pl.Trainer, *rest: Any) -> None:
        if trainer.global_step == self.at:
            trainer.save_checkpoint(self.path, weights_only=False)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("stop", [5, 9])  # in the first stage, in the second
def test_resumed_training_is_the_unbroken_one_bit_for_bit(tmp_path: Path, stop: int) -> None:
    whole, part, again = (tmp_path / name for name in ("whole.ckpt", "part.ckpt", "again.ckpt"))
    options: dict[str, Any] = {"limit_val_batches": 0}
    first = trainer(tmp_path, 3, callbacks=[_Save(part, stop)], **options)
    first.fit(module(embed=0.6), datamodule=data())
    first.save_checkpoint(whole, weights_only=False)
    second = trainer(tmp_path, 3, **options)
    second.fit(module(embed=0.6), datamodule=data(), ckpt_path=part, weights_only=True)
    second.save_checkpoint(again, weights_only=False)
    whole, part, again = (torch.load(path, weights_only=True) for path in (whole, part, again))
    assert [content["global_step"] for content in (whole, part, again)] == [12, stop, 12]
    for name, value in whole["state_dict"].items():
        assert torch.equal(value, again["state_dict"][name]), name
    for wanted, found in zip(whole["optimizer_states"], again["optimizer_states"], strict=True):
        for key, state in wanted["state"].items():
            for name, value in state.items():
                assert torch.equal(value, found["state"][key][name])


def test_rate_rises_linearly_and_falls_along_a_cosine() -> None:
    schedule = functools.partial(warm_cosine, steps=100, warmup=0.1)
    assert [schedule(step) for step in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1.0])
    assert schedule(55) == pytest.approx(0.01 + 0.99 / 2) and schedule(100) == pytest.approx(0.01)


@pytest.mark.parametrize("wrong", [{"affect_loss": "l1"}, {"embed": 1.0}, {"counts": [1, 2]}, {"views": 0}])
def test_impossible_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        module(**wrong)


class _Rendered:
    """One random batch with the renderer's truth."""

    synthetic = True

    def __init__(self, split: str, size: int) -> None:
        rng = torch.Generator().manual_seed(0)
        self.images = torch.rand(3, 3, size, size, generator=rng) * 2 - 1
        self.mood = torch.tensor([[0.0, 0.0, 0.0, 0.1], [0.0, 0.0, 0.1, 0.1], [0.1, 0.8, 0.1, 0.2]])

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"image": self.images[index], "expression": self.mood[index]}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("scale", ["default", "paper"])
def test_both_scales_take_a_step_of_each_stage(tmp_path: Path, scale: str) -> None:
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        config = compose("train", ["experiment=expression", f"scale={scale}", "steps=2", "model.embed=0.5"])
    trained = instantiate(config.model)
    assert trained.labels.func is synthetic_labels
    size = config.data.size
    assert (size, trained.embedder.dim) == ((64, 128) if scale == "default" else (224, 1280))
    sets = functools.partial(_Rendered, size=size)
    faces = FaceData(sets, "rendered", size, synthetic=True, batch_size=3)
    before = {name: value.clone() for name, value in trained.state_dict().items()}
    trainer(tmp_path, 2, limit_val_batches=0).fit(trained, datamodule=faces)
    moved = {name.split(".")[1] for name, value in trained.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {"trunk", "projection", "affect", "classifier"}
