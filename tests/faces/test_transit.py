"""Bytes leave the loader, the same images arrive; a slot is lent again only when nothing refers to its batch."""

from __future__ import annotations

import gc
import pickle
from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from torch import Tensor, nn

from anon.attacks.pairs import ChangedFaces
from anon.faces.contract import FaceSet, Sample, float_batch, is_raw, to_float
from anon.faces.datamodule import AHEAD, BatchStream, FaceData, StepSampler
from anon.faces.folder import FolderFaces
from anon.faces.packed import PackedFaces
from anon.faces.points import read_points
from anon.faces.prepare.options import Options
from anon.faces.prepare.run import prepare
from anon.faces.prepare.sources import of_folder
from anon.faces.splits import split_of
from anon.faces.synthetic.dataset import SyntheticFaces
from anon.faces.transit import ARRIVED, Order, Parcel, RawBatches, Slots, sent
from tests.faces.prepare.material import photographs

SETS = ("packed", "packed, smaller", "folder", "synthetic")


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, FaceSet]:
    """A training split of each kind, and a packed one whose images show more than was packed."""
    place = tmp_path_factory.mktemp("place")
    table = photographs(place / "photos", 12, 2, size=96)
    for size in (64, 128):
        prepare(of_folder(place / "photos", read_points(table)), "s", place / f"{size}", Options(size=size, min_size=8))
    return {
        "packed": PackedFaces(place / "64", "train"),
        "packed, smaller": PackedFaces(place / "128", "train", size=64, threads=2),
        "packed, wider": PackedFaces(place / "64", "train", size=128),
        "folder": FolderFaces(place / "photos", "train", 32, cache=place / "cache"),
        "synthetic": SyntheticFaces("train", size=24, identities=3, images=2, cache=place / "cache"),
    }


def stream(faces: FaceSet, workers: int) -> BatchStream:
    return BatchStream(faces, StepSampler(len(faces), 2, seed=3), workers)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("workers", [0, 2])
def test_bytes_travel_and_the_same_images_arrive(sets: dict[str, FaceSet], name: str, workers: int) -> None:
    faces = sets[name]
    batches = stream(faces, workers)
    for epoch in range(3):  # slots are lent more than once
        for step, batch in enumerate(batches):
            expected = [faces[index] for index in batches.sampler.indices(epoch * len(batches) + step)]
            side = faces[0]["image"].shape[-1]
            assert batch["image"].dtype == torch.uint8 and batch["image"].shape == (2, side, side, 3)
            assert set(batch) == set(expected[0])
            for key, values in float_batch(batch).items():
                wanted = torch.stack([sample[key] for sample in expected])  # type: ignore[literal-required]
                assert torch.equal(values, wanted) and values.dtype == wanted.dtype, key  # type: ignore[arg-type]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_crop_over_the_edge_comes_as_floats(sets: dict[str, FaceSet], workers: int) -> None:
    """Its pixels are between those on disk: eight bits would lose something."""
    faces = sets["packed, wider"]
    assert not is_raw(faces)
    batch = next(iter(stream(faces, workers)))
    assert float_batch(batch) is batch and batch["image"].dtype == torch.float32
    first, second = StepSampler(len(faces), 2, seed=3).indices(0)
    assert torch.equal(batch["image"], torch.stack([faces[first]["image"], faces[second]["image"]]))
    levels = batch["image"] * 127.5
    assert (levels - levels.round()).abs().max() > 0.2


def test_an_attackers_pairs_come_as_floats(sets: dict[str, FaceSet]) -> None:
    """A set around one that keeps frames has none itself."""
    pairs: Any = ChangedFaces(sets["synthetic"], lambda images, rng: -images)  # type: ignore[arg-type]
    batch: Any = next(iter(stream(pairs, 1)))
    assert batch["image"].shape == (2, 3, 24, 24) and (batch["changed"] + batch["image"]).abs().max() <= 1.01 / 127.5


