"""Batches for training from any :class:`anon.faces.contract.FaceSet`, the same ones after a kill as without.

The batches of a training run are one endless sequence, a pure function of (seed, step, rank): epoch e walks through the
permutation f(seed, e), each rank through its share of every global batch. The stream counts the batches it handed out;
the count goes into the checkpoint, so ``ckpt_path=last`` continues with the batch that comes next, in the middle of an
epoch or across its end. Lightning's ``use_distributed_sampler`` plays no part: the stream knows its rank itself.

Pictures leave the loader as the bytes they are on disk; the data module makes image batches of them on the device. Who
reads a loader without a Trainer calls :func:`anon.faces.contract.float_batch`.

    python train.py experiment=fiva data=folder data.root=<folder> data.points=<csv>
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, default_collate

from anon.errors import UserError
from anon.faces.contract import FaceSet, Sample, float_batch, is_raw
from anon.faces.folder import FolderFaces
from anon.faces.labels import annotated
from anon.faces.packed import Pack, PackedFaces
from anon.faces.splits import EVERYONE, EmptySplit
from anon.faces.synthetic.dataset import SyntheticFaces
from anon.faces.transit import ARRIVED, Orders, RawBatches, Slots, check_room, sent
from anon.faces.tree import spelled
from anon.printable import flat

log = logging.getLogger(__name__)

#: Batches that a worker fetches ahead: they are handed out in order, so the others wait for the slowest.
AHEAD = 4


def collate(batch: Sample | list[Sample]) -> Sample:
    """A batch from a list of samples; what a set's ``__getitems__`` has collated already passes unchanged."""
    return batch if isinstance(batch, dict) else default_collate(batch)


class StepSampler:
    """Indices of batch ``step`` for one rank, as a pure function of (seed, step, rank).

    Args:
        count: faces in the set.
        batch_size: faces a rank and step.
        rank, world: this process and the number of processes.
    """

    def __init__(self, count: int, batch_size: int, seed: int, rank: int = 0, world: int = 1) -> None:
        self.count, self.batch_size, self.seed, self.rank, self.world = count, batch_size, seed, rank, world
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.long)
        if len(self) == 0:
            raise UserError(
                f"The training split has {count:,} faces, fewer than one batch of {batch_size} x {world} processes; "
                "lower data.batch_size."
            )

    def __len__(self) -> int:
        """Batches an epoch; the last, incomplete one is dropped."""
        return self.count // (self.batch_size * self.world)

    def indices(self, step: int) -> list[int]:
        """This rank's faces in batch ``step``; within an epoch no face comes twice on any rank."""
        epoch, position = divmod(step, len(self))
        start = (position * self.world + self.rank) * self.batch_size
        return self._permutation(epoch)[start : start + self.batch_size].tolist()

    def _permutation(self, epoch: int) -> Tensor:
        if epoch != self._epoch:
            # NumPy mixes both numbers; torch's CPU generator would look at 32 bits of one seed only.
            order = np.random.default_rng((self.seed % 2**32, epoch)).permutation(self.count)
            self._epoch, self._order = epoch, torch.from_numpy(order)
        return self._order


