"""The cache of rendered faces: small shards, each rendered once, whole or not at all, whoever asks first.

A shard holds :data:`PEOPLE` people of one split and :data:`PICTURES` pictures (or one clip) of each:
``<name>.npy`` uint8 (N, size, size, 3) and ``<name>.safetensors`` with the truth. Both are written beside and renamed;
the pictures come last, so where they are, all is. The truth's metadata hold the checksums of both, which are looked at
when they are opened. A file lock per shard keeps two processes from rendering the same one.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from anon import checksums
from anon.errors import UserError
from anon.faces.cache import damaged, usable
from anon.faces.synthetic import parameters
from anon.faces.synthetic.render import BATCH, render
from anon.provenance import code

PEOPLE = 16
PICTURES = 4
TRUTH = ("pose", "expression", "gaze", "light", "landmarks", "occluder")


class Shard(NamedTuple):
    """One file of the cache: ``numbers`` of its people; ``clip`` is -1 for stills, which begin at ``first``."""

    folder: Path
    split: str
    block: int
    numbers: tuple[int, ...]
    clip: int
    first: int
    length: int  # pictures or frames of each person

    @property
    def path(self) -> Path:
        kind = f"stills{self.first:04d}" if self.clip < 0 else f"clip{self.clip:02d}x{self.length}"
        return self.folder / f"{self.split}-{self.block:04d}-{kind}.npy"

    @property
    def done(self) -> bool:
        return usable(self.path)

    @property
    def sound(self) -> bool:
        """Whether both files are as they were written; reads them."""
        try:
            with safe_open(self.path.with_suffix(".safetensors"), "pt") as opened:
                written = opened.metadata()
                truth = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
            return bool(written == _checksums(truth, checksums.of_file(self.path)))
        except (OSError, SafetensorError):
            return False

    def images(self) -> np.ndarray:
        """uint8 (people * length, size, size, 3), memory-mapped, person by person."""
        return np.load(self.path, mmap_mode="r", allow_pickle=False)

    def truth(self) -> dict[str, Tensor]:
        """Name -> (people * length, ...)."""
        return load_file(self.path.with_suffix(".safetensors"))


def folder(cache: Path, size: int, seed: int, first: int = 0) -> Path:
    """Where the shards of one size, seed and first person lie; the hash of the rendering code is part of the name."""
    people = f"-from{first}" if first else ""
    return Path(cache) / "synthetic" / f"{code(draw)[:12]}-seed{seed}-{size}px{people}"


def ensure(shards: Sequence[Shard], size: int, seed: int) -> Iterator[Shard]:
    """Render what is missing and yield each shard when it is there.

    Shards that another process is rendering are left to it and waited for at the end.

    Raises:
        UserError: the cache folder cannot be written.
    """
    waiting = []
    for shard in shards:
        try:
            shard.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{shard.path}.lock", blocking=False):
                if not shard.done:
                    _write(shard, size, seed)
        except Timeout:
            waiting.append(shard)
            continue
        except OSError as error:
            raise _unwritable(shard, error) from error
        yield shard
    for shard in waiting:
        with FileLock(f"{shard.path}.lock"):
            if not shard.done:
                _write(shard, size, seed)
        yield shard


def _unwritable(shard: Shard, error: OSError) -> UserError:
    return UserError(
        f"Cannot write rendered faces to {shard.folder} ({error.strerror}); "
        "set ANON_CACHE to a folder that can be written and has room."
    )


def _write(shard: Shard, size: int, seed: int) -> None:
    images, truth = draw(shard, size, seed)
    content = io.BytesIO()
    np.save(content, images.numpy(), allow_pickle=False)
    written = _checksums(truth, hashlib.sha256(content.getbuffer()).hexdigest())
    with checksums.written_whole(shard.path.with_suffix(".safetensors")) as file:
        file.write(save(truth, written))
    with checksums.written_whole(shard.path) as file:
        file.write(content.getbuffer())
    Path(f"{shard.path}.lock").unlink(missing_ok=True)


def _checksums(truth: dict[str, Tensor], images: str) -> dict[str, str]:
    return {"truth": checksums.of_tensors(truth), "images": images}


def mend(shards: Sequence[Shard], size: int, seed: int) -> None:
    """Render again what is not as it was written.

    Raises:
        UserError: the cache folder cannot be written.
    """
    for shard in shards:
        if shard.sound:
            continue
        try:
            with FileLock(f"{shard.path}.lock"):
                if not shard.sound:  # another process may have mended it meanwhile
                    damaged(shard.path)
                    _write(shard, size, seed)
        except OSError as error:
            raise _unwritable(shard, error) from error


def draw(shard: Shard, size: int, seed: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Render one shard: pictures (N, size, size, 3) uint8 and their truth."""
    person = parameters.people(shard.numbers, seed)
    if shard.clip < 0:
        pictures = range(shard.first, shard.first + shard.length)
        pairs = [(number, picture) for number in shard.numbers for picture in pictures]
        mood = parameters.stills([pair[0] for pair in pairs], [pair[1] for pair in pairs], seed)
    else:
        clips = [parameters.clip(number, shard.clip, shard.length, seed) for number in shard.numbers]
        mood = {name: torch.cat([clip[name] for clip in clips]) for name in clips[0]}
    rows = torch.arange(len(shard.numbers)).repeat_interleave(shard.length)
    images: list[Tensor] = []
    truth: dict[str, list[Tensor]] = {name: [] for name in TRUTH}
    for start in range(0, len(rows), BATCH):
        part = slice(start, start + BATCH)
        rendered = render(
            {name: column[rows[part]] for name, column in person.items()},
            {name: column[part] for name, column in mood.items()},
            size,
        )
        images.append(rendered.images)
        for name in TRUTH:
            truth[name].append(getattr(rendered, name))
    return torch.cat(images), {name: torch.cat(parts).contiguous() for name, parts in truth.items()}
