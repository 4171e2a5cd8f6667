"""A camera that is a pipe: another process writes slowly, ends in the middle, or Ctrl-C comes; and windows by hand."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from anon.errors import UserError
from anon.faces.detection.contract import Detections
from anon.faces.live import source_of
from anon.faces.video import read_video
from anon.video import live as module
from anon.video.jobs import jobs_of, run
from anon.video.pipeline import Anonymizing
from anon.video.times import Rising
from anon.video.tracks import follow
from anon.video.window import Window
from tests.video.scenes import Fixed, detections, frame_of, masking, times_of, write_clip

# Writes a share of a file into a pipe in pieces, with naps; then interrupts this process, or waits to be killed.
WRITER = """
import os, signal, sys, time
file, pipe, share, then = sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4]
content = open(file, "rb").read()
content = content[: int(len(content) * share)]
with open(pipe, "wb", buffering=0) as out:
    for start in range(0, len(content), 4096):
        out.write(content[start : start + 4096])
        time.sleep(0.005)
    if then == "interrupt":
        time.sleep(0.3)
        os.kill(os.getppid(), signal.SIGINT)
        time.sleep(120)
"""
TIMES = [0, 40, 80, 120, 160, 200, 280, 320, 360, 400, 440, 900, 940, 980, 1020, 1060]  # milliseconds: 16 frames


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen frames of one face as MPEG-TS, at times that are no rate's, on a wall that costs a codec something."""
    noise = torch.Generator().manual_seed(0)
    frames = []
    for _ in TIMES:
        frame = frame_of([(3, 20, 20)])[0].clone()
        frame[:, 150:] = torch.randint(0, 255, frame[:, 150:].shape, generator=noise, dtype=torch.uint8)
        frames.append(frame)
    return write_clip(tmp_path_factory.mktemp("stream") / "a.ts", frames, TIMES, codec="libx264")


@contextmanager
def fed(stream: Path, pipe: Path, share: float = 1.0, then: str = "end") -> Iterator[Path]:
    """A pipe, and the process that writes into it."""
    os.mkfifo(pipe)
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(stream), str(pipe), str(share), then])
    try:
        yield pipe
    finally:
        writer.kill()
        writer.wait()


def recorded(pipe: Path, target: Path, by: Anonymizing | None = None, **settings: Any) -> tuple[list[Tensor], Any]:
    ((_, report),) = run(jobs_of(f"camera:{pipe}", str(target)), by or masking(Fixed(), **settings))
    return list(read_video(target)), report


def black(frame: Tensor) -> bool:
    """Whether the face's middle is under the mask; H.264 rounds."""
    return int(frame[60:80, 60:76].max()) < 40


class Missing(Fixed):
    """Misses the face in some frames."""

    def __init__(self, *frames: int) -> None:
        super().__init__()
        self.missed, self.at = frames, 0

    def detect_batch(self, frames: Sequence[Tensor]) -> list[Detections]:
        self.at += len(frames)
        numbers = range(self.at - len(frames), self.at)
        return [detections([], []) if number in self.missed else self.faces for number in numbers]


def test_a_slow_writer_and_a_face_that_is_missed_in_between(stream: Path, tmp_path: Path) -> None:
    with fed(stream, tmp_path / "live") as pipe:
        frames, report = recorded(pipe, tmp_path / "out.mp4", masking(Missing(4, 5, 6), batch=3, window=8))
    assert len(frames) == report["frames"] == report["faces"] == 16 and report["filled_in"] == 3
    assert all(map(black, frames)) and report["live"] == {"window": 8, "ended": module.ENDED}
    assert report["sound"] is None and "input" in report and len(report["tracks"]) == 1
    times = times_of(tmp_path / "out.mp4")
    assert [round(float(time - times[0]) * 1000) for time in times] == TIMES
    assert sorted(each.name for each in tmp_path.iterdir()) == ["live", "out.mp4", "out.mp4.html", "out.mp4.json"]