def test_every_level_is_that_of_numpy_in_single_precision() -> None:
    levels = np.arange(256, dtype=np.uint8)
    image = to_float(torch.from_numpy(levels)[None, :, None, None].repeat(1, 1, 2, 3))
    assert image.shape == (1, 3, 256, 2) and image.dtype == torch.float32
    assert np.array_equal(image[0, 1, :, 1].numpy(), levels / np.float32(127.5) - np.float32(1.0))
    assert image.is_contiguous(memory_format=torch.channels_last)
    images = torch.zeros(1, 3, 2, 2)
    assert float_batch({"image": images})["image"] is images and float_batch({}) == {}


def test_a_slot_is_lent_again_when_no_view_is_left() -> None:
    slots = Slots(2, 24)
    first, second = slots.take(), slots.take()
    assert {first, second} == {0, 1} and slots.take() is None
    assert first is not None
    slots.frames(first, (1, 2, 2, 3)).fill_(7)
    image = slots.received(first, (1, 2, 2, 3))
    red = image[..., 0].flatten()[1:]
    del image
    gc.collect()
    assert slots.take() is None and red.tolist() == [7, 7, 7]
    del red
    assert slots.take() == first and slots.take() is None


def test_batches_that_are_kept_are_not_overwritten(sets: dict[str, FaceSet]) -> None:
    """More than there are slots: the others travel without one, and all come back."""
    batches = stream(sets["synthetic"], 2)
    count = AHEAD * 2 + ARRIVED + 3
    kept = []
    while len(kept) < count:
        kept += [(batches.consumed - 1, batch) for batch in batches]
    for step, batch in kept:
        expected = float_batch(RawBatches(sets["synthetic"]).__getitems__(batches.sampler.indices(step)))  # type: ignore[arg-type]
        assert torch.equal(float_batch(batch)["image"], expected["image"])
    slots = batches._orders.slots
    assert slots is not None and not slots.free
    del batch, kept
    assert len(slots.free) >= ARRIVED  # the rest is on its way
    assert len(list(batches)) == len(batches)


def test_a_message_carries_no_picture(sets: dict[str, FaceSet]) -> None:
    faces: Any = sets["packed"]
    slots = Slots(1, 4 * 64 * 64 * 3)
    parcel = sent(RawBatches(faces, slots).__getitems__(Order([0, 1, 2, 3], slots.take())))
    message = bytes(ForkingPickler.dumps(parcel))
    assert isinstance(parcel, Parcel) and len(message) < 2000
    batch = pickle.loads(message)
    assert type(batch) is dict and torch.equal(batch["landmarks"], faces.raw_batch([0, 1, 2, 3])["landmarks"])
    assert torch.equal(batch["image"], faces.raw_batch([0, 1, 2, 3])["image"])
    batch["identity"] += 1  # arrives writable


@pytest.mark.parametrize("workers", [0, 1])
def test_another_beginning_takes_effect_amid_an_epoch(sets: dict[str, FaceSet], workers: int) -> None:
    """What workers have fetched ahead of it is dropped."""
    faces = sets["packed"]
    batches = stream(faces, workers)

    def read(batch: Sample) -> list[int]:
        return (2 * batch["identity"] + batch["frame"]).tolist()

    def wanted(step: int) -> list[int]:
        return [int(2 * faces[i]["identity"] + faces[i]["frame"]) for i in batches.sampler.indices(step)]

    assert read(next(iter(batches))) == wanted(0) and batches.consumed == 1
    assert read(next(iter(batches))) == wanted(1)  # broken off, it goes on
    batches.load_state_dict({"epoch": 2, "faces": 2})
    began = 2 * len(batches) + 1
    assert [read(batch) for batch in batches] == [wanted(began + step) for step in range(len(batches))]


