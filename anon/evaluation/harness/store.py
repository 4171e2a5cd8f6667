"""What an evaluation makes on its way, kept under a key of everything that made it.

    key = SHA-256 of what it is, from which pictures, by which weights, settings and code, with which torch

A thing is made once, written beside its place and renamed, so a kill at any moment loses at most the one thing that was
being made, and the next run finds all others. Nothing in a key is a guess about equality: weights and pictures are
hashed as they are, and the source of the rooms that computed it belongs to it (:func:`code`), so a new version of a
generator redraws its faces while a new metric redraws nothing.

Faces and embeddings of people may be in these files: only their owner can read them. ``rm -r`` of the folder is always
safe; the next run makes what it needs again.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import anon
from anon.errors import UserError
from anon.weights.files import fingerprint

Tensors = dict[str, Tensor]


class Store:
    """Tensors by kind and key, on disk, or in memory without a folder.

    Args:
        folder: where they lie, one folder a kind; None keeps them in memory for this process.

    ``made`` and ``found`` count by kind what this process had to make and what was there.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.made: Counter[str] = Counter()
        self.found: Counter[str] = Counter()
        self._memory: dict[str, Tensors] = {}

    def get(self, kind: str, key: str, make: Callable[[], Tensors]) -> Tensors:
        """What is kept under the key, or what ``make`` gives, which is then kept. A damaged file is made again.

        Raises:
            UserError: it cannot be written.
        """
        file = None if self.folder is None else self.folder / kind / f"{key}.safetensors"
        kept = self._memory.get(f"{kind}/{key}") if file is None else _load(file)
        if kept is not None:
            self.found[kind] += 1
            return kept
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in make().items()}
        self.made[kind] += 1
        if file is None:
            self._memory[f"{kind}/{key}"] = tensors
        else:
            _save(file, tensors)
        return tensors


def key_of(**made_by: Any) -> str:
    """The key of something that is made by all of this: plain values, names and other keys.

    >>> key_of(what="z", of="abc") == key_of(of="abc", what="z") != key_of(what="z", of="abd")
    True
    """
    plain = json.dumps(made_by, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(plain.encode()).hexdigest()[:40]


@functools.cache
def code(*rooms: str) -> str:
    """SHA-256 of the source of these rooms of the package, with the version of torch: what computes alike."""
    digest = hashlib.sha256(torch.__version__.encode())
    root = Path(anon.__file__).parent
    for room in rooms:
        for file in sorted((root / room).rglob("*.py")) or [root / f"{room}.py"]:
            digest.update(f"{file.relative_to(root)}".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()


def made_of(part: object) -> str:
    """SHA-256 of a part of an evaluation: its class, its source where it is not the package's own, and its weights.

    A module's plain settings do not show in its weights: their configuration goes into the key beside this.
    """
    digest = hashlib.sha256(f"{type(part).__module__}.{type(part).__qualname__}".encode())
    for module in part.modules() if isinstance(part, nn.Module) else [part]:
        if not type(module).__module__.startswith(("anon.", "torch.")):
            digest.update(_source(type(module)).encode())
    if isinstance(part, nn.Module):
        digest.update(fingerprint(part).encode())
    elif inspect.isfunction(part):
        digest.update(written(part).encode())
    else:
        digest.update(str(getattr(part, "fingerprint", "")).encode())
    return digest.hexdigest()


def written(function: Callable[..., Any]) -> str:
    """The text of a function, for the key of what it makes; what it closes over belongs into the key beside it."""
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        return getattr(function, "__qualname__", type(function).__qualname__)


def _source(kind: type) -> str:
    """The text of the file in which a class is written, or nothing where there is none (a notebook's cell)."""
    try:
        return Path(inspect.getfile(kind)).read_text(encoding="utf-8")
    except (OSError, TypeError):
        return ""


def cache_of(folder: Any) -> Path | None:
    """Where a configuration's ``paths.cache`` keeps evaluations."""
    return None if folder is None else Path(str(folder)).expanduser() / "evaluation"


def _load(file: Path) -> Tensors | None:
    try:
        return load_file(file)
    except (SafetensorError, OSError):
        return None  # not there, or damaged: made again


def _save(file: Path, tensors: Tensors) -> None:
    beside = file.with_name(f".{file.stem}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        save_file(tensors, beside)
        beside.chmod(0o600)  # embeddings are biometric data
        os.replace(beside, file)
    except (OSError, SafetensorError) as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise UserError(f"What the evaluation made cannot be kept in '{file.parent}' ({error}).") from error
