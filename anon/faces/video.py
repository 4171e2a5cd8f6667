"""Frames of a video file, or of a folder that holds them, as uint8 RGB; or two words why not.

Files are as hostile as photographs (:mod:`anon.faces.images`): only regular files are opened, only the containers in
:data:`CONTAINERS` are tried (no playlists, which could name other files or hosts), the size is taken from the header
before a frame is decoded, and the decoder is told the same bound for streams whose header lies.

Frames come as a player shows them: cropped as codec and container say, with square pixels (a sample aspect ratio
enlarges the side that it stretches), turned and mirrored by the display matrix, alpha composited on black. What ends a
video early is raised *after* the frames before it, so a caller may keep those: ``truncated`` and ``over N frames``.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import struct
from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import av
import av.error
import av.logging
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from anon.faces.images import MIN_SIDE, NO_MEMORY, ImageError, open_regular, read_image

_SUFFIXES = "mp4 m4v mov 3gp 3g2 avi mkv webm gif ts mts m2ts mpg mpeg vob wmv asf flv ogv"
SUFFIXES = frozenset(f".{suffix}" for suffix in _SUFFIXES.split())
#: FFmpeg's names of the containers that are read.
CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,gif,mpegts,mpeg,asf,flv,ogg"
MAX_FRAMES = 20_000
MAX_PIXELS = 40_000_000  # a frame; 8K has 33 million
_MAX_GIF = 1024**3  # bytes
_EXTENSION, _PICTURE, _END, _CONTROL = 0x21, 0x2C, 0x3B, 0xF9  # of a GIF's blocks
_NO_DELAY = bytes([_EXTENSION, _CONTROL, 4, 0, 0, 0, 0, 0])
_CROPPING = re.compile(r"^\s+Frame Cropping: (\d+)/(\d+)/(\d+)/(\d+)$", re.MULTILINE | re.IGNORECASE)
_FEW = 0.95  # of the frames that the header states: fewer is a truncated file
# What PyAV raises on damaged input: FFmpeg's errors, and its own on values that make no sense.
_DECODER_ERRORS = (av.error.FFmpegError, OSError, ValueError, OverflowError, MemoryError, EOFError, RuntimeError)


class VideoError(ValueError):
    """A file that cannot be used as a video, or not to its end; a short reason that fits "3 <reason>" in a summary."""


def is_video(path: str | Path) -> bool:
    """Whether the name is a video's; GIFs are, but for :func:`is_still`."""
    return os.path.splitext(path)[1].lower() in SUFFIXES


def is_still(path: str | Path) -> bool:
    """Whether the file is a GIF of one picture, which is a photograph; of several, it is a video."""
    if os.path.splitext(path)[1].lower() != ".gif":
        return False
    try:
        with open_regular(path, VideoError) as file:
            gif = _gif(file)
    except (OSError, VideoError):
        return False
    return gif is not None and gif.whole and gif.pictures == 1


def read_video(
    path: str | Path, every: int = 1, max_frames: int = MAX_FRAMES, max_pixels: int = MAX_PIXELS
) -> Iterator[Tensor]:
    """Frames 0, ``every``, 2 ``every``, ... of the video or folder of frames at ``path``.

    Args:
        max_frames: how many are given at most.
        max_pixels: of a frame.

    Yields:
        uint8 ``(H, W, 3)`` RGB, upright, of square pixels, both sides at least 16 px.

    Raises:
        VideoError: before any frame ``unreadable``, ``empty``, ``not a regular file``, ``not a video``,
            ``without pictures``, ``over N megapixels``, ``smaller than 16 px``, ``damaged``, ``without frames``; after
            frames ``truncated`` or ``over N frames``.
        ValueError: ``every`` or ``max_frames`` below 1.
    """
    if every < 1 or max_frames < 1:
        raise ValueError(f"every and max_frames must be at least 1, got {every} and {max_frames}.")
    given = 0
    frames = _folder(path, every) if os.path.isdir(path) else _file(path, every, max_pixels)
    try:
        for frame in frames:
            if given == max_frames:
                raise VideoError(f"over {max_frames:,} frames")
            yield frame.pixels
            given += 1
    finally:
        frames.close()
    if not given:
        raise VideoError("without frames")


