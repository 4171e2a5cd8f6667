"""Files that are whole or not there, and SHA-256 of what is in them."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from anon import plain


@contextlib.contextmanager
def written_whole(path: Path, mode: int = 0o666) -> Iterator[BinaryIO]:
    """A file to write that takes the place of ``path`` when all of it has reached the disk.

    Without that last wait, a machine that loses power may keep the new name and lose the content.

    Args:
        mode: of the file, less what the process's umask takes away.

    Raises:
        OSError: it cannot be written; nothing is left beside ``path``.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        beside.unlink(missing_ok=True)
        with open(beside, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise


def of_file(path: Path) -> str:
    """SHA-256 of a file's bytes, read anew.

    Raises:
        OSError: it cannot be read, or is no plain file.
    """
    digest = hashlib.sha256()
    with plain.opened(path) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def of_unchanged_file(path: Path) -> str:
    """The same, read once in a process while nothing is written to the file."""
    stat = path.stat()
    return _of_version(path, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)


@functools.lru_cache(maxsize=1024)
def _of_version(path: Path, *version: int) -> str:
    return of_file(path)


def of_tensor(tensor: Tensor) -> str:
    """SHA-256 of a tensor's shape, type and numbers, wherever it lies."""
    plain = tensor.detach().cpu().contiguous()
    digest = hashlib.sha256(f"{tuple(plain.shape)} {plain.dtype}".encode())
    digest.update(plain.reshape(-1).view(torch.uint8).numpy().data if plain.numel() else b"")
    return digest.hexdigest()


def of_tensors(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of tensors with their names, in whatever order."""
    rows = sorted(f"{name} {of_tensor(tensor)}" for name, tensor in tensors.items())
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()
