"""Batches on their way from a loader's workers: pictures in memory that is used again, labels inside the message.

A PyTorch worker puts every tensor of a batch into shared memory of its own: the pages are new each time, and each
tensor costs a file descriptor and a conversation between the processes. Here the training process lends a worker one of
a few slots of one shared memory, with the numbers of the faces that belong into it, and lends it again once nothing
refers to the batch any more. What is small travels in the message. No process waits for another: where every slot is in
use, as when batches are collected in a list, a batch travels PyTorch's way.
"""

from __future__ import annotations

import contextlib
import itertools
import shutil
import weakref
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.utils.data import Sampler, get_worker_info

from anon.errors import UserError
from anon.faces.contract import RawFaces, Sample

#: Bytes up to which a tensor travels in the message; a pipe holds 64 KiB at a time.
IN_MESSAGE = 1 << 16
#: Slots for batches that have arrived: the step at hand, Lightning's next one, the thread that pins.
ARRIVED = 4


#: What a user can do about it.
MORE_ROOM = "give data.workers=0 or a smaller data.batch_size, or the container more (docker run --shm-size=1g)"


def check_room(batches: int, size: int, folder: str = "/dev/shm") -> None:
    """Before a training begins: that so many batches of ``size`` bytes fit into shared memory, which may be 64 MB.

    A process that writes beyond its end is killed (bus error).

    Raises:
        UserError: they do not.
    """
    with contextlib.suppress(OSError):  # a system without one
        free = shutil.disk_usage(folder).free
        if batches * size > free:
            raise UserError(
                f"the loader's workers need {batches * size / 1e6:,.0f} MB of shared memory, and {folder} has "
                f"{free / 1e6:,.0f} MB free; {MORE_ROOM}."
            )


class Slots:
    """Shared memory for ``count`` batches of ``size`` bytes, lent by the process that made it.

    A slot is lent from :meth:`take` until the tensor that :meth:`received` gives, and every view of it, is gone.
    """

    def __init__(self, count: int, size: int) -> None:
        self.memory = torch.empty((count, size), dtype=torch.uint8).share_memory_()
        self.number = next(_numbers)
        self.free = list(range(count))  # the last one given back is lent first: its bytes may still be in a cache
        _here[self.number] = self

    def take(self) -> int | None:
        """A free slot; None where there is none."""
        return self.free.pop() if self.free else None

    def frames(self, slot: int, shape: tuple[int, ...]) -> Tensor:
        """uint8 ``shape`` at the beginning of a slot, to be written to."""
        return self.memory[slot, : torch.Size(shape).numel()].view(shape)

    def received(self, slot: int, shape: tuple[int, ...]) -> Tensor:
        """The same, to be read; its end gives the slot back."""
        array = self.frames(slot, shape).numpy()
        # The tensor's storage refers to the array for as long as any view lives, which no view does to the tensor.
        weakref.finalize(array, self.free.append, slot).atexit = False
        return torch.from_numpy(array)


_numbers = itertools.count()
_here: weakref.WeakValueDictionary[int, Slots] = weakref.WeakValueDictionary()


class Order(NamedTuple):
    """What a worker shall fetch, and the slot for its pictures."""

    indices: list[int]
    slot: int | None


class Parcel(dict[str, Tensor]):
    """A batch that a worker sends; it arrives as a plain dict of tensors."""

    place: tuple[int, int, tuple[int, ...]] | None = None  # number of the slots, slot, shape

    def __reduce__(self) -> tuple[Callable[..., Sample], tuple[Any, ...]]:
        lying = None if self.place is None else "image"
        content = {
            name: value.numpy() if value.nbytes <= IN_MESSAGE else value
            for name, value in self.items()
            if name != lying
        }
        return _arrived, (content, self.place)


def _arrived(content: dict[str, Any], place: tuple[int, int, tuple[int, ...]] | None) -> Sample:
    """Runs where the message is read: in the training process, or in its thread that pins."""
    batch = {name: value if isinstance(value, Tensor) else torch.from_numpy(value) for name, value in content.items()}
    if place is not None:
        number, slot, shape = place
        batch["image"] = _here[number].received(slot, shape)
    return cast(Sample, batch)


class RawBatches:
    """What workers read from: batches of a set as bytes, in the order's slot where it has one."""

    def __init__(self, faces: RawFaces, slots: Slots | None = None) -> None:
        self.faces, self.slots = faces, slots

    def __len__(self) -> int:
        return len(self.faces)

    def __getitems__(self, wanted: list[int] | Order) -> Sample:
        if not isinstance(wanted, Order) or self.slots is None or wanted.slot is None:
            return self.faces.raw_batch(wanted.indices if isinstance(wanted, Order) else wanted)
        shape = (len(wanted.indices), self.faces.size, self.faces.size, 3)
        batch = self.faces.raw_batch(wanted.indices, self.slots.frames(wanted.slot, shape))
        parcel = Parcel(batch)  # type: ignore[arg-type]
        parcel.place = (self.slots.number, wanted.slot, shape)
        return cast(Sample, parcel)


class Orders(Sampler[Any]):
    """Batches of indices without end, a slot with each.

    Args:
        indices: those of a step.
        slots: None: the indices alone.
    """

    def __init__(self, indices: Callable[[int], list[int]], slots: Slots | None) -> None:
        self.indices, self.slots = indices, slots
        self.step = 0  # where iteration begins

    def __iter__(self) -> Iterator[list[int] | Order]:
        for step in itertools.count(self.step):
            indices = self.indices(step)
            yield indices if self.slots is None else Order(indices, self.slots.take())


def sent(batch: Sample) -> Sample:
    """A collated batch in the form in which it leaves a worker; unchanged where there are no workers."""
    return batch if get_worker_info() is None or isinstance(batch, Parcel) else cast(Sample, Parcel(batch))  # type: ignore[arg-type]
