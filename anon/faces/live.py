"""Frames as they come: a camera, or a pipe that another program writes MPEG-TS into; it ends when its reader says so.

    camera:0, camera:/dev/video2, 0       a camera, by FFmpeg's devices: v4l2 on Linux, avfoundation on macOS, dshow on
                                          Windows (there by its name, too: camera:Integrated Camera)
    camera:<pipe>                         made by mkfifo, into which another program writes: ffmpeg ... -f mpegts <pipe>

A pipe is read by the same code as a camera, so that what has no camera can be tested, and any program can be one.
"""

from __future__ import annotations

import os
import select
import stat
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import av.error

from anon.errors import UserError
from anon.faces.video import MAX_PIXELS, Timed, VideoError, timed_frame

CAMERA = "camera:"
WAIT = 0.1  # seconds after which a reader that waits for a pipe looks whether it shall end
_RATE = Fraction(25)  # frames a second of what does not say
_DEVICES = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}
#: What PyAV raises on input that is damaged, gone, or none.
_ERRORS = (av.error.FFmpegError, OSError, ValueError, OverflowError, RuntimeError)


class Source(NamedTuple):
    """What is read live."""

    title: str  # as sentences call it
    pipe: bool
    file: str  # as FFmpeg's device, or the system, calls it
    device: str | None = None  # FFmpeg's name of the devices


class Opened(NamedTuple):
    """A source that is read: its frames, and what is known before the first."""

    frames: Iterator[Timed]
    rate: Fraction  # frames a second, on the mean
    base: Fraction  # unit of its times, seconds
    dropped: tuple[str, ...]  # kinds of the streams that stay behind


def source_of(given: str, system: str = sys.platform) -> Source | None:
    """What ``input=`` names, where that is no file: ``camera:0``, ``camera:<pipe>``, a bare index.

    >>> source_of("camera:1", "linux"), source_of("clip.mp4", "linux")
    (Source(title='camera:1', pipe=False, file='/dev/video1', device='v4l2'), None)
    >>> source_of("0", "darwin").file, source_of("camera:Built-in", "win32").file
    ('0', 'video=Built-in')

    Raises:
        UserError: a camera where FFmpeg has no devices that this package knows, or an index that names none.
    """
    if not given.startswith(CAMERA) and (not given.isascii() or not given.isdigit() or os.path.lexists(given)):
        return None
    name = given.removeprefix(CAMERA)
    if _is_pipe(name):
        return Source(given, True, str(Path(name).expanduser()))
    device = next((each for start, each in _DEVICES.items() if system.startswith(start)), None)
    if not name or device is None:
        told = "name one, as in camera:0" if device else f"there is no camera that this program can read on {system}"
        raise UserError(f"input={given}: {told}.")
    if device == "v4l2":
        return Source(given, False, f"/dev/video{int(name)}" if name.isdigit() else name, device)
    if device == "dshow":
        return Source(given, False, f"video={_named(given, int(name)) if name.isdigit() else name}", device)
    return Source(given, False, name, device)


def _is_pipe(name: str) -> bool:
    try:
        return stat.S_ISFIFO(os.stat(Path(name).expanduser()).st_mode)
    except (OSError, ValueError):
        return False


def _named(given: str, index: int) -> str:
    """The name of a camera on Windows, where FFmpeg knows none by its number."""
    try:
        found = [each for each in av.enumerate_input_devices("dshow") if "video" in each.media_types]
        return str(found[index].name)
    except (*_ERRORS, IndexError, AttributeError) as error:
        raise UserError(f"input={given}: there is no such camera; its name will do, as in camera:<name>.") from error


class Reading:
    """Opens a source, and gives :class:`Opened`; its frames end when the source does, or ``stopped`` says so.

    Args:
        stopped: asked before every frame, and while nothing comes through a pipe.

    Raises:
        UserError: it is not there, cannot be read, or has no pictures.
        KeyboardInterrupt: ``stopped`` said so before there was a frame.
    """

    def __init__(self, source: Source, stopped: Callable[[], bool]) -> None:
        self.source, self.stopped = source, stopped
        self._pipe: _Pipe | None = None
        self._container: Any = None

    def __enter__(self) -> Opened:
        source = self.source
        try:
            if source.pipe:
                self._pipe = _Pipe(source.file, self.stopped)
                options = {"analyzeduration": "1000000"}  # µs; by default the first frames wait for five seconds
                self._container = av.open(self._pipe, format="mpegts", metadata_errors="replace", options=options)
            else:
                options = {"framerate": "30"} if source.device == "avfoundation" else {}  # its own default is 29.97
                self._container = av.open(source.file, format=source.device, options=options)
            if not self._container.streams.video:
                raise VideoError("without pictures")
        except (*_ERRORS, VideoError) as error:
            self.close()
            if self.stopped():
                raise KeyboardInterrupt from error
            what = str(error) if isinstance(error, VideoError) else getattr(error, "strerror", None) or error
            told = "no MPEG-TS comes through it" if source.pipe else "the camera cannot be read"
            raise UserError(f"input={source.title}: {told} ({what}).") from error
        pictures = self._container.streams.video[0]
        pictures.codec_context.thread_count = 1  # threads would hold frames back
        pictures.codec_context.options = {"max_pixels": str(MAX_PIXELS)}  # of a stream whose header lies
        others = [each.type for each in self._container.streams if each.index != pictures.index]
        rate = pictures.average_rate or pictures.guessed_rate or pictures.base_rate or _RATE
        return Opened(self._frames(pictures), rate, pictures.time_base or 1 / rate, tuple(others))

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close what is open."""
        if self._container is not None:
            self._container.close()
        if self._pipe is not None:
            self._pipe.close()

    def _frames(self, pictures: Any) -> Iterator[Timed]:
        """A frame that is damaged is left out; where the source breaks off, the frames before are all."""
        given = False
        try:
            for frame in self._container.decode(pictures):
                if self._pipe is None and self.stopped():  # what came through a pipe is kept; its end is near
                    break
                if not frame.is_corrupt:
                    yield timed_frame(frame, pictures.sample_aspect_ratio or Fraction(1), MAX_PIXELS)
                    given = True
        except VideoError as error:
            raise UserError(f"input={self.source.title}: a frame is {error}.") from error
        except _ERRORS as error:
            if not given:
                told = getattr(error, "strerror", None) or error
                raise UserError(f"input={self.source.title} gave no frame ({told}).") from error
        if not given:
            raise KeyboardInterrupt if self.stopped() else UserError(f"input={self.source.title} gave no frame.")


class _Pipe:
    """A pipe as PyAV reads a file. Nobody waits in it for a writer who says nothing: there its end may be asked for."""

    def __init__(self, path: str, stopped: Callable[[], bool]) -> None:
        # So opened, it is there at once, whether anybody writes already or not.
        self._file, self._stopped, self._begun = os.open(path, os.O_RDONLY | os.O_NONBLOCK), stopped, False

    def read(self, size: int) -> bytes:
        while not self._stopped():
            ready, _, _ = select.select([self._file], [], [], WAIT)
            if not ready:
                continue
            try:
                found = os.read(self._file, size)
            except BlockingIOError:
                continue
            if found or self._begun:
                self._begun = True
                return found
            select.select([], [], [], WAIT)  # nobody has opened it for writing yet
        return b""

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
