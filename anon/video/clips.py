"""A video in, a video out: frames at the times that the file gives them, its sound as it is, nothing else of it.

Frames come as a player shows them (:mod:`anon.faces.video`): upright, of square pixels. They are written as H.264
(VP9 in a WebM) in BT.709. Subtitles, data tracks and every tag (GPS, camera, author, dates) stay behind.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Generator, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import av
import av.error
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from torch import Tensor

from anon.errors import UserError
from anon.faces.video import Timed, VideoError, opened_video, read_timed
from anon.overlap import Behind

#: By the ending of the name: FFmpeg's container, encoder and its options.
FORMATS: dict[str, tuple[str, str, dict[str, str]]] = {
    **dict.fromkeys((".mp4", ".m4v"), ("mp4", "libx264", {"crf": "18", "preset": "veryfast"})),
    ".mov": ("mov", "libx264", {"crf": "18", "preset": "veryfast"}),
    ".mkv": ("matroska", "libx264", {"crf": "18", "preset": "veryfast"}),
    ".webm": ("webm", "libvpx-vp9", {"crf": "24", "b:v": "0", "deadline": "realtime", "cpu-used": "6"}),
}
_RATE = Fraction(25)  # frames a second where a file tells neither times nor a rate
_FEW = 0.9  # of the time that the header states: less is a truncated file
_BT709 = 1  # FFmpeg's number of matrix, primaries and transfer
_FAILED = (av.error.FFmpegError, ValueError, OverflowError)


class Told(NamedTuple):
    """What a file tells of itself."""

    rate: Fraction  # frames a second, on the mean
    base: Fraction  # its unit of time, in seconds
    frames: int  # 0: it does not say
    seconds: float | None  # how long it lasts; None: it counts frames, or it does not say
    sound: str | None  # the sound's codec
    dropped: tuple[str, ...]  # kinds of the streams that stay behind


def told(path: Path) -> Told:
    """Read a video's header.

    Raises:
        UserError: no video.
    """
    with _mistakes(path), opened_video(path) as (container, _):
        pictures = container.streams.video[0]
        rate = pictures.average_rate or pictures.base_rate or _RATE
        sound = container.streams.audio[0].codec_context.name if container.streams.audio else None
        others = [each.type for each in container.streams if each.type not in ("video", "audio")]
        further = ["video"] * (len(container.streams.video) - 1) + ["audio"] * max(len(container.streams.audio) - 1, 0)
        base = pictures.time_base or 1 / rate
        seconds = None if container.duration is None else container.duration / av.time_base
        frames = pictures.frames or round(float(rate) * (seconds or 0.0))
        return Told(rate, base, frames, None if pictures.frames > 0 else seconds, sound, tuple(others + further))


def frames_of(path: Path, about: Told) -> Generator[Timed, None, None]:
    """Every frame.

    Raises:
        UserError: no video, or none to its end: a part of one is not taken for the whole.
    """
    with _mistakes(path):
        first = last = Fraction(0)
        for frame in read_timed(path):
            last = last if frame.time is None else frame.time
            first = min(first, last)
            yield frame
        if about.seconds is None or frame.time is None:
            return
        ends, least = last + 2 / about.rate, _FEW * about.seconds  # Matroska states no number of frames
        if ends - first < least:
            begins, until = _span(path)  # sound and subtitles may go on long after the pictures
            first, ends = min(first, begins), max(ends, until)
        if ends - first < least:
            raise VideoError("truncated")


def _span(path: Path) -> tuple[Fraction, Fraction]:
    """When the first packet of a file begins, of whatever stream, and the last one ends."""
    first = last = Fraction(0)
    with opened_video(path) as (container, _), contextlib.suppress(*_FAILED):
        for packet in container.demux():
            if packet.pts is not None and packet.time_base:
                first = min(first, packet.pts * packet.time_base)
                last = max(last, (packet.pts + (packet.duration or 0)) * packet.time_base)
    return first, last


def state_of(path: Path) -> tuple[int, ...]:
    """What tells that a file is still the one it was."""
    try:
        state = os.stat(path)
    except OSError:
        return ()
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns


def check_same(path: Path, state: tuple[int, ...]) -> None:
    """See that a file is what it was at :func:`state_of`: the faces of one video are nothing to another.

    Raises:
        UserError: it is not.
    """
    if state_of(path) != state:
        raise UserError(f"'{path}' has changed while it was read.")


@contextlib.contextmanager
def _mistakes(path: Path) -> Iterator[None]:
    try:
        yield
    except VideoError as error:
        raise UserError(f"'{path}' cannot be anonymized: it is {error}.") from error


def check_holds(suffix: str, source: Path, about: Told) -> None:
    """See that a file of that kind can hold the sound of another as it is, before a frame is read.

    Raises:
        UserError: it cannot.
    """
    if about.sound is None:
        return
    with opened_video(source) as (heard, _):
        try:
            _header(heard.streams.audio[0])
        except ValueError as error:
            raise UserError(
                f"The sound of '{source}' ({about.sound}) has a header that cannot be read, and tags may be in it; say "
                "audio=drop."
            ) from error
        try:
            with av.open(io.BytesIO(), "w", format=FORMATS[suffix][0]) as trial:
                _add_sound(trial, heard.streams.audio[0])
                trial.start_encoding()
        except _FAILED as error:
            raise UserError(
                f"A {suffix} cannot hold the sound of '{source}' ({about.sound}) as it is; name an .mkv, or say "
                "audio=drop."
            ) from error


class Writer:
    """Writes frames, and beside them the sound of another file, packet by packet as it is.

    Args:
        stream: where to.
        suffix: of the name, one of :data:`FORMATS`.
        source: whose times and sound these are.
        sound: whether its sound is kept.
    """

    def __init__(self, stream: BinaryIO, suffix: str, source: Path, about: Told, sound: bool) -> None:
        container, self._codec, self._options = FORMATS[suffix]
        self._suffix, self._about, self._source = suffix, about, source
        self._open = contextlib.ExitStack()
        self._out = self._open.enter_context(av.open(stream, "w", format=container))
        self._pictures: Any = None
        self._sound: Any = None
        self._heard: Any = None
        self._waiting: Any = None
        self._packets: Iterator[Any] = iter(())
        self._behind = Behind()
        if sound and about.sound is not None:
            container_of, _ = self._open.enter_context(opened_video(source))
            self._heard = container_of.streams.audio[0]
            self._packets = _played(container_of.demux(self._heard), edits=container in ("mp4", "mov"))

    def add(self, frame: Timed, pixels: Tensor, shown: int) -> None:
        """A frame, uint8 (H, W, 3), in the place of the one read; it is encoded while the next ones are made.

        Args:
            shown: when, in the file's unit of time.

        Raises:
            UserError: FFmpeg refuses it, or one before it.
        """
        self._behind.do(self._encode, pixels, frame.duration, shown)

    def _encode(self, pixels: Tensor, duration: Fraction | None, shown: int) -> None:
        values = _even(pixels.numpy())
        try:
            if self._pictures is None:
                self._begin(values.shape[1], values.shape[0])
            picture = av.VideoFrame.from_ndarray(values, format="rgb24").reformat(
                format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
            )
            picture.pts, picture.time_base = shown, self._about.base
            if duration is not None:
                picture.duration = round(duration / self._about.base)
            self._out.mux(self._pictures.encode(picture))
            self._hear(shown * self._about.base)
        except _FAILED as error:
            raise UserError(f"'{self._source}' cannot be written as {self._suffix} ({_words(error)}).") from error

    def close(self) -> None:
        """End the file.

        Raises:
            UserError: FFmpeg refuses to.
        """
        self._behind.end()
        try:
            if self._pictures is not None:
                self._out.mux(self._pictures.encode(None))
            self._hear(None)
            self._open.close()
        except _FAILED as error:
            raise UserError(f"'{self._source}' cannot be written as {self._suffix} ({_words(error)}).") from error

    def leave(self) -> None:
        """Close everything, whatever is missing: the file is thrown away."""
        self._behind.leave()
        with contextlib.suppress(*_FAILED, OSError):
            self._open.close()

    def _begin(self, width: int, height: int) -> None:
        pictures: Any = self._out.add_stream(self._codec, rate=self._about.rate, options=self._options)
        pictures.width, pictures.height, pictures.pix_fmt = width, height, "yuv420p"
        context = pictures.codec_context
        pictures.time_base = context.time_base = self._about.base
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = int(ColorRange.MPEG)
        self._pictures = pictures
        if self._heard is not None:
            self._sound = _add_sound(self._out, self._heard)

    def _hear(self, until: Fraction | None) -> None:
        """The sound up to a time, so that both lie side by side in the file."""
        if self._sound is None:
            return
        while True:
            packet = self._waiting if self._waiting is not None else next(self._packets, None)
            self._waiting = packet
            if packet is None or (until is not None and packet.dts * packet.time_base > until):
                return
            packet.stream, self._waiting = self._sound, None
            self._out.mux(packet)


def _add_sound(container: Any, heard: Any) -> Any:
    """A stream for the packets of another, without the tags in its codec's header.

    Raises:
        ValueError: the container cannot hold it, or the header is none.
    """
    sound = container.add_stream_from_template(heard)
    if heard.codec_context.extradata:
        sound.codec_context.extradata = _header(heard)
    return sound


def _header(heard: Any) -> bytes:
    return bare(heard.codec_context.name.removeprefix("lib"), heard.codec_context.extradata or b"")


def bare(codec: str, header: bytes) -> bytes:
    """The header that a decoder needs, without comments (artist, place, title) and whatever else lies beside it.

    Raises:
        ValueError: it is no header of that codec.
    """
    if not header:
        return header
    if codec == "vorbis":
        identity, _, setup = _laced(header)
        comment = b"\x03vorbis" + bytes(8) + b"\x01"  # by nobody, of nothing (Vorbis I, section 5.2.1)
        return b"\x02" + bytes((len(identity), len(comment))) + identity + comment + setup
    if codec == "flac":
        stream = header[8:42] if header[:4] == b"fLaC" else header  # its first block (RFC 9639, section 8.2)
        if len(stream) != 34:
            raise ValueError("no FLAC header")
        return stream
    if codec == "opus":
        length = 0 if len(header) < 19 else 19 if header[18] == 0 else 21 + header[9]  # RFC 7845, section 5.1
        if header[:8] != b"OpusHead" or not 0 < length <= len(header):
            raise ValueError("no Opus header")
        return header[:length]
    return header


def _laced(header: bytes) -> list[bytes]:
    """The three headers of Vorbis, which FFmpeg keeps in Xiph's lacing or each behind its length."""
    parts, at = list[bytes](), 0
    try:
        if header[:2] == b"\x00\x1e":
            for _ in range(3):
                length = int.from_bytes(header[at : at + 2], "big")
                parts.append(header[at + 2 : at + 2 + length])
                at += 2 + length
        elif header[0] == 2:
            lengths, at = [0, 0], 1
            for i in range(2):
                while header[at] == 255:
                    lengths[i], at = lengths[i] + 255, at + 1
                lengths[i], at = lengths[i] + header[at], at + 1
            first, second = at + lengths[0], at + sum(lengths)
            parts = [header[at:first], header[first:second], header[second:]]
    except IndexError:
        parts = []
    if [part[:7] for part in parts] != [b"\x01vorbis", b"\x03vorbis", b"\x05vorbis"] or len(parts[0]) != 30:
        raise ValueError("no Vorbis header")
    return parts


def _played(packets: Iterable[Any], edits: bool) -> Iterator[Any]:
    """The packets without those that an edit list cuts away.

    ``edits``: where the cut can be written again, the packet before the first one stays, hidden as it was: a decoder
    begins with it.
    """
    cut, begun = None, False
    for packet in packets:
        if packet.dts is None:
            continue
        if packet.is_discard:
            cut = packet
            continue
        if cut is not None and edits and not begun:
            yield cut
        begun = True
        yield packet


def _even(values: np.ndarray) -> np.ndarray:
    """H.264 in its usual form has even sides: the last row or column twice where a side is odd."""
    height, width, _ = values.shape
    if height % 2 or width % 2:
        values = np.pad(values, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return np.ascontiguousarray(values)


def _words(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).splitlines()[0]
