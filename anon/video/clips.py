"""A video in, a video out: frames at the times that the file gives them, its sound as it is, nothing else of it.

Frames come as a player shows them (:mod:`anon.faces.video`): upright, of square pixels. They are written as H.264
(VP9 in a WebM) in BT.709. Subtitles, data tracks and every tag (GPS, camera, author, dates) stay behind.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
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
    seconds: float | None  # how long its pictures last; None: it counts frames, or its sound may be longer
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
        counted = pictures.frames > 0 or sound is not None
        return Told(rate, base, frames, None if counted else seconds, sound, tuple(others + further))


def frames_of(path: Path, about: Told) -> Iterator[Timed]:
    """Every frame.

    Raises:
        UserError: no video, or none to its end: a part of one is not taken for the whole.
    """
    with _mistakes(path):
        first = last = Fraction(0)
        for number, frame in enumerate(read_timed(path)):
            last = last if frame.time is None else frame.time
            first = first if number else last
            yield frame
        lasted = last - first + 2 / about.rate  # Matroska states no number of frames
        if about.seconds is not None and frame.time is not None and lasted < _FEW * about.seconds:
            raise VideoError("truncated")


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
            with av.open(io.BytesIO(), "w", format=FORMATS[suffix][0]) as trial:
                trial.add_stream_from_template(heard.streams.audio[0])
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
        self._next = Fraction(0)  # when a frame without a time is shown
        self._open = contextlib.ExitStack()
        self._out = self._open.enter_context(av.open(stream, "w", format=container))
        self._pictures: Any = None
        self._sound: Any = None
        self._heard: Any = None
        self._waiting: Any = None
        self._packets: Iterator[Any] = iter(())
        if sound and about.sound is not None:
            container_of, _ = self._open.enter_context(opened_video(source))
            self._heard = container_of.streams.audio[0]
            self._packets = (packet for packet in container_of.demux(self._heard) if packet.dts is not None)

    def add(self, frame: Timed, pixels: Tensor) -> None:
        """A frame, uint8 (H, W, 3), in the place of the one read.

        Raises:
            UserError: FFmpeg refuses it.
        """
        values = _even(pixels.numpy())
        try:
            if self._pictures is None:
                self._begin(values.shape[1], values.shape[0])
            picture = av.VideoFrame.from_ndarray(values, format="rgb24").reformat(
                format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
            )
            time = self._next if frame.time is None else frame.time
            self._next = time + (frame.duration or 1 / self._about.rate)
            picture.pts, picture.time_base = round(time / self._about.base), self._about.base
            if frame.duration is not None:
                picture.duration = round(frame.duration / self._about.base)
            self._out.mux(self._pictures.encode(picture))
            self._hear(time)
        except _FAILED as error:
            raise UserError(f"'{self._source}' cannot be written as {self._suffix} ({_words(error)}).") from error

    def close(self) -> None:
        """End the file.

        Raises:
            UserError: FFmpeg refuses to.
        """
        try:
            if self._pictures is not None:
                self._out.mux(self._pictures.encode(None))
            self._hear(None)
            self._open.close()
        except _FAILED as error:
            raise UserError(f"'{self._source}' cannot be written as {self._suffix} ({_words(error)}).") from error

    def leave(self) -> None:
        """Close everything, whatever is missing: the file is thrown away."""
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
            self._sound = self._out.add_stream_from_template(self._heard)

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


def _even(values: np.ndarray) -> np.ndarray:
    """H.264 in its usual form has even sides: the last row or column twice where a side is odd."""
    height, width, _ = values.shape
    if height % 2 or width % 2:
        values = np.pad(values, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return np.ascontiguousarray(values)


def _words(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).splitlines()[0]
