"""The blocks of a GIF (GIF89a): how many pictures, whether it is whole, and a delay for each picture that has none.

FFmpeg parts the pictures of a GIF by their control extensions, and of pictures without, as programs write them that
know no delay, it shows the first alone.
"""

from __future__ import annotations

from typing import NamedTuple

_EXTENSION, _PICTURE, _END, _CONTROL = 0x21, 0x2C, 0x3B, 0xF9
_NO_DELAY = bytes([_EXTENSION, _CONTROL, 4, 0, 0, 0, 0, 0])


class Gif(NamedTuple):
    """``content`` has a control extension before every picture; ``whole``: it ends as it should, zeros allowed."""

    content: bytes
    pictures: int
    whole: bool


def read_gif(content: bytes) -> Gif:
    """Its blocks up to where it is cut or makes no sense; from there on it is as it was.

    >>> read_gif(b"GIF89a" + bytes(7) + bytes([0x2C, *bytes(9), 2, 1, 0, 0, 0x3B])).pictures
    1
    """
    parts, pictures, controlled, start = [], 0, False, 0
    try:
        at = 13 + _table(content[10])
        while content[at] in (_EXTENSION, _PICTURE):
            if content[at] == _EXTENSION:
                controlled |= content[at + 1] == _CONTROL
                at = _after(content, at + 2)
                continue
            if not controlled:
                parts += [content[start:at], _NO_DELAY]
                start = at
            at = _after(content, at + 11 + _table(content[at + 9]))  # ten of the descriptor, one of LZW
            controlled, pictures = False, pictures + 1
        whole = content[at] == _END
    except IndexError:
        whole = False
    return Gif(b"".join([*parts, content[start:]]), pictures, whole)


def _table(flags: int) -> int:
    """Bytes of the colour table that follows."""
    return 3 * 2 ** (flags % 8 + 1) if flags & 0x80 else 0


def _after(content: bytes, at: int) -> int:
    """Where the sub-blocks that begin at ``at`` have ended."""
    while content[at]:
        at += content[at] + 1
    return at + 1
