"""Folders on disk that are built once, whole or not at all, by one process while the others wait; checked when opened.

What is read and written is the run's choice (:data:`MODES`), for the processes that it starts, too:

    python evaluate.py cache=off        # nothing is read from the cache or left there
    python evaluate.py cache=refresh    # everything is made anew and takes the old one's place
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from anon import checksums
from anon.errors import UserError

log = logging.getLogger(__name__)

ON, OFF, REFRESH = MODES = ("on", "off", "refresh")
_MODE = "ANON_CACHE_MODE"  # the environment tells other processes: "off <folder>" or "refresh <when it began>"
_CHECKSUMS = "checksums.json"


@contextlib.contextmanager
def caching(mode: object) -> Iterator[None]:
    """Inside, caches are used as the setting ``cache`` says; inside another such run, or its ranks, as that one says.

    Raises:
        UserError: a word that means nothing.
    """
    word = {True: ON, False: OFF, None: ON}.get(mode, mode) if isinstance(mode, (bool, type(None))) else str(mode)
    if word not in MODES:
        raise UserError(f"cache={mode} is none of {', '.join(MODES)}.")
    if word == ON or _MODE in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="anon-cache-") as folder:
        began = Path(folder).stat().st_mtime  # by the clock that files have
        os.environ[_MODE] = f"{word} {folder if word == OFF else began}"
        try:
            yield
        finally:
            del os.environ[_MODE]


def _mode() -> tuple[str, str]:
    word, _, detail = os.environ.get(_MODE, ON).partition(" ")
    return word, detail


def switched_off() -> bool:
    """Whether nothing may be read from caches nor be left there."""
    return _mode()[0] == OFF


def usable(path: Path) -> bool:
    """Whether there is something, and not older than a run that makes everything anew."""
    word, detail = _mode()
    try:
        return path.stat().st_mtime >= (float(detail) if word == REFRESH else 0.0)
    except OSError:
        return False


def cache_root() -> Path:
    """``$ANON_CACHE``, or ``anon`` in the user's cache folder."""
    fallback = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "anon"
    return Path(os.environ.get("ANON_CACHE") or fallback)


def owners_only(path: str | Path, flags: int) -> int:
    """An opener for ``open``: what it makes, faces and names of people, can be read by its owner alone."""
    return os.open(path, flags, 0o600)


def cache_folder(given: str | Path | None) -> Path:
    """Where faces are kept: the given one, else :func:`cache_root`; with ``cache=off`` one that ends with the run."""
    word, detail = _mode()
    if word == OFF:
        return Path(detail)
    return Path(given).expanduser() if given else cache_root()


def damaged(path: Path) -> None:
    """Say that something is made again, in one line on stderr."""
    print(f"'{path}' is damaged and is made again", file=sys.stderr, flush=True)


def built_once(folder: Path, build: Callable[[Path], None]) -> Path:
    """Return ``folder``, calling ``build(part)`` first where it does not exist yet, or is not as it was written.

    ``build`` fills ``part``, a folder beside it (its owner's only) that is renamed when all has reached the disk. What
    a killed process left is thrown away by the next.

    Raises:
        UserError: the place cannot be written, or the disk is full.
    """
    if _sound(folder):
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
            if not _sound(folder):
                if usable(folder):
                    damaged(folder)
                shutil.rmtree(part, ignore_errors=True)
                part.mkdir(mode=0o700)
                build(part)
                _seal(part)
                shutil.rmtree(folder, ignore_errors=True)
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


def _seal(folder: Path) -> None:
    """Note the checksum of each file, once its bytes have reached the disk."""
    found = {}
    for file in sorted(folder.iterdir()):
        with open(file, "rb") as written:
            os.fsync(written.fileno())
        found[file.name] = checksums.of_file(file)
    with checksums.written_whole(folder / _CHECKSUMS) as noted:
        noted.write(json.dumps(found).encode())


def _sound(folder: Path) -> bool:
    """Whether it is there and every file is as it was written."""
    if not usable(folder):
        return False
    try:
        noted = json.loads((folder / _CHECKSUMS).read_text(encoding="utf-8"))
        return isinstance(noted, dict) and all(checksums.of_file(folder / name) == noted[name] for name in noted)
    except (OSError, ValueError):
        return False
