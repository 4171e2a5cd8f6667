"""What is read live, anonymized in one pass: a window of frames is held back, so that a face may be missed in between.

    anon anonymize input=camera:0 output=out.mp4          # until Ctrl-C; live.seconds=60 stops by itself

In memory are the frames of the window and two batches more, however long it goes on. Where a machine is slower than the
source, a camera leaves frames out and a pipe waits; either way every frame keeps its time.
"""

from __future__ import annotations

import contextlib
import itertools
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from types import FrameType
from typing import Any

from anon import checksums
from anon.faces.live import Opened, Reading, Source
from anon.faces.video import Timed
from anon.video import clips, report
from anon.video.pipeline import LINGERS, MISSED, Anonymizing, check_strict
from anon.video.times import Rising
from anon.video.window import Window

EVERY = 10.0  # seconds between lines that say how far it is
ENDED, ASKED, ENOUGH = "the source ended", "stopped", "live.seconds"  # why a recording is over

_Held = tuple[Timed, int]  # a frame, and when it is shown, in the source's unit


def record(by: Anonymizing, source: Source, target: Path) -> dict[str, Any]:
    """Anonymize what a source gives, until it ends, ``by.seconds`` are over, or somebody presses Ctrl-C.

    Returns:
        The report.

    Raises:
        UserError: the source cannot be read, or its frames cannot be anonymized or written; nothing is left then.
        KeyboardInterrupt: of a second Ctrl-C, which gives up.
    """
    began, tally = time.monotonic(), report.Tally(by.gate, video=True)
    with ending() as stopped, Reading(source, stopped) as opened:
        by.change.begin()
        why = [ENDED]
        with checksums.written_whole(target) as stream:
            about = clips.Told(opened.rate, opened.base, 0, None, None, opened.dropped)
            writer = clips.Writer(stream, target.suffix.lower(), Path(source.title), about, sound=False)
            try:
                size = _write(by, _until(opened, by.seconds, stopped, why), about, writer, tally)
                writer.close()
            except BaseException:
                writer.leave()
                raise
            people = by.change.finish()
    what = {"kind": "video", "width": size[0], "height": size[1], "sound": None, "left_out": list(opened.dropped)}
    live = {"live": {"window": by.window, "ended": why[0]}}
    return report.document(tally, time.monotonic() - began, {**what, **live, **people}, by.settings)


def _until(
    opened: Opened, seconds: float | None, stopped: Callable[[], bool], why: list[str]
) -> Iterator[tuple[Timed, Fraction]]:
    """Frames with the seconds since the first, as far as they are wanted; ``why`` it was over."""
    first, last, begun = time.monotonic(), 0.0, Fraction(0)
    for number, frame in enumerate(opened.frames):
        now = time.monotonic() - first
        passed = number / opened.rate if frame.time is None else frame.time
        begun = begun if number else passed
        if seconds is not None and float(passed - begun) >= seconds:
            why[0] = ENOUGH
            return
        if now - last >= EVERY:
            last = now
            print(f"recording: {number:,} frames, {now:.0f} s; Ctrl-C ends it", file=sys.stderr, flush=True)
        yield frame, passed
    if stopped():
        why[0] = ASKED


def _write(
    by: Anonymizing,
    frames: Iterator[tuple[Timed, Fraction]],
    about: clips.Told,
    writer: clips.Writer,
    tally: report.Tally,
) -> tuple[int, int]:
    """All frames, ``by.batch`` at a time; width and height of what is written."""
    held, window, rising = deque[_Held](), Window(MISSED, LINGERS), Rising(about.base, about.rate)
    size = (0, 0)

    def change(count: int, ended: bool) -> None:
        nonlocal size
        some = [held.popleft() for _ in range(count)]
        faces = [window.faces(tally.frames + i, ended) for i in range(count)]
        results, verdicts = by.change([frame.pixels for frame, _ in some], faces)
        for (frame, shown), result, own, verdict in zip(some, results, faces, verdicts, strict=True):
            tally.add(tally.frames, own, verdict)
            check_strict(by.strict, tally)
            writer.add(frame, result, shown)
            size = (result.shape[1], result.shape[0])

    while group := list(itertools.islice(frames, by.batch)):
        for found, (frame, passed) in zip(
            by.detector.detect_batch([frame.pixels for frame, _ in group]), group, strict=True
        ):
            shown = rising.next(passed)
            held.append((frame, shown))
            window.add(found, float(shown * about.base))
        while len(held) >= by.window + by.batch:
            change(by.batch, ended=False)
    while held:
        change(min(by.batch, len(held)), ended=True)
    return size


@contextlib.contextmanager
def ending() -> Iterator[Callable[[], bool]]:
    """Inside, the first Ctrl-C asks for an end, which the given function tells; the second one raises.

    Raises:
        KeyboardInterrupt: of the second one.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # no signal comes here
        yield asked.is_set
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, before)
