"""A user's key made into keys of files, and records that nobody reads or changes without it.

scrypt (RFC 7914) makes 32 bytes of what the user gave and a store's salt, HKDF-SHA256 (RFC 5869) two keys of it for
each version of a file. AES-256-GCM (NIST SP 800-38D) seals records with the first; the second is of HMAC-SHA256 over
their lengths, since a length that was changed would look like a file that a crash cut short. A record is bound to its
file's head and to its place, so none can be changed, moved, left out between others, or brought from elsewhere.
"""

from __future__ import annotations

import hmac
import os
import struct
from typing import BinaryIO, NamedTuple

from anon.errors import UserError

MAGIC = b"anonids\n"
VERSION = 1
COST = 17  # log2 of scrypt's n: 128 MiB, about a third of a second
MOST_COST = 18  # of a file that is read
NONCE, TAG, SUM = 12, 16, 16  # bytes; the sum is a length's
MOST_RECORD = 64 * 1024**2  # bytes of a sealed record
_HEAD = struct.Struct("<8sHBBB16s16s16s")
_LENGTH = struct.Struct("<I")


class Wrong(Exception):
    """A record does not open: another key, or other bytes than were sealed."""


class Cut(Exception):
    """A file ends within a record."""


class Head(NamedTuple):
    """What stands unsealed at the beginning of a file; records are bound to it.

    ``generation`` is new whenever the whole file is written, ``before`` was the one before it.
    """

    cost: int
    salt: bytes
    generation: bytes
    before: bytes
    kind: bytes = MAGIC

    def packed(self) -> bytes:
        """As it stands in the file."""
        return _HEAD.pack(self.kind, VERSION, self.cost, 8, 1, self.salt, self.generation, self.before)

    @classmethod
    def read(cls, stream: BinaryIO, who: str, kind: bytes = MAGIC) -> Head:
        """From the beginning of a file.

        Raises:
            UserError: it is no such file, a newer one, or asks for more memory than a store of ours would.
        """
        data = stream.read(_HEAD.size)
        if not data.startswith(kind):
            raise UserError(f"{who} is no file that anon anonymize wrote for identities; name another one.")
        if len(data) < _HEAD.size:
            raise UserError(f"{who} is cut short; take it from a backup.")
        _, version, cost, blocks, lanes, salt, generation, before = _HEAD.unpack(data)
        if version > VERSION:
            raise UserError(f"{who} was written by a newer version of anon (format {version}); update anon-faces.")
        if version != VERSION or not 1 <= cost <= MOST_COST or (blocks, lanes) != (8, 1):
            raise UserError(f"{who} asks for a way to make its key (scrypt) that no store has; it is not opened.")
        return cls(cost, salt, generation, before, kind)


class Secret:
    """The key that a user gave; what scrypt makes of it is kept for the files of one store.

    Raises:
        UserError: the package cryptography is not installed.
    """

    def __init__(self, given: bytes) -> None:
        try:
            import cryptography  # noqa: F401
        except ImportError as error:
            raise UserError(
                "store=<file> needs the package cryptography, which encrypts it: pip install 'anon-faces[store]'."
            ) from error
        self._given = given
        self._made: dict[tuple[bytes, int], bytes] = {}

    def box(self, head: Head) -> Box:
        """Seals and opens the records of a file."""
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF
        from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

        made = self._made.get((head.salt, head.cost))
        if made is None:
            made = Scrypt(salt=head.salt, length=32, n=2**head.cost, r=8, p=1).derive(self._given)
            self._made[head.salt, head.cost] = made
        key = HKDF(algorithm=SHA256(), length=64, salt=head.generation, info=b"anon " + head.kind).derive(made)
        return Box(key, head.packed())


class Box:
    """AES-256-GCM of records in an order, each behind its length and that one's HMAC-SHA256.

    Args:
        key: 32 bytes for the one and 32 for the other.
        about: that the records are bound to.
    """

    def __init__(self, key: bytes, about: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._cipher, self._lengths, self._about = AESGCM(key[:32]), key[32:], about

    def seal(self, place: int, content: bytes) -> bytes:
        """The record at that place: its length and the sum of that, a nonce that is drawn anew, what is sealed."""
        nonce = os.urandom(NONCE)
        sealed = self._cipher.encrypt(nonce, content, self._bound(place))
        return self._told(place, len(sealed)) + nonce + sealed

    def open(self, stream: BinaryIO, place: int, left: int) -> bytes:
        """The content of the record at that place, which begins where the stream is.

        Args:
            left: bytes that the file has from there on; nothing larger is made room for.

        Raises:
            Cut: the file ends within it.
            Wrong: it is not what was sealed there.
        """
        if left < _LENGTH.size + SUM + NONCE + TAG:
            raise Cut
        told = stream.read(_LENGTH.size + SUM)
        (length,) = _LENGTH.unpack_from(told)
        if not TAG <= length <= MOST_RECORD or not hmac.compare_digest(told, self._told(place, length)):
            raise Wrong
        if len(told) + NONCE + length > left:
            raise Cut
        nonce, sealed = stream.read(NONCE), stream.read(length)
        from cryptography.exceptions import InvalidTag

        try:
            return self._cipher.decrypt(nonce, sealed, self._bound(place))
        except InvalidTag as error:
            raise Wrong from error

    def _told(self, place: int, length: int) -> bytes:
        packed = _LENGTH.pack(length)
        return packed + hmac.digest(self._lengths, self._bound(place) + packed, "sha256")[:SUM]

    def _bound(self, place: int) -> bytes:
        return self._about + place.to_bytes(8, "little")


def size_of(content: int) -> int:
    """Bytes of a sealed record of so many bytes of content."""
    return _LENGTH.size + SUM + NONCE + content + TAG
