"""The journal of a store: what came since its file was written, a sealed record for each finished file.

    head of the file's generation | records

Each is on the disk before its file's result has a name, so a crash loses none that counts.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from anon import checksums, plain
from anon.errors import UserError
from anon.identity.store.sealed import Box, Cut, Head, Secret, Wrong

KIND = b"anonjnl\n"


class Journal:
    """A journal in a file; ``end`` is where its last whole record ends, 0 where there is none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.end = self._records = 0

    @property
    def _who(self) -> str:
        return f"The journal '{self.path}'"

    def clear(self) -> None:
        """There is none any more.

        Raises:
            OSError: it cannot be removed.
        """
        self.path.unlink(missing_ok=True)
        self.end = self._records = 0

    def add(self, of: Head, secret: Secret, content: bytes) -> None:
        """One more record, on the disk when this returns.

        Args:
            of: the head of the store's file.

        Raises:
            OSError: it cannot be written; what there is of it goes away with the next one.
        """
        head = of._replace(kind=KIND)
        record = secret.box(head).seal(self._records, content)
        if not self.end:  # a journal is never without a record
            with checksums.written_whole(self.path, 0o600) as stream:
                stream.write(head.packed() + record)
            settle(self.path.parent)
            self.end = len(head.packed())
        else:
            with open(self.path, "r+b") as file:
                file.truncate(self.end)  # what a crash left of a record
                file.seek(self.end)
                file.write(record)
                file.flush()
                os.fsync(file.fileno())
        self._records, self.end = self._records + 1, self.end + len(record)

    def read(self, of: Head, secret: Secret) -> Iterator[bytes]:
        """The content of each record; none where there is no journal.

        That of the generation before is in the file already, and is removed.

        Raises:
            UserError: it was changed, or is of another store.
            OSError: it cannot be read.
        """
        self.end = self._records = 0
        if not os.path.lexists(self.path):
            return
        with plain.opened(self.path) as stream:
            head, size = Head.read(stream, self._who, KIND), os.fstat(stream.fileno()).st_size
            if head.generation == of.before:
                self.clear()
                return
            if head != of._replace(kind=KIND):
                raise UserError(f"{self._who} is of another store or another day; put the one back that belongs to it.")
            self.end = stream.tell()
            yield from self._whole(stream, secret.box(head), size)

    def _whole(self, stream: BinaryIO, box: Box, size: int) -> Iterator[bytes]:
        """The records, but for a last one that a crash cut short: with fewer bytes than it says, or others.

        It never was a finished file's. Behind it is nothing, or the zeros of room that was made and not filled.
        """
        while self.end < size:
            try:
                content = box.open(stream, self._records, size - self.end)
            except (Cut, Wrong) as error:
                if isinstance(error, Wrong) and _any_left(stream, size):
                    raise UserError(f"{self._who} was changed by another program; take it from a backup.") from error
                print(f"{self._who} ends in an entry that was cut short, which is left out.", file=sys.stderr)
                return
            yield content
            self._records, self.end = self._records + 1, stream.tell()


def settle(folder: Path) -> None:
    """Names of files in a folder are on the disk, where a system can say so."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _any_left(stream: BinaryIO, size: int) -> bool:
    """Whether anything but zeros stands from where a file is."""
    while stream.tell() < size:
        if any(stream.read(1 << 20)):
            return True
    return False
