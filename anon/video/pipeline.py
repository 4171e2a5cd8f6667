"""One file through all stages: read, detect, follow, change, judge, write; or none of it, and one sentence why.

A video is read twice. The first pass keeps boxes and points alone, so that a face that is missed between two
detections is filled in from both sides; the second one has a few frames in memory at a time, however long the video is.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol

from torch import Tensor

from anon import checksums
from anon.anonymizers.filters import Filter
from anon.errors import UserError
from anon.faces.detection.contract import Detections, Detector
from anon.faces.images import Layers
from anon.faces.video import Timed
from anon.overlap import ahead
from anon.progress import track
from anon.video import clips, photographs, report
from anon.video.changer import FaceChanger
from anon.video.gate import COVERED, UNVERIFIED, Gate, Verdict, leaves_nothing
from anon.video.times import Stamps, check_together
from anon.video.tracks import Faces, Seen, alone, follow

MISSED = 0.6  # seconds for which a face may be missed before its track has ended
LINGERS = 0.1  # seconds for which a face is covered before it is first seen and after it is last seen


class Watching(Protocol):
    """Looks on while a video is written: the number of a frame, what it was and what it is now, and its faces."""

    def __call__(
        self, number: int, before: Tensor, after: Tensor, faces: Sequence[Seen], verdicts: Sequence[Verdict]
    ) -> None: ...


class Anonymizing(NamedTuple):
    """What files are anonymized by."""

    detector: Detector
    change: FaceChanger
    gate: Gate
    settings: Mapping[str, Any]  # for the report
    strict: bool = False  # no file is finished that holds an unverified face
    sound: bool = True  # a video's is kept
    batch: int = 8  # frames at a time
    window: int = 20  # frames that are held back of what is read live
    seconds: float | None = None  # of what is read live; None: until it ends

    def changed(self, frame: Tensor, watch: Watching | None = None) -> tuple[Tensor, report.Tally]:
        """A picture uint8 (H, W, 3) RGB -> a changed copy, and the account of its faces.

        Args:
            watch: is shown both, and what became of every face.

        Raises:
            UserError: a face stays unverified, and ``strict`` wants none.
        """
        with self.change.remembering():
            result, tally = self._of(frame, photographs.detect(self.detector, Layers(frame, None)), watch)
            self.change.finish()
        return result, tally

    def _of(self, frame: Tensor, found: Detections, watch: Watching | None = None) -> tuple[Tensor, report.Tally]:
        tally, faces = report.Tally(self.gate), alone(found)
        self.change.begin()
        (result,), (verdicts,) = self.change([frame], [faces])
        tally.add(0, faces, verdicts)
        check_strict(self.strict, tally)
        if watch is not None:
            watch(0, frame, result, faces, verdicts)
        return result, tally

    def photograph(self, source: Path, target: Path) -> dict[str, Any]:
        """Anonymize a photograph; returns its report.

        Raises:
            UserError: it cannot be read, written or anonymized; nothing is left of what was begun.
        """
        began = time.monotonic()
        given = photographs.read(source)
        photographs.check_holds(target, given)
        found, size = photographs.detect(self.detector, given), (given.colour.shape[0], given.colour.shape[1])
        result, tally = self._of(given.colour, found)
        alpha = photographs.opaque(given.alpha, self.change.reach(alone(found), size))  # what is judged is seen
        with checksums.written_whole(target) as stream:
            photographs.write(stream, target.suffix, result, alpha)
            people = self.change.finish()  # before the result has its name: no face is out that a store does not know
        least = photographs.smallest(self.detector, size)
        about = {"kind": "photograph", "width": size[1], "height": size[0], "smallest_face": least, **people}
        return report.document(tally, time.monotonic() - began, about, self.settings)

    def video(self, source: Path, target: Path, watch: Watching | None = None) -> dict[str, Any]:
        """Anonymize a video; returns its report.

        Args:
            watch: is shown every frame.

        Raises:
            UserError: see :meth:`photograph`.
        """
        began, state = time.monotonic(), clips.state_of(source)
        about, tally = clips.told(source), report.Tally(self.gate, video=True)
        if self.sound:
            check_sound(target.suffix.lower(), source, about)
        faces, shown = self.faces_of(source, about)
        clips.check_same(source, state)
        self.change.begin()
        with checksums.written_whole(target) as stream:
            width, height = self._write(source, stream, target.suffix.lower(), about, faces, shown, tally, watch)
            clips.check_same(source, state)
            people = self.change.finish()
        sound = about.sound if self.sound else None
        dropped = [*about.dropped, *(["audio"] if about.sound is not None and sound is None else [])]
        what = {"kind": "video", "width": width, "height": height, "sound": sound, "left_out": dropped, **people}
        return report.document(tally, time.monotonic() - began, what, self.settings)

    def faces_of(self, source: Path, about: clips.Told) -> tuple[Faces, Sequence[int]]:
        """The first pass: the faces of every frame of a video, followed and filled in, and when each frame is shown."""
        stamps = Stamps(about.base, about.rate)
        with ahead(clips.frames_of(source, about)) as read:
            frames = track(stamps.noted(read), "finding faces", about.frames, unit="frames")
            groups = ([frame.pixels for frame in group] for group in _groups(frames, self.batch))
            found = (each for group in groups for each in self.detector.detect_batch(group))
            return follow(found, MISSED, LINGERS, stamps.seconds), stamps.rising()

    def _write(
        self,
        source: Path,
        stream: BinaryIO,
        suffix: str,
        about: clips.Told,
        faces: Faces,
        shown: Sequence[int],
        tally: report.Tally,
        watch: Watching | None,
    ) -> tuple[int, int]:
        writer = clips.Writer(stream, suffix, source, about, self.sound)
        try:
            with ahead(clips.frames_of(source, about)) as read:
                frames = track(read, "changing faces", len(faces), unit="frames")
                for group in _groups(frames, self.batch):
                    seen = faces[tally.frames : tally.frames + len(group)]
                    if len(seen) < len(group):
                        raise UserError(f"'{source}' has changed while it was read.")
                    results, verdicts = self.change([frame.pixels for frame in group], seen)
                    for frame, result, own, verdict in zip(group, results, seen, verdicts, strict=True):
                        number, at = tally.frames, shown[tally.frames]
                        tally.add(number, own, verdict)
                        if watch is not None:
                            watch(number, frame.pixels, result, own, verdict)
                        check_strict(self.strict, tally)
                        writer.add(frame, result, at)
            if tally.frames < len(faces):
                raise UserError(f"'{source}' has changed while it was read.")
            writer.close()
        except BaseException:
            writer.leave()
            raise
        return result.shape[1], result.shape[0]


def check_foreseen(by: Anonymizing, faces: Iterable[Seen]) -> None:
    """See, before anything is drawn, that a file with these faces can be finished under ``strict``.

    Without a judge nobody verifies what is drawn or filtered, and only a mask covers; with one, it is not known yet.

    Raises:
        UserError: it cannot.
    """
    if not by.strict or by.change.gate.judging or leaves_nothing(by.change.method):
        return
    tally = report.Tally(by.change.gate)
    for face in faces:
        stopped = by.change.gate.unfit(face) is not None and not isinstance(by.change.method, Filter)
        covered = stopped and leaves_nothing(by.change.fallback)
        tally.add(0, [face], [Verdict(COVERED if covered else UNVERIFIED)])
    check_strict(by.strict, tally)


def check_strict(strict: bool, tally: report.Tally) -> None:
    """See that every face that was written so far is verified or covered, where that is wanted.

    Raises:
        UserError: one is not.
    """
    if strict and tally.unverified:
        raise UserError(
            f"strict=true: {tally.unverified} of {tally.faces} faces would be written that no recognizer verified "
            "and no mask covers, so nothing is written; method=solid covers all, judge=<choice> verifies."
        )


def check_sound(suffix: str, source: Path, about: clips.Told) -> None:
    """See that the sound of a video can be copied as it is, before a frame is read.

    Raises:
        UserError: the container cannot hold it, or its times are none.
    """
    if about.sound is not None:
        clips.check_holds(suffix, source, about)
        check_together(source)


def _groups(items: Iterable[Timed], size: int) -> Iterator[list[Timed]]:
    iterator = iter(items)
    while group := list(itertools.islice(iterator, size)):
        yield group
