"""What an evaluation makes on its way, kept under a key of everything that made it.

    key = SHA-256 of what it is, from which pictures, by which weights, settings, code and versions of packages

A thing is made once, written beside its place and renamed, so a kill at any moment loses at most the one thing that was
being made, and the next run finds all others. Nothing in a key is a guess about equality: weights and pictures are
hashed as they are, and so is the code that computes (:mod:`anon.provenance`), so a new version of a generator redraws
its faces while a new metric redraws nothing. Every file carries a checksum and the key that it was written for; one
that does not fit is made again.

Faces and embeddings of people may be in these files: only their owner can read them. ``rm -r`` of the folder is always
safe; the next run makes what it needs again.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from anon import checksums
from anon.errors import UserError
from anon.faces.cache import damaged, switched_off, usable
from anon.provenance import UNSHARED

Tensors = dict[str, Tensor]
_CHECKSUM = "sha256"  # in a file's metadata


class Store:
    """Tensors by kind and key, on disk, or in memory without a folder.

    Args:
        folder: where they lie, one folder a kind; None keeps them in memory for this process.

    ``made`` and ``found`` count by kind what this process had to make and how often something of another run was used.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.made: Counter[str] = Counter()
        self.found: Counter[str] = Counter()
        self._memory: dict[str, Tensors] = {}
        self._own: set[str] = set()

    def get(self, kind: str, key: str, make: Callable[[], Tensors]) -> Tensors:
        """What is kept under the key, or what ``make`` gives, which is then kept. A damaged file is made again.

        Raises:
            UserError: it cannot be written.
        """
        name = f"{kind}/{key}"
        file = None if self.folder is None or key.startswith(UNSHARED) else self.folder / f"{name}.safetensors"
        kept = self._memory.get(name) if file is None else _load(file, name)
        if kept is not None:
            self.found[kind] += name not in self._own
            return kept
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in make().items()}
        self.made[kind] += 1
        self._own.add(name)
        if file is None:
            self._memory[name] = tensors
        else:
            _save(file, tensors, name)
        return tensors


def key_of(**made_by: Any) -> str:
    """The key of something that is made by all of this: plain values, names and other keys.

    Of what nobody can tell the content of (:data:`anon.provenance.UNSHARED`) the key is such a one, too: it is kept in
    memory.

    >>> key_of(what="z", of="abc") == key_of(of="abc", what="z") != key_of(what="z", of="abd")
    True
    """
    plain = json.dumps(made_by, sort_keys=True, ensure_ascii=False, default=str)
    return (UNSHARED if UNSHARED in plain else "") + hashlib.sha256(plain.encode()).hexdigest()[:40]


def cache_of(folder: Any) -> Path | None:
    """Where a configuration's ``paths.cache`` keeps evaluations; None with ``cache=off``."""
    return None if folder is None or switched_off() else Path(str(folder)).expanduser() / "evaluation"


def _load(file: Path, key: str) -> Tensors | None:
    """What a file holds; None where there is none, or another than was written for this key."""
    if not usable(file):
        return None
    try:
        with safe_open(file, "pt") as opened:
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
            written = (opened.metadata() or {}).get(_CHECKSUM)
    except (SafetensorError, OSError):
        tensors, written = {}, None
    if written == _checksum(tensors, key):
        return tensors
    damaged(file)
    return None


def _checksum(tensors: Tensors, key: str) -> str:
    return f"{key} {checksums.of_tensors(tensors)}"


def _save(file: Path, tensors: Tensors, key: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with checksums.written_whole(file, 0o600) as beside:  # embeddings are biometric data
            beside.write(save(tensors, {_CHECKSUM: _checksum(tensors, key)}))
    except (OSError, SafetensorError) as error:
        raise UserError(f"What the evaluation made cannot be kept in '{file.parent}' ({error}).") from error