class BatchStream:
    """The training batches, an iterable with a length (one epoch) and a position that is saved and restored.

    Not a DataLoader on purpose: Lightning rebuilds those with samplers of its own.
    """

    def __init__(self, faces: FaceSet, sampler: StepSampler, workers: int = 0) -> None:
        self.sampler = sampler
        self.consumed = 0  # batches handed out since training began; workers may have fetched more
        slots = None
        if workers > 0 and is_raw(faces):
            slots = Slots(AHEAD * workers + ARRIVED, sampler.batch_size * 3 * faces.size**2)
        self._orders = Orders(sampler.indices, slots)
        self._loader = _loader(faces, workers, slots, batch_sampler=self._orders)
        self._coming: Iterator[Sample] | None = None  # the next is batch `consumed`

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Sample]:
        """One epoch; workers fetch on across its end."""
        for _ in range(len(self)):
            coming, self._coming = self._coming, None  # not asked again where it raises
            if coming is None:
                self._orders.step = self.consumed
                coming = iter(self._loader)
            batch = next(coming)
            self._coming = coming
            self.consumed += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """The position as epoch and faces within it, so that a run may continue with another batch size."""
        epoch, position = divmod(self.consumed, len(self))
        return {"epoch": epoch, "faces": position * self.sampler.batch_size * self.sampler.world}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Continue where :meth:`state_dict` was taken; takes effect at the next ``iter()``."""
        position = state["faces"] // (self.sampler.batch_size * self.sampler.world)
        self.consumed = state["epoch"] * len(self) + min(position, len(self))
        self._coming = None


class FaceData(pl.LightningDataModule):
    """The four splits of one data set; training reads ``train``, validation ``background``.

    Args:
        sets: builds one split, called as ``sets(split=...)``.
        name: the data set's name in results and run folders.
        size: side of its images in pixels.
        synthetic: True where the faces belong to nobody and may be logged.
        batch_size: faces a process and step.
        workers: loader processes; 0 reads in the training process.
        seed: order of the training faces.
        everyone: all people are evaluated, and none of the data is for anything else.
    """

    def __init__(
        self,
        sets: Callable[..., FaceSet],
        name: str,
        size: int,
        synthetic: bool,
        batch_size: int,
        workers: int = 0,
        seed: int = 0,
        everyone: bool = False,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise UserError(f"data.batch_size={batch_size} must be at least 1.")
        self.sets, self.name, self.size, self.synthetic = sets, name, size, synthetic
        self.batch_size, self.workers, self.seed, self.everyone = batch_size, workers, seed, everyone
        self._faces: dict[str, FaceSet] = {}
        self._stream: BatchStream | None = None
        self._position: dict[str, int] | None = None

    def faces(self, split: str) -> FaceSet:
        """One split, built at the first call.

        Raises:
            UserError: a split other than the evaluation's where everyone is evaluated.
        """
        if self.everyone and split != "evaluation":
            raise UserError(
                f"data.everyone=true evaluates all people of {self.name}, so nobody is left for '{split}': nothing "
                "is trained or tuned on them; drop it, or evaluate a suite, whose suite.reference names other data."
            )
        if split not in self._faces:
            faces = self.sets(split=EVERYONE if self.everyone else split)
            for other, known in self._faces.items():
                _tell_shared(str(self.name), faces, split, known, other)
            self._faces[split] = faces
        return self._faces[split]

    def prepare_data(self) -> None:
        """Fill the caches of the splits that training reads, in one process a machine."""
        self.faces("train")
        with contextlib.suppress(EmptySplit):  # val_dataloader() says so
            self.faces("background")

    def train_dataloader(self) -> BatchStream | DataLoader:
        """Shuffled batches; with ``overfit_batches`` the first ones, over and over."""
        faces = self.faces("train")
        if self.trainer is not None and getattr(self.trainer, "overfit_batches", 0) > 0:
            return _loader(faces, self.workers, batch_size=self.batch_size, drop_last=True)
        rank, world = (0, 1)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
        if self.workers > 0:  # those of training and those of validation
            batch = self.batch_size * 3 * self.size**2 * (1 if is_raw(faces) else 4)
            check_room(2 * AHEAD * self.workers + ARRIVED, batch)
        self._stream = BatchStream(
            faces, StepSampler(len(faces), self.batch_size, self.seed, rank, world), self.workers
        )
        if self._position is not None:
            self._stream.load_state_dict(self._position)
        return self._stream

    def val_dataloader(self) -> DataLoader | list:
        """The background split in order; nothing (and a warning) where a small data set has no such identity."""
        try:
            faces = self.faces("background")
        except EmptySplit as error:
            warnings.warn(f"{error} Training runs without validation.", RuntimeWarning, stacklevel=2)
            return []
        return _loader(faces, self.workers, batch_size=self.batch_size)

    def on_after_batch_transfer(self, batch: Sample, dataloader_idx: int) -> Sample:
        """Lightning's hook: bytes that have reached the device become images, in the run's precision."""
        batch = float_batch(batch)
        return batch if self.trainer is None else self.trainer.precision_plugin.convert_input(batch)

    def state_dict(self) -> dict[str, Any]:
        """Goes into the checkpoint: Lightning restores a loader's own state in the middle of an epoch only."""
        return {} if self._stream is None else {"train": self._stream.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._position = state_dict.get("train")


def _tell_shared(name: str, faces: FaceSet, split: str, known: FaceSet, other: str) -> None:
    """Say in one line how many pictures two splits, which have no person in common, share byte for byte."""
    both = [getattr(each, "digests", None) for each in (faces, known)]
    shared = 0 if both[0] is None or both[1] is None else len(np.intersect1d(both[0], both[1]))
    if shared:
        log.warning(
            f"{name}: {shared:,} pictures of the split {split} are, byte for byte, pictures of other people in the "
            f"split {other}: one person under two names; put them into one folder."
        )


def _loader(faces: FaceSet, workers: int, slots: Slots | None = None, **options: Any) -> DataLoader:
    return DataLoader(
        RawBatches(faces, slots) if is_raw(faces) else faces,  # type: ignore[arg-type]
        num_workers=workers,
        collate_fn=_collate_to_send,
        persistent_workers=workers > 0,
        prefetch_factor=AHEAD if workers > 0 else None,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # of its own: the loader draws a number at its start, not from the run's
        **options,
    )


def _collate_to_send(batch: Sample | list[Sample]) -> Sample:
    return sent(collate(batch))


#: The sentence for data on disk that says not where, by function.
NEEDS_ROOT = {
    "folder_data": "data=folder needs data.root=<folder>.",
    "packed_data": "data=packed needs data.root=<folder that anon prepare wrote>.",
}


def folder_data(
    root: str | None,
    size: int,
    batch_size: int,
    points: str | None = None,
    min_images: int = 1,
    workers: int = 0,
    seed: int = 0,
    cache: str | Path | None = None,
    framing: str | None = None,
    max_damaged: float = 0.1,
    name: str | None = None,
    everyone: bool = False,
    labels: str | None = None,
) -> FaceData:
    """``data=folder``: photographs of ``root/<identity>/<image>``, see :class:`anon.faces.folder.FolderFaces`.

    Args:
        name: in results; None: that of the folder itself, without what is above it.
        labels: a CSV of them (:mod:`anon.faces.labels`).
    """
    if not root:
        raise UserError(NEEDS_ROOT["folder_data"])
    sets: Callable[..., Any] = functools.partial(
        FolderFaces,
        root,
        size=size,
        points=points,
        min_images=min_images,
        cache=cache,
        framing=framing,
        max_damaged=max_damaged,
    )
    if labels is not None:
        sets = functools.partial(annotated, sets, labels)
    own = flat(spelled(Path(os.path.abspath(Path(root).expanduser())).name)) or "folder"
    return FaceData(sets, name or own, size, False, batch_size, workers, seed, everyone)


def packed_data(
    root: str | None,
    batch_size: int,
    size: int | None = None,
    min_images: int = 1,
    workers: int = 0,
    threads: int = 1,
    seed: int = 0,
    name: str | None = None,
    everyone: bool = False,
    labels: str | None = None,
) -> FaceData:
    """``data=packed``: what ``anon prepare`` wrote, see :class:`anon.faces.packed.PackedFaces`.

    Args:
        size: None: as packed.
        name: in results; None: as it was packed.
        labels: a CSV of them beside the packed ones (:mod:`anon.faces.labels`).
    """
    if not root:
        raise UserError(NEEDS_ROOT["packed_data"])
    info: dict[str, Any] = {"size": size, "name": name} if size and name else Pack(root).info
    side = size or int(info["size"])
    sets: Callable[..., Any] = functools.partial(PackedFaces, root, size=side, min_images=min_images, threads=threads)
    if labels is not None:
        sets = functools.partial(annotated, sets, labels)
    return FaceData(sets, name or str(info["name"]), side, False, batch_size, workers, seed, everyone)


def synthetic_data(
    size: int,
    identities: int | Mapping[str, int],
    images: int | Mapping[str, int],
    clips: int | Mapping[str, int],
    clip_frames: int,
    batch_size: int,
    workers: int = 0,
    seed: int = 0,
    render_seed: int = 0,
    cache: str | Path | None = None,
    name: str = "synthetic",
    first: int = 0,
) -> FaceData:
    """``data=synthetic``: rendered faces, see :class:`anon.faces.synthetic.dataset.SyntheticFaces`.

    Args:
        identities, images, clips: people of a split, stills and clips of a person; one number for all splits or one for
            each.
        render_seed: seed of the faces themselves; ``seed`` only orders the training batches.
        first: number of the first person, see :class:`SyntheticFaces`.
    """

    def sets(split: str) -> FaceSet:
        counts = {"identities": identities, "images": images, "clips": clips}
        own = {name: count[split] if isinstance(count, Mapping) else count for name, count in counts.items()}
        return SyntheticFaces(
            split, size=size, clip_frames=clip_frames, seed=render_seed, cache=cache, first=first, **own
        )

    return FaceData(sets, name, size, synthetic=True, batch_size=batch_size, workers=workers, seed=seed)
