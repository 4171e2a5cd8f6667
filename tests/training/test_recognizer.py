"""Recognizer training: the augmentation's promises, the schedule, and that it learns to tell people apart."""

from __future__ import annotations

import functools

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset

from anon.errors import UserError
from anon.identity.margins import ArcFace
from anon.identity.networks.iresnet import IResNet
from anon.training.recognizer import RecognizerTraining, augment


class Blobs(Dataset):
    """People who are a coarse random pattern each, with noise on every picture."""

    synthetic = True

    def __init__(self, people: int, seed: int, pictures: int = 8) -> None:
        rng = torch.Generator().manual_seed(seed)
        base = torch.nn.functional.interpolate(torch.randn(people, 3, 4, 4, generator=rng), (16, 16)).clamp(-1, 1)
        self.names = [str(n) for n in range(people)]
        self.labels = torch.arange(people).repeat_interleave(pictures)
        self.videos, self.frames = -torch.ones_like(self.labels), torch.zeros_like(self.labels)
        self.images = base[self.labels] * 0.9 + 0.1 * torch.randn(len(self.labels), 3, 16, 16, generator=rng)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int):
        return {"image": self.images[index].clamp(-1, 1), "identity": self.labels[index]}


class Data(pl.LightningDataModule):
    def __init__(self, people: int = 20) -> None:
        super().__init__()
        self.sets = {"train": Blobs(people, 0), "background": Blobs(10, 1)}

    def faces(self, split: str) -> Blobs:
        return self.sets[split]

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.sets["train"], 32, shuffle=True, drop_last=True)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(self.sets["background"], 32)


def _module(**changes: object) -> RecognizerTraining:
    torch.manual_seed(0)
    settings = {"lr": 1e-2, "seed": 3, **changes}
    return RecognizerTraining(_backbone(), functools.partial(ArcFace, s=16.0, m=0.2), **settings)  # type: ignore[arg-type]


def _backbone() -> IResNet:
    return IResNet((1, 1), (8, 16), 16, 16)


def _trainer(epochs: int) -> pl.Trainer:
    return pl.Trainer(
        max_epochs=epochs, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, accelerator="cpu",
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore")
def test_learns_people_and_is_restored_outside_a_trainer(tmp_path):
    module, trainer = _module(), _trainer(6)
    trainer.fit(module, Data())
    figures = trainer.callback_metrics
    assert module.head.weight.shape == (20, 16)
    assert figures["val/eer"] < 0.15 and figures["val/top1"] > 0.8  # ten people never seen; by chance .5 and .1
    assert 0.0 <= figures["val/tar"] <= 1.0

    trainer.save_checkpoint(tmp_path / "last.ckpt", weights_only=True)
    outside = _module()  # a module without a trainer takes the head's size from the file
    outside.load_state_dict(torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"])
    assert torch.equal(outside.head.weight, module.head.weight)
    images = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(outside.eval()(images), module.eval()(images))


def test_one_identity_is_refused():
    with pytest.raises(UserError, match="two training identities"):
        _trainer(1).fit(_module(), Data(people=1))


def test_schedule_rises_linearly_and_falls_along_a_cosine():
    module = _module(steps=110, warmup=10 / 110)
    assert [module.rate(step) for step in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1.0])
    assert module.rate(10) == pytest.approx(1.0)
    assert module.rate(60) == pytest.approx(0.01 + 0.99 / 2)  # half way down
    assert module.rate(110) == pytest.approx(0.01) == module.rate(500)


def test_augmentation_keeps_the_contract_and_repeats_with_its_seed():
    images = torch.rand(16, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    one, two, other = (augment(images, torch.Generator().manual_seed(seed)) for seed in (5, 5, 6))
    assert torch.equal(one, two) and not torch.equal(one, other)
    assert one.shape == images.shape and one.dtype == torch.float32 and float(one.abs().max()) <= 1.0
    assert torch.equal(augment(images, torch.Generator(), strength=0.0), images)


def test_augmentation_mirrors_about_half_of_the_batch():
    images = torch.zeros(400, 3, 16, 16)
    images[..., :8] = 0.8  # bright left half
    out = augment(images, torch.Generator().manual_seed(0))
    left = out[..., :8].mean((1, 2, 3)) > out[..., 8:].mean((1, 2, 3))
    assert 0.4 < float(left.float().mean()) < 0.6