class Timed(NamedTuple):
    """A frame, and when the file says that it is shown; both None where the file does not say."""

    pixels: Tensor  # (H, W, 3) uint8 RGB
    time: Fraction | None = None  # seconds
    duration: Fraction | None = None  # seconds


def read_timed(path: str | Path, max_pixels: int = MAX_PIXELS) -> Iterator[Timed]:
    """Every frame of a video file, as :func:`read_video` gives it, with its time.

    Raises:
        VideoError: see :func:`read_video`.
    """
    frames = _file(path, 1, max_pixels)
    try:
        given = False
        for frame in frames:
            yield frame
            given = True
    finally:
        frames.close()
    if not given:
        raise VideoError("without frames")


def _folder(path: str | Path, every: int) -> Generator[Timed, None, None]:
    """Files by name, numbers in it by value; the first that is no picture ends the clip."""
    try:
        names = sorted((name for name in os.listdir(path) if not name.startswith(".")), key=natural)
    except OSError as error:
        raise VideoError("unreadable") from error
    for number, name in enumerate(names[::every]):
        try:
            yield Timed(read_image(Path(path) / name))
        except ImageError as error:
            raise VideoError("truncated" if number else str(error)) from error


def natural(name: str) -> tuple[list[tuple[int, str]], str]:
    """frame2 before frame10."""
    parts = re.split(r"([0-9]{1,18})", name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts], name


def _file(path: str | Path, every: int, max_pixels: int) -> Generator[Timed, None, None]:
    with opened_video(path) as (container, whole):
        yield from _decoded(container, container.streams.video[0], every, max_pixels, whole)


@contextlib.contextmanager
def opened_video(path: str | Path) -> Iterator[tuple[Any, bool]]:
    """PyAV's container of a file with pictures, and whether a GIF ends as it should (True for all others).

    Raises:
        VideoError: what :func:`read_video` says before any frame.
    """
    with open_regular(path, VideoError) as file:
        gif = _gif(file)
        source = file if gif is None else io.BytesIO(gif.content)
        try:
            container = av.open(source, metadata_errors="replace", options={"format_whitelist": CONTAINERS})
        except _DECODER_ERRORS as error:
            raise VideoError("not a video") from error
        with container:
            if not container.streams.video:
                raise VideoError("without pictures")
            yield container, gif is None or gif.whole


def _gif(file: BinaryIO) -> Gif | None:
    """What it is of, by its first bytes; FFmpeg does not mind where a GIF is cut. None: another file, or a huge one."""
    head = file.read(4)
    file.seek(0)
    return read_gif(file.read()) if head == b"GIF8" and os.fstat(file.fileno()).st_size <= _MAX_GIF else None


def _decoded(container: Any, stream: Any, every: int, max_pixels: int, whole: bool) -> Iterator[Timed]:
    decoder = stream.codec_context
    _check_size(decoder.width, decoder.height, max_pixels)
    decoder.thread_count = 1  # the same frames of a damaged file every time
    decoder.options = {"max_pixels": str(max_pixels)}
    count, stated, until = 0, _stated(container, stream), 0
    empty = container.format.name == "avi"  # it counts the frames that it has none for, which repeat the one before
    aspect = stream.sample_aspect_ratio or Fraction(1)  # the container's, else the codec's
    edges = _cropping(container, stream)
    last: Timed | None = None  # held back: the frame before the damage may be half of one
    frames = container.decode(stream)
    while True:
        try:
            frame = next(frames, None)
            if frame is not None and frame.is_corrupt:
                raise VideoError("damaged")
            wanted = frame is not None and count % every == 0
            shown = _timed(frame, _shown(frame, edges, aspect, max_pixels)) if wanted else None
        except VideoError as error:
            raise VideoError("truncated" if count else str(error)) from error
        except MemoryError as error:
            raise VideoError(NO_MEMORY) from error
        except _DECODER_ERRORS as error:
            raise VideoError("truncated" if count else "damaged") from error
        if frame is None:
            break
        if last is not None:
            yield last
        last = shown
        count += 1
        until = max(until, count, frame.pts + 1 if empty and frame.pts is not None else 0)
    if count and (until < min(stated * _FEW, stated - 1) or not whole):
        raise VideoError("truncated")
    if last is not None:
        yield last


