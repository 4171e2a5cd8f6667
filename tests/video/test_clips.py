"""A video in, a video out: every face in every frame, times and sound as they were, and nothing of a broken file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from anon.anonymizers.plugged import Plugged
from anon.errors import UserError
from anon.faces.detection.contract import Detections
from anon.faces.video import read_video
from anon.video.jobs import jobs_of, run
from tests.video.scenes import Fixed, Known, frame_of, masking, times_of, write_clip

BLACK = 40  # levels: H.264 rounds, and its colours are halved


def anonymized(source: Path, target: Path, by=None, **settings: object):
    ((_, report),) = run(jobs_of(str(source), str(target)), by or masking(Fixed(), **settings))
    return list(read_video(target)), report


@pytest.fixture(scope="module")
def walk() -> list[tuple[Tensor, Detections]]:
    """Two who cross, one leaves at the right."""
    return [frame_of([(3, 10 + 8 * t, 10), (8, 150 - 7 * t, 40)]) for t in range(10)]


def still(count: int) -> list[Tensor]:
    return [frame_of([(3, 20, 20)])[0]] * count


def test_every_face_of_every_frame_and_those_that_the_detector_missed(tmp_path: Path, walk) -> None:
    known = Known()
    for t, (frame, found) in enumerate(walk):
        if t == 0 or t == 9 or t % 3:  # frames 3 and 6 are missed
            known.learn(frame, found)
    write_clip(tmp_path / "a.mp4", [frame for frame, _ in walk])
    frames, report = anonymized(tmp_path / "a.mp4", tmp_path / "b.mp4", masking(known))
    assert len(frames) == 10 and report["faces"] == 20 and report["filled_in"] == 4 and len(report["tracks"]) == 2
    for frame, (_, found) in zip(frames, walk, strict=True):
        for x, y in found.points.reshape(-1, 2).round().long().tolist():
            if x < 256:
                assert int(frame[y, x].max()) < BLACK


def test_pixels_far_from_faces_and_colours_stay(tmp_path: Path) -> None:
    frame = frame_of([(3, 20, 20)])[0].clone()
    for i, colour in enumerate(((200, 30, 30), (30, 180, 40), (40, 50, 210), (230, 220, 30))):
        frame[16 * i : 16 * i + 16, 192:] = torch.tensor(colour, dtype=torch.uint8)
    write_clip(tmp_path / "a.mp4", [frame] * 3)
    frames, _ = anonymized(tmp_path / "a.mp4", tmp_path / "b.mp4")
    for i in range(4):
        apart = (frames[1][16 * i + 4 : 16 * i + 12, 204:248].int() - frame[16 * i + 8, 220].int()).abs()
        assert float(apart.float().mean()) < 4, i  # BT.601 read as BT.709 is off by 10 and more


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_uneven_times_are_carried_and_sound_is_copied(tmp_path: Path, suffix: str) -> None:
    times = [0, 40, 47, 130, 131, 500]
    write_clip(tmp_path / f"a{suffix}", still(6), times, sound=True, tags={"artist": "Ann", "location": "+40-070/"})
    _, report = anonymized(tmp_path / f"a{suffix}", tmp_path / f"b{suffix}")
    shown = times_of(tmp_path / f"b{suffix}")
    assert all(abs(a - Fraction(b, 1000)) <= Fraction(1, 1000) for a, b in zip(shown, times, strict=True))
    sound = [_sound(tmp_path / f"{name}{suffix}") for name in "ab"]
    assert sound[0] == sound[1] and len(sound[0]) > 2 and report["sound"] == "aac"
    with av.open(str(tmp_path / f"b{suffix}")) as container:
        told = {**container.metadata, **{k: v for each in container.streams for k, v in each.metadata.items()}}
        assert not {"artist", "location", "ARTIST", "LOCATION"} & told.keys()
    _, report = anonymized(tmp_path / f"a{suffix}", tmp_path / f"c{suffix}", sound=False)
    assert report["sound"] is None and report["left_out"] == ["audio"]
    with av.open(str(tmp_path / f"c{suffix}")) as container:
        assert not container.streams.audio


def _sound(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def test_sound_that_the_container_cannot_hold_is_said_first(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", still(2), sound=True)
    with pytest.raises(UserError, match=r"cannot hold the sound.*aac.*audio=drop"):
        anonymized(tmp_path / "a.mp4", tmp_path / "b.webm")
    assert os.listdir(tmp_path) == ["a.mp4"]
    frames, _ = anonymized(tmp_path / "a.mp4", tmp_path / "b.webm", sound=False)
    assert len(frames) == 2 and int(frames[1][72, 68].max()) < BLACK


def test_odd_sides_one_frame_and_gifs(tmp_path: Path) -> None:
    frame = frame_of([(3, 20, 20)], 145, 257)[0]
    write_clip(tmp_path / "a.mkv", [frame])
    frames, report = anonymized(tmp_path / "a.mkv", tmp_path / "b.mp4")
    assert frames[0].shape == (146, 258, 3) and report["frames"] == 1 and int(frames[0][72, 68].max()) < BLACK
    pictures = [Image.fromarray(each.numpy()) for each in (frame, frame.flip(1), frame)]
    pictures[0].save(tmp_path / "c.gif", save_all=True, append_images=pictures[1:], duration=[100, 200, 100])
    frames, _ = anonymized(tmp_path / "c.gif", tmp_path / "d.mp4")
    assert len(frames) == 3 and times_of(tmp_path / "d.mp4") == [0, Fraction(1, 10), Fraction(3, 10)]
    with pytest.raises(UserError, match=r"a video is written as \.mp4"):
        anonymized(tmp_path / "c.gif", tmp_path / "d.gif")


def cut(path: Path, kind: str) -> Path:
    if kind == "truncated":
        write_clip(path, still(40))
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif kind == "truncated mkv":
        write_clip(path.with_suffix(".mkv"), [frame_of([(t % 9, 20, 20)])[0] for t in range(12)])
        content = path.with_suffix(".mkv").read_bytes()
        path.with_suffix(".mkv").unlink()
        path.write_bytes(content[: len(content) // 2])
    elif kind == "sound only":
        with av.open(str(path), "w") as container:
            tone = container.add_stream("aac", rate=16000)
            heard = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.int16), format="s16", layout="mono")
            heard.sample_rate = 16000
            container.mux([*tone.encode(heard), *tone.encode(None)])
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.write_bytes({"empty": b"", "text": b"#EXTM3U\nhttp://example.org/a.ts\n" * 99}[kind])
    return path


@pytest.mark.parametrize("kind", ["truncated", "truncated mkv", "sound only", "fifo", "empty", "text"])
def test_what_is_no_whole_video_is_one_sentence(tmp_path: Path, kind: str) -> None:
    source = cut(tmp_path / "a.mp4", kind)
    with pytest.raises(UserError, match=r"^'.*a\.mp4' cannot be anonymized: it is [^\n]+\.$"):
        anonymized(source, tmp_path / "b.mp4")
    assert os.listdir(tmp_path) == ["a.mp4"]


class Fails(Fixed):
    """Goes wrong in the second pass of a clip, or in the first."""

    def __init__(self, after: int, error: type[BaseException]) -> None:
        super().__init__()
        self.after, self.error = after, error

    def detect_batch(self, frames: Sequence[Tensor]) -> list[Detections]:
        self.after -= len(frames)
        if self.after < 0:
            raise self.error
        return super().detect_batch(frames)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_what_ends_it_in_the_middle_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    write_clip(tmp_path / "a.mp4", still(12))
    with pytest.raises(error):
        anonymized(tmp_path / "a.mp4", tmp_path / "b.mp4", masking(Fails(9, error)))
    by = masking(Fixed())

    def stops(*_: object) -> None:
        raise error

    by.change.fallback.forward = stops  # type: ignore[method-assign]
    with pytest.raises(error):
        anonymized(tmp_path / "a.mp4", tmp_path / "b.mp4", masking(Fixed(), Plugged(stops)))
    assert os.listdir(tmp_path) == ["a.mp4"]


def test_strict_stops_a_clip(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", still(3))
    with pytest.raises(UserError, match="strict=true"):
        anonymized(tmp_path / "a.mp4", tmp_path / "b.mp4", masking(Fixed(), Plugged(torch.ones_like), strict=True))
    assert os.listdir(tmp_path) == ["a.mp4"]