def test_an_end_in_the_middle_leaves_a_whole_file(stream: Path, tmp_path: Path) -> None:
    with fed(stream, tmp_path / "live", share=0.6) as pipe:
        frames, report = recorded(pipe, tmp_path / "out.mp4")
    assert 4 < len(frames) < 16 and len(frames) == report["frames"] and all(map(black, frames))
    assert report["live"]["ended"] == module.ENDED


def test_ctrl_c_ends_the_recording_and_leaves_a_whole_file(stream: Path, tmp_path: Path) -> None:
    """The writer holds the pipe open and says nothing more, so nothing but the signal ends it."""
    before = signal.getsignal(signal.SIGINT)
    with fed(stream, tmp_path / "live", share=0.6, then="interrupt") as pipe:
        frames, report = recorded(pipe, tmp_path / "out.mp4")
    assert 4 < len(frames) < 16 and all(map(black, frames)) and report["live"]["ended"] == module.ASKED
    assert signal.getsignal(signal.SIGINT) is before and (tmp_path / "out.mp4.html").is_file()


def test_ctrl_c_before_the_first_frame_leaves_nothing(stream: Path, tmp_path: Path) -> None:
    with fed(stream, tmp_path / "live", share=0.0, then="interrupt") as pipe, pytest.raises(KeyboardInterrupt):
        recorded(pipe, tmp_path / "out.mp4")
    assert [each.name for each in tmp_path.iterdir()] == ["live"]


def test_so_many_seconds(stream: Path, tmp_path: Path) -> None:
    with fed(stream, tmp_path / "live") as pipe:
        frames, report = recorded(pipe, tmp_path / "out.mp4", seconds=0.4)
    assert len(frames) == 9 and report["live"]["ended"] == module.ENOUGH  # those before 400 ms


def test_what_fails_on_the_way_leaves_nothing(stream: Path, tmp_path: Path) -> None:
    class Broken(Fixed):
        calls = 0

        def detect_batch(self, frames: Sequence[Tensor]) -> list[Detections]:
            Broken.calls += 1
            if Broken.calls == 3:
                raise ZeroDivisionError
            return super().detect_batch(frames)

    with fed(stream, tmp_path / "live") as pipe, pytest.raises(ZeroDivisionError):
        recorded(pipe, tmp_path / "out.mp4", masking(Broken(), batch=2, window=1))
    assert [each.name for each in tmp_path.iterdir()] == ["live"] and Broken.calls == 3


def test_what_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "words").write_bytes(b"no video at all. " * 20_000)
    with fed(tmp_path / "words", tmp_path / "live") as pipe, pytest.raises(UserError, match="no MPEG-TS comes through"):
        recorded(pipe, tmp_path / "out.mp4")
    with pytest.raises(UserError, match=r"input=camera:77: the camera cannot be read \(No such file"):
        list(run(jobs_of("camera:77", str(tmp_path / "out.mp4")), masking(Fixed())))
    with pytest.raises(UserError, match="input=camera:: name one"):
        jobs_of("camera:", str(tmp_path / "out.mp4"))
    with pytest.raises(UserError, match=r"what is live becomes one of \.mp4"):
        jobs_of("camera:0", str(tmp_path / "out.png"))
    with pytest.raises(UserError, match="no camera that this program can read on sunos"):
        source_of("camera:0", "sunos")
    (tmp_path / "out.mp4").write_text("mine")
    with pytest.raises(UserError, match="is there already"):
        jobs_of("camera:0", str(tmp_path / "out.mp4"))


def test_a_bare_index_is_a_camera_unless_there_is_such_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (job,) = jobs_of("1", "out.mp4").jobs
    assert job.live is not None and job.live.title == "1" and job.source == Path(job.live.file)
    (tmp_path / "1").mkdir()
    assert source_of("1") is None
    os.mkfifo(tmp_path / "pipe.mp4")
    assert source_of("pipe.mp4") is None  # a pipe that is no camera keeps nobody waiting
    with pytest.raises(UserError, match="not a regular file"):
        list(run(jobs_of("pipe.mp4", "out.mp4"), masking(Fixed())))


