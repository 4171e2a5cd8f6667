"""When the frames of a video are shown: as the file says it, or, where that is no order, in the order of the frames.

Times are counted in the file's own unit. An AVI with B-frames tells them in the order of decoding, and a recording of
several pieces (MPEG-TS) begins anew in the middle; a file is written with times that rise, so both are put right first.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

from anon.errors import UserError
from anon.faces.video import Timed, opened_video

_FASTEST = 120.0  # frames a second where a file tells no times; a header may say any rate
_SHORTEST = 1e-3  # seconds that a frame is shown for
_JUMP = 1  # seconds; what goes back further is no order of decoding but a new piece
_UNTOLD = -(2**63)


class Stamps:
    """The times that a file gives its frames, read in passing.

    Args:
        base: the file's unit, seconds.
        rate: frames a second, on the mean.
    """

    def __init__(self, base: Fraction, rate: Fraction) -> None:
        self.base, self.rate, self._told = base, rate, array("q")
        self.seconds = array("d")  # when each is shown, from the first on, each later than the one before

    def noted(self, frames: Iterable[Timed]) -> Iterator[Timed]:
        """The frames as they come."""
        usual, last, now = 1 / min(float(self.rate), _FASTEST), None, 0.0
        for frame in frames:
            step = 0.0 if frame.time is None or last is None else float(frame.time - last)
            now += max(step, _SHORTEST) if step > 0 else usual
            last = frame.time
            self.seconds.append(now)
            self._told.append(_UNTOLD if frame.time is None else round(frame.time / self.base))
            yield frame

    def rising(self) -> array[int]:
        """When each frame is shown, in units of ``base``, each later than the one before; no frame changes places."""
        usual, jump = max(round(1 / self.rate / self.base), 1), _JUMP / self.base
        found, piece, shift = array("q"), list[int](), 0

        def ended() -> None:
            for time in sorted(piece):
                found.append(max(time, found[-1] + 1) if found else time)

        most = last = None
        for told in self._told:
            time = (0 if last is None else last + usual) if told == _UNTOLD else told + shift
            if most is not None and time < most - jump:  # a new piece: it begins a frame after the one before
                ended()
                piece.clear()
                shift += found[-1] + usual - time
                time = found[-1] + usual
            piece.append(time)
            last, most = time, time if most is None else max(most, time)
        ended()
        return found


class Rising:
    """Times of what is read live, in units of ``base`` from 0 on, each later than the one before.

    A source that begins anew goes on a frame later; no frame waits for one that comes after it.

    Args:
        base: the source's unit, seconds.
        rate: frames a second, on the mean.
    """

    def __init__(self, base: Fraction, rate: Fraction) -> None:
        self.base, self._usual = base, max(round(1 / rate / base), 1)
        self._shift: int | None = None
        self._last = -1

    def next(self, seconds: Fraction) -> int:
        """The time of the next frame, which its source gives as so many seconds."""
        told = round(seconds / self.base)
        if self._shift is None:
            self._shift = -told
        elif told + self._shift < self._last - _JUMP / self.base:
            self._shift = self._last + self._usual - told
        self._last = max(told + self._shift, self._last + 1)
        return self._last


def check_together(source: Path) -> None:
    """See that sound that is copied can stay with its pictures, before a frame is read.

    Raises:
        UserError: the times of either jump back.
    """
    last: dict[int, Fraction] = {}
    with opened_video(source) as (container, _):
        streams = (container.streams.video[0], container.streams.audio[0])
        for packet in container.demux(*streams):
            if packet.dts is None or packet.time_base is None:
                continue
            now, which = packet.dts * packet.time_base, packet.stream.index
            slack = _JUMP if packet.stream.type == "video" else 0
            if now < last.get(which, now) - slack:
                raise UserError(
                    f"The times of '{source}' jump back at {float(last[which]):.1f} s, so its sound would not stay "
                    "with its pictures; say audio=drop, or put them right first, as ffmpeg -i <name> -c copy "
                    "<name>.mkv does."
                )
            last[which] = now