@pytest.mark.slow
def test_spawned_workers_write_into_the_same_memory(sets: dict[str, FaceSet]) -> None:
    batches = stream(sets["packed"], 1)
    batches._loader.multiprocessing_context = "spawn"
    slots = batches._orders.slots
    assert slots is not None
    batch = next(iter(batches))
    start = slots.memory.data_ptr()
    assert start <= batch["image"].data_ptr() < start + slots.memory.nbytes
    expected = RawBatches(sets["packed"]).__getitems__(batches.sampler.indices(0))  # type: ignore[arg-type]
    assert torch.equal(batch["image"], expected["image"])


class Looker(pl.LightningModule):
    """Notes what each hook of training and validation is given."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.seen = nn.Linear(1, 1), []  # type: ignore[var-annotated]

    def note(self, what: str, batch: Sample) -> None:
        image = batch["image"]
        self.seen.append(
            (what, image.dtype, tuple(image.shape), float(image.float().amin()), int(batch["frame"].sum()))
        )

    def training_step(self, batch: Sample, batch_idx: int) -> Tensor:
        self.note("train", batch)
        return self.layer(batch["image"].mean().view(1, 1)).sum()

    def validation_step(self, batch: Sample, batch_idx: int) -> None:
        self.note("sanity" if self.trainer.sanity_checking else "validation", batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.0)


def looked(faces: FaceSet, workers: int, **options: Any) -> list[Any]:
    sets: Callable[..., FaceSet] = lambda split: faces  # noqa: E731
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        max_steps=3,
        **options,
    )
    module = Looker()
    trainer.fit(module, datamodule=FaceData(sets, "rendered", 24, True, 2, workers))
    return module.seen


@pytest.mark.parametrize("workers", [0, 1])
def test_steps_are_given_images(sets: dict[str, FaceSet], workers: int) -> None:
    """Training, its validation, the one before it, and overfitting; on a CPU as well."""
    faces = sets["synthetic"]
    plain = looked(faces, workers)
    assert {what for what, *_ in plain} == {"train", "validation", "sanity"}
    overfit = looked(faces, workers, overfit_batches=1)
    assert [what for what, *_ in overfit].count("train") == 3
    for _, dtype, shape, least, _ in plain + overfit:
        assert dtype == torch.float32 and shape == (2, 3, 24, 24) and -1 <= least < 0
    assert len({frames for what, *_, frames in overfit if what == "train"}) == 1


def test_steps_are_given_images_of_their_precision(sets: dict[str, FaceSet]) -> None:
    seen = looked(sets["synthetic"], 0, precision="bf16-true", limit_val_batches=0)
    assert {dtype for _, dtype, *_ in seen} == {torch.bfloat16}


def test_a_damaged_face_is_named_and_the_next_begin_is_sound(tmp_path: Path) -> None:
    """An error reaches the training from a worker; the stream is not left in the middle."""
    name = next(f"p{number}" for number in range(99) if split_of(f"p{number}") == "train")
    (tmp_path / "r" / name).mkdir(parents=True)
    for number in range(6):
        Image.new("RGB", (32, 32), (number, 0, 0)).save(tmp_path / "r" / name / f"{number}.png")
    faces = FolderFaces(tmp_path / "r", "train", 16, cache=tmp_path / "c")
    batches = stream(Failing(faces), 1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="face 2"):
        list(batches)
    reached = batches.consumed
    assert reached == next(step for step in range(3) if 2 in batches.sampler.indices(step))
    with pytest.raises(ValueError, match="face 2"):
        next(iter(batches))
    assert batches.consumed == reached


class Failing:
    """Face 2 cannot be read."""

    synthetic, raw = False, True

    def __init__(self, faces: FolderFaces) -> None:
        self.faces, self.size = faces, faces.size

    def __len__(self) -> int:
        return len(self.faces)

    def raw_batch(self, indices: list[int], out: Tensor | None = None) -> Sample:
        if 2 in indices:
            raise ValueError("face 2")
        return self.faces.raw_batch(indices, out)