def moving(frames: int, seed: int) -> list[Detections]:
    """Two who walk past each other; each is missed in a third of the frames, and the second is away for a while."""
    _, one = frame_of([(3, 0, 0)])
    draw, found = torch.Generator().manual_seed(seed), list[Detections]()
    for t in range(frames):
        places = [(10.0 + 2 * t, 10.0), (200.0 - 2 * t, 60.0)]
        seen = [float(torch.rand(1, generator=draw)) > 0.33 and not (p == 1 and 20 < t < 45) for p in range(2)]
        corners = [torch.tensor(place) for place, there in zip(places, seen, strict=True) if there]
        found.append(detections([one.boxes[0] + c.repeat(2) for c in corners], [one.points[0] + c for c in corners]))
    return found


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_window_that_is_long_enough_gives_what_two_passes_give(seed: int) -> None:
    found, times = moving(60, seed), [0.04 * t for t in range(60)]
    wanted, window, length = follow(found, 0.6, 0.1, times), Window(0.6, 0.1), 20
    given = []
    for t, each in enumerate(found):
        window.add(each, times[t])
        if t >= length:
            given.append(window.faces(t - length))
    given += [window.faces(t, ended=True) for t in range(60 - length, 60)]
    assert any(face.filled for faces in given for face in faces)
    for own, other in zip(given, wanted, strict=True):
        assert [(face.track, face.filled) for face in own] == [(face.track, face.filled) for face in other]
        for one, two in zip(own, other, strict=True):
            torch.testing.assert_close(one.box, two.box, atol=1e-3, rtol=0)
            torch.testing.assert_close(one.points, two.points, atol=1e-3, rtol=0, equal_nan=True)


def test_a_short_window_covers_a_place_until_it_is_known_whether_the_face_returns() -> None:
    _, one = frame_of([(3, 20, 20)])
    nobody, window = detections([], []), Window(0.6, 0.1)
    faces = []
    for t in range(40):  # gone from the fifth frame on; a window of two frames, 25 a second
        window.add(one if t < 5 else nobody, 0.04 * t)
        faces += [window.faces(t - 2)] if t >= 2 else []
    covered = [t for t, each in enumerate(faces) if each]
    assert covered == list(range(5 + 13))  # .6 s after the fourth frame is the nineteenth, which two frames know of
    assert all(bool(face.points.isnan().all()) and face.filled for each in faces[5:] for face in each)
    assert float((faces[10][0].box - one.boxes[0]).abs().max()) < 1e-3


def test_a_window_forgets() -> None:
    window, found = Window(0.6, 0.1), moving(60, 0)
    for t in range(600):
        window.add(found[t % 60], 0.04 * t)
        if t >= 20:
            window.faces(t - 20)
    held = sum(len(track.frames) for track in window._tracks)
    assert len(window._times) < 60 and held < 200 and len(window._tracks) < 12


def test_times_rise_from_zero_on_and_go_on_where_a_source_begins_anew() -> None:
    rising = Rising(Fraction(1, 1000), Fraction(25))
    told = [5.0, 5.04, 5.04, 5.02, 5.2, 1.0, 1.04]  # a repeated time, one of another order, a new piece
    assert [rising.next(Fraction(each).limit_denominator(1000)) for each in told] == [0, 40, 41, 42, 200, 240, 280]


def test_outside_of_the_main_thread_no_signal_is_asked_for() -> None:
    seen = list[Any]()

    def inside() -> None:
        with module.ending() as stopped:
            seen.append((stopped(), signal.getsignal(signal.SIGINT)))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert seen == [(False, before)]
