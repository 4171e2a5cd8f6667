"""What is in many files: their hashes, read again only where something was written since.

A file is known again by its place, size, time of writing and the time of its last change of any kind, which no program
can set back; one that changed within the last moments is read anew, as the clock of the disk is coarse.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from anon import checksums
from anon.faces.cache import usable

UNREADABLE = "unreadable"
_SETTLED = 3.0  # seconds after which another change shows in the time
_THREADS = 4
_BYTES = 32  # of a SHA-256


def contents(files: Sequence[Path], memory: Path | None) -> list[str]:
    """SHA-256 of each file's bytes, :data:`UNREADABLE` where there is none.

    Args:
        memory: file that remembers them; None reads all.
    """
    known = {} if memory is None or not usable(memory) else _remembered(memory)
    began = time.time()
    stamps = [_stamp(file) for file in files]
    found = [None if stamp is None else known.get(stamp[0]) for stamp in stamps]
    new = [place for place, each in enumerate(found) if each is None and stamps[place] is not None]
    with ThreadPoolExecutor(_THREADS) as pool:
        for place, each in zip(new, pool.map(_content, [files[place] for place in new]), strict=True):
            found[place] = each
    if memory is not None and new:
        settled = {
            stamp[0]: each
            for stamp, each in zip(stamps, found, strict=True)
            if stamp is not None and each is not None and (stamp[0] in known or stamp[1] < began - _SETTLED)
        }
        with contextlib.suppress(OSError), checksums.written_whole(memory, 0o600) as file:  # read again next time
            np.save(file, np.frombuffer(b"".join(s + c for s, c in settled.items()), np.uint8).reshape(-1, 2 * _BYTES))
    return [UNREADABLE if each is None else each.hex() for each in found]


def _remembered(memory: Path) -> dict[bytes, bytes]:
    """Hashes by stamp; a damaged row fits no stamp, or gives a hash that no cache has."""
    try:
        rows = np.load(memory, allow_pickle=False)
        return {row[:_BYTES].tobytes(): row[_BYTES:].tobytes() for row in rows.astype(np.uint8).reshape(-1, 2 * _BYTES)}
    except (OSError, ValueError, EOFError):
        return {}


def _stamp(file: Path) -> tuple[bytes, float] | None:
    """What tells a version of a file, and when it last changed; None where there is none (a pipe never ends)."""
    try:
        status = os.stat(file)
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    text = f"{os.fspath(file)}\0{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest(), status.st_ctime


def _content(file: Path) -> bytes | None:
    try:
        return bytes.fromhex(checksums.of_file(file))
    except (OSError, ValueError):
        return None
