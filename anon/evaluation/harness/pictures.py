"""Pictures that an evaluation made, in the eight bits in which pictures are published, and looks at some of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from anon.anonymizers.composed import Anonymizer
from anon.errors import Failed, UserError
from anon.evaluation.harness.store import Store, Tensors, key_of
from anon.evaluation.harness.subjects import Group
from anon.faces.contract import published, to_float, to_uint8
from anon.progress import track

IMAGES = "images"


class Pictures:
    """N pictures under a key; they are made, or read from the store, when somebody looks.

    Args:
        store: keeps them.
        kind: of thing they are.
        key: of everything that makes them.
        make: gives ``images`` (N, H, W, 3) uint8 and whatever else was found on the way, each (N, ...).
        count: N.
    """

    def __init__(self, store: Store, kind: str, key: str, make: Callable[[], Tensors], count: int) -> None:
        self.store, self.kind, self.key, self.make, self.count = store, kind, key, make, count

    def __len__(self) -> int:
        return self.count

    def tensors(self) -> Tensors:
        """``images`` and the rest. Nothing is held here: a data set may be larger than memory allows twice."""
        return self.store.get(self.kind, self.key, self.make)

    def batches(self, size: int, what: str) -> Iterator[Tensor]:
        """(B, 3, H, W) in [-1, 1], in order."""
        images = self.tensors()[IMAGES]
        return track((to_float(part) for part in images.split(size)), what, len(images), size)

    def at(self, places: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] of some."""
        return to_float(self.tensors()[IMAGES][places])


class Originals(Pictures):
    """The pictures of a group, as the data set has them, in eight bits."""

    def __init__(self, group: Group) -> None:
        super().__init__(Store(None), "original", group.key, dict, len(group))
        self.group = group

    def tensors(self) -> Tensors:
        """``images`` (N, H, W, 3) uint8."""
        return {IMAGES: torch.cat(list(self.group.frames(256, "reading faces")))}

    def batches(self, size: int, what: str) -> Iterator[Tensor]:
        return map(to_float, self.group.frames(size, what))


@dataclass(frozen=True)
class View:
    """Some of the pictures, in an order: rows of a context."""

    pictures: Pictures
    places: Tensor  # (R,)

    def __len__(self) -> int:
        return len(self.places)

    @property
    def key(self) -> str:
        """Of the pictures and which of them."""
        return key_of(of=self.pictures.key, places=self.places.tolist())

    def eight_bits(self) -> Tensor:
        """(R, H, W, 3) uint8."""
        return self.pictures.tensors()[IMAGES][self.places]


#: How faces reach what is made of them: part of the key of that, for which it is a method of an argument.
READING = (
    *(Group.frames, Pictures.tensors, Pictures.batches, Pictures.at),
    *(Originals.tensors, Originals.batches, View.eight_bits),
)


def eight_bits(images: Tensor) -> Tensor:
    """(B, 3, H, W) in [-1, 1] -> (B, H, W, 3) uint8 on the CPU."""
    return to_uint8(images).cpu()


def drawn(images: Tensor, target: Tensor, who: str) -> Tensor:
    """What ``who`` made of ``target`` (B, 3, H, W) -> (B, H, W, 3) uint8 on the CPU.

    Raises:
        Failed: it is no such pictures, see :func:`anon.faces.contract.published`.
    """
    return eight_bits(published(images, target, who))


@contextlib.contextmanager
def failing(who: str) -> Iterator[None]:
    """What a method, a defense or an attack raises inside is a failure of its line and of no other.

    Raises:
        Failed: in the place of any other exception, which is its cause; a sentence for the user passes.
    """
    try:
        yield
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # whatever somebody's code raises, an out-of-memory error too
        told = next(iter(str(error).splitlines()), "")
        raise Failed(f"{type(error).__name__}: {told[:200]} ({who})") from error


def drawn_by(anonymizer: nn.Module, images: Tensor, source: Tensor | None, rng: torch.Generator, who: str) -> Tensors:
    """``images`` (B, H, W, 3) uint8 of a batch, and of a generator what it was told and where it drew."""
    if not isinstance(anonymizer, Anonymizer):
        return {IMAGES: drawn(anonymizer(images, source=source, rng=rng), images, who)}
    z_source = None if source is None else anonymizer.identify(source)
    wanted = anonymizer.policy(anonymizer.identify(images), source=z_source, rng=rng)
    redrawn = anonymizer.draw(images, wanted)
    part = {IMAGES: drawn(redrawn.blend(images).clamp(-1.0, 1.0), images, who), "wanted": wanted.cpu()}
    if redrawn.mask is not None:
        part["mask_area"] = redrawn.mask.flatten(1).mean(1).cpu()
    return part
