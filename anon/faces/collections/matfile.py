"""Numeric matrices of small MATLAB 5 files (MAT-File Format, MathWorks), read here because scipy's reader crashes.

Flipped bytes make ``scipy.io.loadmat`` (1.17) crash the process, and such files come from strangers. This reads what
numeric data sets need and nothing else: real matrices, compressed or not; the rest of a file is stepped over.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np

from anon import plain
from anon.errors import UserError

MOST = 1 << 18  # bytes of a file
_MOST_INFLATED = 1 << 22  # bytes of a compressed matrix
_MATRIX, _COMPRESSED, _NAME, _DIMENSIONS, _FLAGS = 14, 15, 1, 5, 6
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_NUMERIC = range(6, 16)  # classes double to uint64
_COMPLEX = 0x0800


def read_matrices(path: Path, names: Collection[str]) -> dict[str, np.ndarray]:
    """The named matrices as float64, those that are there.

    Raises:
        ValueError: not a MATLAB 5 file of at most :data:`MOST` bytes, or a damaged one.
    """
    try:
        data = plain.read_bytes(path, MOST)
    except UserError as error:
        raise ValueError("not a regular file of the expected size") from error
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if order is None or data[124:126] not in (b"\x00\x01", b"\x01\x00"):
        raise ValueError("not a MATLAB 5 file")
    found = {}
    try:
        for kind, content in _elements(data[128:], order, padded=False):
            if kind == _COMPRESSED:
                inflated = zlib.decompressobj().decompress(content, _MOST_INFLATED)
                kind, content = next(_elements(inflated, order, padded=False), (0, b""))
            matrix = _matrix(content, order, names) if kind == _MATRIX else None
            if matrix is not None:
                found[matrix[0]] = matrix[1]
    except (struct.error, zlib.error, UnicodeDecodeError) as error:
        raise ValueError("damaged") from error
    return found


def _elements(data: bytes, order: str, padded: bool = True) -> Iterator[tuple[int, bytes]]:
    """Type and content of one element after the other; inside a matrix they are padded to 8 bytes."""
    place = 0
    while place + 8 <= len(data):
        kind, count = struct.unpack_from(f"{order}II", data, place)
        start = place + 8
        if kind >> 16:  # small: type and count share four bytes, the content is in the other four
            kind, count, start = kind & 0xFFFF, kind >> 16, place + 4
            place += 8
            if count > 4:
                raise ValueError("damaged")
        else:
            place = start + (-(-count // 8) * 8 if padded else count)
        if start + count > len(data):
            raise ValueError("cut off")
        yield kind, data[start : start + count]


def _matrix(data: bytes, order: str, names: Collection[str]) -> tuple[str, np.ndarray] | None:
    """Name and values; None where it is not wanted or not a real numeric matrix."""
    parts = _elements(data, order)
    head = [next(parts, (0, b"")) for _ in range(3)]
    (flags_kind, flags), (sizes_kind, sizes), (name_kind, raw_name) = head
    if (flags_kind, sizes_kind, name_kind) != (_FLAGS, _DIMENSIONS, _NAME) or len(flags) != 8 or len(sizes) % 4:
        raise ValueError("damaged")
    name = raw_name.decode("ascii")
    (flag,) = struct.unpack_from(f"{order}I", flags)
    if name not in names or flag & 0xFF not in _NUMERIC or flag & _COMPLEX:
        return None
    shape = struct.unpack(f"{order}{len(sizes) // 4}i", sizes)
    kind, content = next(parts, (0, b""))
    if kind not in _NUMBERS or min(shape, default=0) < 0:
        raise ValueError("damaged")
    dtype = np.dtype(order + _NUMBERS[kind])
    if math.prod(shape) * dtype.itemsize != len(content):
        raise ValueError("damaged")
    return name, np.frombuffer(content, dtype).reshape(shape, order="F").astype(np.float64)
