"""The training batches: every face once an epoch, disjoint ranks, and the same sequence after a kill as without."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor, nn

from anon.errors import UserError
from anon.faces.contract import Sample
from anon.faces.datamodule import BatchStream, FaceData, StepSampler, collate, folder_data, synthetic_data
from anon.faces.splits import EmptySplit

CONF = Path(__file__).resolve().parents[2] / "conf"


class Numbered:
    """Faces whose ``frame`` is their index; fetched one by one, or in batches."""

    synthetic = True
    names = ("somebody",)

    def __init__(self, count: int = 26) -> None:
        self.labels, self.videos = torch.zeros(count, dtype=torch.long), torch.full((count,), -1)
        self.frames = torch.arange(count)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Sample:
        return {"image": torch.full((3, 2, 2), index / 100), "frame": self.frames[index]}


class Batched(Numbered):
    def __getitems__(self, indices: list[int]) -> Sample:
        return {"image": torch.zeros(len(indices), 3, 2, 2), "frame": self.frames[indices]}


def data(count: int = 26, batch_size: int = 4, workers: int = 0, seed: int = 3, kind: type = Batched) -> FaceData:
    return FaceData(lambda split: kind(count), "numbers", 2, True, batch_size, workers, seed)


def test_one_by_one_and_batched_fetches_agree() -> None:
    for kind in (Numbered, Batched):
        batch = next(iter(data(kind=kind).train_dataloader()))
        assert batch["frame"].tolist() == StepSampler(26, 4, seed=3).indices(0)
        assert batch["image"].shape == (4, 3, 2, 2)
    assert collate([Numbered()[1], Numbered()[2]])["frame"].tolist() == [1, 2]


def test_an_epoch_sees_each_face_once_and_the_next_in_another_order() -> None:
    sampler = StepSampler(24, 4, seed=0)
    epochs = [list(itertools.chain(*(sampler.indices(step) for step in range(6 * e, 6 * e + 6)))) for e in range(3)]
    assert all(sorted(epoch) == list(range(24)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert StepSampler(24, 4, seed=1).indices(0) != sampler.indices(0)


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_are_disjoint_and_share_the_batch_of_one_process(world: int) -> None:
    ranks = [StepSampler(26, 2, seed=5, rank=rank, world=world) for rank in range(world)]
    single = StepSampler(26, 2 * world, seed=5)
    assert len(single) == len(ranks[0]) == 26 // (2 * world)
    for step in range(3 * len(single)):
        assert list(itertools.chain(*(sampler.indices(step) for sampler in ranks))) == single.indices(step)
        assert len(set(single.indices(step))) == 2 * world


def test_a_batch_larger_than_the_set_is_refused() -> None:
    with pytest.raises(UserError, match="3 faces, fewer than one batch of 4 x 1"):
        data(count=3).train_dataloader()


def test_the_stream_continues_and_may_change_its_batch_size() -> None:
    whole, broken = BatchStream(Batched(), StepSampler(26, 4, 3)), BatchStream(Batched(), StepSampler(26, 4, 3))
    frames = [batch["frame"].tolist() for _ in range(2) for batch in whole]  # two epochs of 6
    for _, batch in zip(range(2), broken, strict=False):
        assert batch["frame"].tolist() == frames.pop(0)
    state = broken.state_dict()
    assert state == {"epoch": 0, "faces": 8}
    continued = BatchStream(Batched(), StepSampler(26, 4, 3), workers=2)
    continued.load_state_dict(state)
    assert [batch["frame"].tolist() for batch in continued] == frames[:6]
    halved = BatchStream(Batched(), StepSampler(26, 2, 3))
    halved.load_state_dict(state)
    assert halved.consumed == 4 and next(iter(halved))["frame"].tolist() == frames[0][:2]


def test_reading_batches_leaves_the_global_random_state_alone() -> None:
    before = torch.get_rng_state()
    list(data().train_dataloader())
    assert torch.equal(torch.get_rng_state(), before)


class Recorder(pl.LightningModule):
    """Two optimizer steps a batch, as adversarial training has; notes the faces it was given."""

    def __init__(self, stop_after: int) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.layer, self.stop_after, self.seen = nn.Linear(2, 1), stop_after, []
        self.register_buffer("batches", torch.zeros((), dtype=torch.long))

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self.seen.append(batch["frame"].tolist())
        for optimizer in self.optimizers():  # type: ignore[union-attr]
            optimizer.zero_grad()
            self.manual_backward(self.layer(batch["image"]).mean())
            optimizer.step()
        self.batches += 1
        self.trainer.should_stop = int(self.batches) >= self.stop_after

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        assert len(batch["frame"])

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        return [torch.optim.SGD(self.parameters(), 0.1) for _ in range(2)]


class Saver(pl.Callback):
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_batch_end(self, trainer: pl.Trainer, module: Recorder, *_: Any) -> None:  # type: ignore[override]
        trainer.save_checkpoint(self.folder / f"{int(module.batches)}.ckpt")


def train(folder: Path, until: int, checkpoint: Path | None = None, **options: Any) -> list[list[int]]:
    """Batches of a run that saves ``<step>.ckpt`` after every batch; stops by itself after ``until``."""
    limits = {"max_epochs": -1, "max_steps": -1} | options
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=[Saver(folder)],
        enable_checkpointing=False,
        **limits,
    )
    model = Recorder(until)
    trainer.fit(model, datamodule=data(), ckpt_path=checkpoint, weights_only=True)
    return model.seen


@pytest.mark.parametrize(
    "options",
    [
        {"val_check_interval": 4, "check_val_every_n_epoch": None},  # as conf/trainer/default.yaml
        {"max_steps": 40, "limit_val_batches": 0},  # 2 optimizer steps a batch: 20 batches
        {"max_epochs": 5},  # validation after each epoch
    ],
    ids=["stopped", "steps", "epochs"],
)
def test_a_resumed_run_sees_the_same_batches(tmp_path: Path, options: dict[str, Any]) -> None:
    expected = [StepSampler(26, 4, seed=3).indices(step) for step in range(16)]  # 6 batches an epoch
    assert train(tmp_path, 16, **options) == expected
    for killed_after in (2, 5, 6, 7, 12, 13):  # within an epoch, at its last batch, at the first of the next
        resumed = train(tmp_path / "again", 16, tmp_path / f"{killed_after}.ckpt", **options)
        assert resumed == expected[killed_after:], killed_after


def test_overfitting_repeats_the_same_batches(tmp_path: Path) -> None:
    seen = train(tmp_path, 6, overfit_batches=2)
    assert seen == [[0, 1, 2, 3], [4, 5, 6, 7]] * 3


def test_small_data_without_background_trains_without_validation() -> None:
    def sets(split: str) -> Batched:
        if split == "background":
            raise EmptySplit("None of the 2 identities falls into the split 'background'.")
        return Batched()

    module = FaceData(sets, "numbers", 2, True, 4)
    module.prepare_data()
    with pytest.warns(RuntimeWarning, match="without validation"):
        assert module.val_dataloader() == []


def test_folder_config_names_what_is_missing() -> None:
    config = OmegaConf.merge(
        {"seed": 0, "paths": {"cache": None}}, {"data": OmegaConf.load(CONF / "data" / "folder.yaml")}
    )
    with pytest.raises(InstantiationException) as caught:
        instantiate(config.data)
    assert isinstance(caught.value.__cause__, UserError)
    assert str(caught.value.__cause__) == "data=folder needs data.root=<folder>."
    config.data.root = "photos"
    module = instantiate(config.data)
    assert (module.name, module.size, module.synthetic, module.batch_size) == ("photos", 64, False, 32)
    with pytest.raises(UserError, match="photos"):
        module.faces("train")
    with pytest.raises(UserError, match="at least 1"):
        folder_data("photos", 64, 0)


def test_synthetic_splits_have_the_wanted_number_of_people(tmp_path: Path) -> None:
    wanted = {"train": 3, "background": 1, "attacker": 1, "evaluation": 2}
    module = synthetic_data(64, wanted, images=2, clips=0, clip_frames=1, batch_size=2, cache=tmp_path)
    assert {split: len(module.faces(split).names) for split in wanted} == wanted
    assert module.synthetic and module.name == "synthetic"