def _stated(container: Any, stream: Any) -> int:
    """How many frames the header states, without those that an edit list of MP4 hides; 0: it does not say."""
    if "mp4" not in container.format.name.split(",") or not stream.frames:
        return int(stream.frames)
    return min(stream.frames, sum(not entry.is_discard for entry in stream.index_entries))


def timed_frame(frame: Any, aspect: Fraction, max_pixels: int) -> Timed:
    """One of PyAV's frames as :func:`read_timed` gives it, of a source that crops nothing.

    Args:
        aspect: width of a pixel, by its height.

    Raises:
        VideoError: its size cannot be.
    """
    return _timed(frame, _shown(frame, (0, 0, 0, 0), aspect, max_pixels))


def _timed(frame: Any, pixels: Tensor) -> Timed:
    base = frame.time_base
    if base is None or frame.pts is None:
        return Timed(pixels)
    return Timed(pixels, frame.pts * base, frame.duration * base if frame.duration else None)


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise VideoError(f"over {max_pixels / 1e6:g} megapixels")
    if min(width, height) < MIN_SIDE:
        raise VideoError(f"smaller than {MIN_SIDE} px" if min(width, height) > 0 else "damaged")


def _cropping(container: Any, stream: Any) -> tuple[int, int, int, int]:
    """What the container crops, left, right, top and bottom (``clap``, ``PixelCrop``): PyAV tells it in words only."""
    level = av.logging.get_level()
    av.logging.set_level(av.logging.INFO)
    try:
        told = str(container.dumps_format())
    finally:
        av.logging.set_level(level)
    _, _, own = told.partition(f"  Stream #0:{stream.index}")
    found = _CROPPING.search(own.partition("  Stream #0:")[0])
    left, right, top, bottom = map(int, found.groups()) if found else (0, 0, 0, 0)
    return left, right, top, bottom


def _shown(frame: Any, edges: tuple[int, int, int, int], aspect: Fraction, max_pixels: int) -> Tensor:
    """The picture of a frame without its edges, whose stored pixels are ``aspect`` times as wide as high."""
    _check_size(frame.width, frame.height, max_pixels)
    if any(component.is_alpha for component in frame.format.components):
        values = frame.to_ndarray(format="rgba").astype(np.uint16)
        pixels = ((values[..., :3] * values[..., 3:] + 127) // 255).astype(np.uint8)
    else:
        pixels = frame.to_ndarray(format="rgb24")
    left, right, top, bottom = edges
    pixels = pixels[top : max(frame.height - bottom, top), left : max(frame.width - right, left)]
    rows, columns, _ = pixels.shape
    _check_size(columns, rows, max_pixels)
    width, height = round(columns * max(aspect, 1)), round(rows * max(1 / aspect, 1))
    if (width, height) != (columns, rows):
        _check_size(width, height, max_pixels)
        pixels = np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))
    return torch.from_numpy(np.ascontiguousarray(_upright(pixels, frame)))


def _upright(pixels: np.ndarray, frame: Any) -> np.ndarray:
    """Turned by quarters and mirrored, as is nearest to the frame's display matrix."""
    try:
        matrix = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # beside it are data of a kind that PyAV does not know; the turn alone is told otherwise
        return np.rot90(pixels, round(frame.rotation / 90) % 4)  # counterclockwise
    if matrix is None:
        return pixels
    a, b, _, c, d = struct.unpack("=5i", bytes(matrix)[:20])  # (x, y) is shown at (ax + cy, bx + dy)
    if abs(a) + abs(d) < abs(b) + abs(c):
        pixels, a, d = pixels.swapaxes(0, 1), c, b
    return pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


class Gif(NamedTuple):
    """``content`` has a control extension before every picture; ``whole``: it ends as it should, zeros allowed."""

    content: bytes
    pictures: int
    whole: bool


def read_gif(content: bytes) -> Gif:
    """Its blocks (GIF89a) up to where it is cut or makes no sense; from there on it is as it was.

    FFmpeg parts the pictures of a GIF by their control extensions, and of pictures without, as programs write them that
    know no delay, it shows the first alone; so each of those gets one.

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
