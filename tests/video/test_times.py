"""Files whose times are no order: told in the order of decoding, or beginning anew; by hand and in real containers."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import pytest
import torch
from torch import Tensor

from anon.errors import UserError
from anon.faces.video import Timed, read_video
from anon.video.jobs import jobs_of, run
from anon.video.times import Stamps
from tests.video.scenes import Fixed, frame_of, masking, times_of, write_clip

BASE = Fraction(1, 1000)


def rising(*told: float | None, rate: int = 25) -> list[int]:
    """Of frames that are told in thousandths of a second."""
    stamps = Stamps(BASE, Fraction(rate))
    frames = (Timed(torch.zeros(1), None if time is None else Fraction(time) * BASE) for time in told)
    assert len(list(stamps.noted(frames))) == len(told) == len(stamps.seconds)
    assert all(a < b for a, b in itertools.pairwise(stamps.seconds))
    return list(stamps.rising())


def test_times_that_rise_are_kept() -> None:
    assert rising(0, 40, 47, 130, 131, 9500) == [0, 40, 47, 130, 131, 9500]
    assert rising(7000) == [7000] and rising() == []


def test_the_order_of_decoding_becomes_that_of_the_frames() -> None:
    assert rising(0, 160, 80, 40, 120, 320, 240, 200, 280) == [0, 40, 80, 120, 160, 200, 240, 280, 320]


def test_a_new_piece_goes_on_where_the_last_one_ended() -> None:
    """Two pieces of three frames; of the second, the first two are told in the order of decoding."""
    assert rising(5000, 5040, 5080, 40, 0, 80) == [5000, 5040, 5080, 5081, 5120, 5160]
    assert rising(5000, 5040, 0, 40, 0 - 5000, 40 - 5000) == [5000, 5040, 5080, 5120, 5160, 5200]
    assert rising(0, 40, 3_600_000, 3_600_040) == [0, 40, 3_600_000, 3_600_040]  # a pause is one


def test_frames_without_a_time_and_of_the_same_one() -> None:
    assert rising(None, None, None) == [0, 40, 80] and rising(100, None, 180, None) == [100, 140, 180, 220]
    assert rising(0, 40, 40, 40, 80) == [0, 40, 41, 42, 80]


def still(count: int) -> list[Tensor]:
    return [frame_of([(3, 20 + 2 * (t % 5), 20)])[0] for t in range(count)]


def written(path: Path, frames: Sequence[Tensor], sound: bool = False, first: int = 0) -> Path:
    """H.264 with B-frames; with a tone, if wanted; the first frame at ``first`` twenty-fifths of a second."""
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("libx264", rate=25, options={"crf": "12", "bf": "3", "b_strategy": "0"})
        pictures.height, pictures.width = frames[0].shape[:2]
        pictures.pix_fmt = "yuv420p"
        for i, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame.numpy(), format="rgb24")
            picture.pts, picture.time_base = first + i, Fraction(1, 25)
            container.mux(pictures.encode(picture))
        container.mux(pictures.encode(None))
    if sound:
        write_clip(path.with_name("tone.mkv"), frames, sound=True)
        silent = path.rename(path.with_name(f"silent{path.suffix}"))
        with (
            av.open(str(silent)) as given,
            av.open(str(path.with_name("tone.mkv"))) as tone,
            av.open(str(path), "w") as out,
        ):
            streams = [out.add_stream_from_template(each) for each in (given.streams.video[0], tone.streams.audio[0])]
            for source, stream in zip((given.demux(video=0), tone.demux(audio=0)), streams, strict=True):
                for packet in source:
                    if packet.dts is not None:
                        packet.stream = stream
                        out.mux(packet)
    return path


def anonymized(source: Path, target: Path, **settings: object):
    ((_, report),) = run(jobs_of(str(source), str(target)), masking(Fixed(), **settings))
    return list(read_video(target)), report


@pytest.mark.parametrize("sound", [False, True])
def test_an_avi_with_frames_out_of_order(tmp_path: Path, sound: bool) -> None:
    source = written(tmp_path / "a.avi", still(20), sound)
    frames, report = anonymized(source, tmp_path / "b.mp4")
    assert len(frames) == 20 and report["frames"] == 20 and (report["sound"] is not None) == sound
    shown = times_of(tmp_path / "b.mp4")
    assert [b - a for a, b in itertools.pairwise(shown)] == [Fraction(1, 25)] * 19
    for changed, given in zip(frames, read_video(source), strict=True):  # no frame changed places
        apart = (changed[:, 160:].int() - given[:, 160:].int()).abs().float().mean()
        assert float(apart) < 3 and int(changed[72, 68].max()) < 40


def test_a_recording_of_two_pieces(tmp_path: Path) -> None:
    pieces = [written(tmp_path / f"{i}.ts", still(12), sound=True, first=first) for i, first in enumerate((500, 0))]
    (tmp_path / "a.ts").write_bytes(b"".join(piece.read_bytes() for piece in pieces))
    left = sorted(os.listdir(tmp_path))
    with pytest.raises(UserError, match=r"^The times of '.*a\.ts' jump back at [\d.]+ s, [^\n]+ audio=drop, [^\n]+\.$"):
        anonymized(tmp_path / "a.ts", tmp_path / "b.mp4")
    assert sorted(os.listdir(tmp_path)) == left
    for suffix in ("mp4", "mkv"):
        frames, report = anonymized(tmp_path / "a.ts", tmp_path / f"c.{suffix}", sound=False)
        shown = times_of(tmp_path / f"c.{suffix}")
        assert len(frames) == report["frames"] and report["frames"] >= 20
        assert all(Fraction(1, 30) < b - a < Fraction(1, 20) for a, b in itertools.pairwise(shown))
