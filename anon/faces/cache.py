"""Folders on disk that are built once: whole or not at all, by one process while the others wait."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout

from anon.errors import UserError

log = logging.getLogger(__name__)


def cache_root() -> Path:
    """``$ANON_CACHE``, or ``anon`` in the user's cache folder."""
    fallback = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "anon"
    return Path(os.environ.get("ANON_CACHE") or fallback)


def owners_only(path: str | Path, flags: int) -> int:
    """An opener for ``open``: what it makes, faces and names of people, can be read by its owner alone."""
    return os.open(path, flags, 0o600)


def built_once(folder: Path, build: Callable[[Path], None]) -> Path:
    """Return ``folder``, calling ``build(part)`` first where it does not exist yet.

    ``build`` fills ``part``, a folder beside it (its owner's only) that is renamed when all is written. What a
    killed process left is thrown away by the next.

    Raises:
        UserError: the place cannot be written, or the disk is full.
    """
    if folder.is_dir():
        return folder
    part, lock = folder.with_name(folder.name + ".part"), FileLock(str(folder) + ".lock")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info("Another process is filling the cache; waiting for it.")
            lock.acquire()
        try:
            if not folder.is_dir():
                shutil.rmtree(part, ignore_errors=True)
                part.mkdir(mode=0o700)
                build(part)
                os.replace(part, folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
            lock.release()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UserError(
            f"The cache '{folder.parent}' cannot be written ({reason}); set ANON_CACHE to a folder with room."
        ) from error
    return folder
