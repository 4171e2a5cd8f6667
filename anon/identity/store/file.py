"""A store on disk: the whole of it sealed in one file, a journal beside it of what came since, and a lock.

    people.store            :mod:`anon.identity.store.whole`
    people.store.journal    :mod:`anon.identity.store.journal`
    .people.store.lock      nothing; held while a process uses the store

The file is replaced as a whole (written beside, synchronized, renamed), the journal is added to and synchronized, so
after a crash there is the old state or the new one: a last record that is cut short is left out; a sentence tells it.
A journal of the generation before is what a crash left between the two steps of folding it in, and is removed; that of
any other is refused.
"""

from __future__ import annotations

import glob
import os
import secrets
import struct
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from anon import plain
from anon.errors import UserError
from anon.identity.store import sealed, whole
from anon.identity.store.journal import Journal, settle
from anon.identity.store.nearest import Nearest
from anon.identity.store.rows import Rows, row
from anon.identity.store.whole import About

SMALL = 16 * 1024**2  # bytes up to which a store's file is written anew when a journal is there at its end
_COUNTS = struct.Struct("<III")  # of a journal's record: the day, new rows, people who were met


class Store:
    """A store in a file; ``with store:`` holds its lock, and reads it if another process has changed it since.

    Args:
        path: its file, which need not be there yet.
        secret: the user's key.
    """

    def __init__(self, path: str | Path, secret: sealed.Secret) -> None:
        self.path = Path(os.path.realpath(path))
        self.journal = Journal(self.path.with_name(self.path.name + ".journal"))
        self.about: About | None = None  # None: there is no store yet
        self.rows = Rows(0)
        self.kept = 0  # rows that are on disk; behind them are those of a file that is not done
        self.nearest = Nearest(self.rows, 1.0)
        self._secret = secret
        self._lock = FileLock(self.path.with_name(f".{self.path.name}.lock"), timeout=0, mode=0o600)
        self._head: sealed.Head | None = None
        self._state: tuple[Any, ...] | None = None
        self._added = False  # to the journal, by this process

    @property
    def _who(self) -> str:
        return f"The identity store '{self.path}'"

    def __enter__(self) -> Store:
        try:
            self._lock.acquire()
        except Timeout as error:
            raise UserError(f"{self._who} is in use by another process; wait for it.") from error
        except OSError as error:
            raise UserError(f"{self._who} cannot be locked ({error.strerror}).") from error
        try:
            self._refresh()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self.roll_back()
            if error[0] is None and self._added and self.journal.end > self._small():
                self._write()
        finally:
            self._lock.release()

    def _small(self) -> int:
        """Bytes of a journal that may stay: none beside a small file, so that a store is one file again."""
        size = self.path.stat().st_size
        return 0 if size < SMALL else size // 4

    # what is in it

    def begin(self, encoder: str, dim: int, threshold: float) -> None:
        """A store that is not there yet, of embeddings (B, ``dim``); :meth:`create` writes it."""
        self.about = About(encoder, dim, threshold, secrets.token_hex(8))
        self._hold(Rows(dim))

    def create(self) -> None:
        """Write a store that is not there yet.

        Raises:
            UserError: it cannot be written.
        """
        if self._head is None:
            self._write()

    def check_there(self, read: bool = False) -> None:
        """See that it is not gone; nothing is opened or locked.

        Args:
            read: whether it was there before; else its journal tells that it was.

        Raises:
            UserError: it is.
        """
        state = self._stamp()
        if state[0] is None and (read or state[1] is not None):
            beside = "" if state[1] is None else f" beside its journal '{self.journal.path.name}'"
            raise UserError(f"{self._who} is gone{beside}; put it back, or remove what is left of it.")

    def check(self, encoder: str, dim: int) -> None:
        """Refuse embeddings of another encoder.

        Raises:
            UserError: the store holds another one's.
        """
        assert self.about is not None
        if (self.about.encoder, self.about.dim) != (encoder, dim):
            raise UserError(
                f"{self._who} is of another recognizer (its weights have the hash {self.about.encoder[:12]}..., not "
                f"{encoder[:12]}...): identities of two recognizers have nothing in common, so take one of this one."
            )

    def roll_back(self) -> None:
        """Rows that no :meth:`commit` kept are gone."""
        if len(self.rows) > self.kept:
            self.rows.truncate(self.kept)
            self.nearest.update(self.kept)

    def commit(self, met: np.ndarray, day: int) -> int:
        """Keep what a file brought: the new rows, and that the people at ``met`` (M,) were in it, too.

        Returns:
            How many new rows there are.

        Raises:
            UserError: it cannot be written; on disk nobody was met, then.
        """
        assert self.about is not None and self._head is not None
        new = len(self.rows) - self.kept
        fresh, numbers = self.rows.filled[self.kept :], self.rows.filled["number"][met]
        content = _COUNTS.pack(day, new, len(met)) + fresh.tobytes() + numbers.tobytes()
        if sealed.size_of(len(content)) > sealed.MOST_RECORD:
            raise UserError(f"{new:,} new people in one file are more than {self._who} can take at once.")
        try:
            self.journal.add(self._head, self._secret, content)
        except OSError as error:
            raise UserError(f"'{self.journal.path}' cannot be written ({error.strerror}).") from error
        self._added = True
        self._state = self._stamp()
        self.about = self.about._replace(next=self.about.next + new)
        self.rows.met(met, day)
        self.kept = len(self.rows)
        return new

    def forget(self, numbers: list[int]) -> None:
        """Take people out, of the file, the journal and memory; their numbers are not given again.

        Raises:
            UserError: there is nobody of that number, or the file cannot be written; nothing is forgotten then.
        """
        places = self.rows.places(np.array(numbers, np.int64))
        for number, place in zip(numbers, places, strict=True):
            if place < 0:
                raise UserError(f"{self._who} holds no identity {number}; list shows those that it holds.")
        self.roll_back()
        self.rows.remove(places)
        self.kept = len(self.rows)
        self.nearest.update(0)
        self._state = None  # until it is written, the file says more
        self._write()

    def merge(self, other: Store) -> tuple[int, int]:
        """Take in what another store of the same encoder holds; who is near somebody here becomes that one.

        Days and counts are added up, fake identities are those here. The other store stays as it is.

        Returns:
            How many of the other's people were somebody here, and how many are new.

        Raises:
            UserError: the other store is of another encoder, or this one cannot be written.
        """
        if self.about is None or other.about is None:
            lacking = self if self.about is None else other
            raise UserError(f"'{lacking.path}': there is no such store.")
        self.check(other.about.encoder, other.about.dim)
        mine, accept, self._state = len(self.rows), 1.0 - self.about.threshold, None
        for start in range(0, len(other.rows), 4096):
            rows = other.rows.filled[start : start + 4096].copy()
            cosine, place = self.nearest(other.rows.known(start, start + 4096))
            near = (cosine > accept).numpy()
            for at, its in zip(place.numpy()[near], rows[near], strict=True):
                own = self.rows.filled[at : at + 1]
                own["first"], own["last"] = min(own["first"][0], its["first"]), max(own["last"][0], its["last"])
                own["files"] += its["files"]
            fresh = rows[~near]
            fresh["number"] = self.about.next + np.arange(len(fresh))
            self.about = self.about._replace(next=self.about.next + len(fresh))
            self.rows.append(fresh)
        self.nearest.update(mine)  # the other's own people are apart from each other as they are
        self._write()
        return len(other.rows) - (len(self.rows) - mine), len(self.rows) - mine

    # reading

    def _hold(self, rows: Rows) -> None:
        assert self.about is not None
        self.rows, self.kept, self.nearest = rows, len(rows), Nearest(rows, self.about.threshold)

    def _refresh(self) -> None:
        """Read the file and its journal, unless they are as this process left them."""
        state = self._stamp()
        self.check_there(self._head is not None)
        if state == self._state or state[0] is None:
            return
        for left in self.path.parent.glob(f".{glob.escape(self.path.name)}.*.part"):
            left.unlink(missing_ok=True)  # what a killed process began to write: nobody else holds the lock
        try:
            with plain.opened(self.path) as stream:
                head, about, rows = whole.read(stream, self._who, self._secret)
            if self.about is not None and self.about._replace(next=0) != about._replace(next=0):
                raise UserError(f"{self._who} was replaced by another while it was in use; begin again.")
            self._head, self.about, self.rows, self._added = head, about, rows, False
            for content in self.journal.read(head, self._secret):
                self._again(content)
        except OSError as error:
            raise UserError(f"{self._who} cannot be read ({error.strerror or error}).") from error
        except (struct.error, ValueError) as error:
            raise UserError(f"'{self.journal.path}' was changed by another program; take it from a backup.") from error
        self._hold(self.rows)
        self._state = self._stamp()

    def _stamp(self) -> tuple[Any, ...]:
        found = list[tuple[int, int, int] | None]()
        for path in (self.path, self.journal.path):
            try:
                status = path.stat()
                found.append((status.st_ino, status.st_size, status.st_mtime_ns))
            except FileNotFoundError:
                found.append(None)
        return tuple(found)

    def _again(self, content: bytes) -> None:
        assert self.about is not None
        day, new, met = _COUNTS.unpack_from(content)
        middle = _COUNTS.size + new * row(self.about.dim).itemsize
        fresh = np.frombuffer(content[_COUNTS.size : middle], row(self.about.dim))
        numbers = np.frombuffer(content[middle:], "<u4")
        if len(fresh) != new or len(numbers) != met:
            raise ValueError
        if new:
            whole.take(self.rows, fresh, f"The journal '{self.journal.path}'")
            self.about = self.about._replace(next=int(fresh["number"][-1]) + 1)
        places = self.rows.places(numbers.astype(np.int64))
        if bool((places < 0).any()):
            raise ValueError
        self.rows.met(places, day)

    # writing

    def _write(self) -> None:
        """The whole store in one file, under a new generation; the journal is in it, and goes away.

        Raises:
            UserError: it cannot be written; on disk is what was there before.
        """
        assert self.about is not None
        old = self._head
        salt, before = (secrets.token_bytes(16), bytes(16)) if old is None else (old.salt, old.generation)
        head = sealed.Head(sealed.COST if old is None else old.cost, salt, secrets.token_bytes(16), before)
        try:
            whole.write(self.path, head, self._secret.box(head), self.about, self.rows)
            self.journal.clear()
            settle(self.path.parent)
        except OSError as error:
            raise UserError(f"{self._who} cannot be written ({error.strerror}).") from error
        self._head, self._added, self.kept, self._state = head, False, len(self.rows), self._stamp()
