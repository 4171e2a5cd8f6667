"""A video in, a video out: every face in every frame, times and sound as they were, and nothing of a broken file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

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
from anon.video.clips import bare
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


def test_a_face_missed_in_a_burst_of_short_frames_is_covered(tmp_path: Path) -> None:
    """Ten frames a second apart, then twenty in .4 s: three a second on the mean, and six missed are .12 s."""
    seen = [frame_of([(3, 10 + 2 * t, 20)]) for t in range(30)]
    known = Known()
    for t, (frame, found) in enumerate(seen):
        if t not in range(15, 21):
            known.learn(frame, found)
    times = [*range(0, 10_000, 1000), *range(9020, 9420, 20)]
    write_clip(tmp_path / "a.mp4", [frame for frame, _ in seen], times)
    frames, report = anonymized(tmp_path / "a.mp4", tmp_path / "b.mp4", masking(known))
    assert report["filled_in"] == 6 and len(report["tracks"]) == 1
    for frame, (_, found) in zip(frames, seen, strict=True):
        for x, y in found.points.reshape(-1, 2).round().long().tolist():
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


SECRET = b"\x0d\x00\x00\x00ARTIST=SECRET"


def _vorbis(path: Path, comments: bytes) -> Path:
    """A clip with sound in Vorbis, and in the header of that comments (Vorbis I, section 5.2.1)."""
    write_clip(path.with_name("pictures.mkv"), still(12))
    with av.open(str(path.with_name("sound.mkv")), "w") as container:
        tone: Any = container.add_stream("vorbis", rate=48000, options={"strict": "experimental"})
        tone.layout = "stereo"
        for i in range(22):
            wave = np.sin(np.arange(2048).reshape(2, 1024) / 9).astype(np.float32) / 2
            heard = av.AudioFrame.from_ndarray(wave, format="fltp", layout="stereo")
            heard.sample_rate, heard.pts = 48000, i * 1024
            container.mux(tone.encode(heard))
        container.mux(tone.encode(None))
    with (
        av.open(str(path.with_name("pictures.mkv"))) as pictures,
        av.open(str(path.with_name("sound.mkv"))) as sound,
        av.open(str(path), "w") as container,
    ):
        streams = [container.add_stream_from_template(each.streams[0]) for each in (pictures, sound)]
        header = sound.streams[0].codec_context.extradata
        setup = header[header.index(b"\x05vorbis") :]
        comment = b"\x03vorbis" + bytes(4) + comments + b"\x01"
        streams[1].codec_context.extradata = bytes([2, 30, len(comment)]) + header[3:33] + comment + setup
        for source, stream in zip((pictures, sound), streams, strict=True):
            for packet in source.demux():
                if packet.dts is not None:
                    packet.stream = stream
                    container.mux(packet)
    for name in ("pictures.mkv", "sound.mkv"):
        path.with_name(name).unlink()
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_tags_in_the_header_of_the_sound_stay_behind(tmp_path: Path, suffix: str) -> None:
    source = _vorbis(tmp_path / f"a{suffix}", b"\x01\x00\x00\x00" + SECRET)
    assert b"SECRET" in source.read_bytes()
    for target in ("b.mkv", "b.mp4", "b.webm"):
        _, report = anonymized(source, tmp_path / target)
        assert report["sound"] == "vorbis" and b"SECRET" not in (tmp_path / target).read_bytes()
        with av.open(str(tmp_path / target)) as container:
            heard = [frame.to_ndarray() for frame in container.decode(audio=0)]
        assert float(np.abs(np.concatenate(heard, 1)).max()) > 0.3


def test_a_header_of_sound_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    source = _vorbis(tmp_path / "a.mkv", b"\x01\x00\x00\x00" + SECRET)
    source.write_bytes(source.read_bytes().replace(b"\x03vorbis", b"\x03vorbiz"))
    with pytest.raises(UserError, match=r"^The sound of '.*a\.mkv' \(vorbis\) has a header [^\n]+ audio=drop\.$"):
        anonymized(source, tmp_path / "b.mkv")
    assert os.listdir(tmp_path) == ["a.mkv"]


def test_headers_of_sound_without_what_lies_beside_them() -> None:
    stream, opus = bytes(range(34)), b"OpusHead\x01\x02" + bytes(8)
    assert bare("flac", stream) == stream
    assert bare("flac", b"fLaC\x00\x00\x00\x22" + stream + b"\x84\x00\x00\x11" + SECRET) == stream
    assert bare("opus", opus + b"\x00") == opus + b"\x00" == bare("opus", opus + b"\x00" + SECRET)
    assert bare("opus", opus + b"\x01\x01\x01\x00\x01" + SECRET) == opus + b"\x01\x01\x01\x00\x01"
    parts = b"\x01vorbis" + bytes(23), b"\x03vorbis" + bytes(8) + b"\x01", b"\x05vorbis" + bytes(300)
    lengths = b"".join(len(part).to_bytes(2, "big") + part for part in parts)
    assert bare("vorbis", lengths) == b"\x02\x1e\x10" + b"".join(parts)
    assert bare("aac", b"\x11\x90") == b"\x11\x90"
    for codec, wrong in (("flac", SECRET), ("opus", SECRET), ("opus", opus), ("vorbis", SECRET), ("vorbis", b"\x02")):
        with pytest.raises(ValueError, match="header"):
            bare(codec, wrong)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_sound_that_an_edit_list_cuts_away_stays_away(tmp_path: Path, suffix: str) -> None:
    write_clip(tmp_path / "whole.mp4", still(12), sound=True)
    _shifted(tmp_path / "whole.mp4", tmp_path / "a.mp4", {"audio": Fraction(1, 4)})
    with av.open(str(tmp_path / "a.mp4")) as container:
        packets = [packet for packet in container.demux(audio=0) if packet.size]
    played = [bytes(packet) for packet in packets if not packet.is_discard]
    assert len(packets) - len(played) > 3
    anonymized(tmp_path / "a.mp4", tmp_path / f"b{suffix}")
    before = [bytes(packet) for packet in packets if packet.is_discard][-1:] if suffix == ".mp4" else []
    assert _sound(tmp_path / f"b{suffix}") == before + played  # a decoder begins with the one before
    with av.open(str(tmp_path / f"b{suffix}")) as container:
        heard = [packet for packet in container.demux(audio=0) if packet.size and not packet.is_discard]
    assert len(heard) == len(played)  # and no player plays that


def _shifted(source: Path, target: Path, by: dict[str, Fraction]) -> None:
    """A copy of a clip whose edit list cuts away the first seconds of some streams."""
    with av.open(str(source)) as given, av.open(str(target), "w") as container:
        streams = {each.index: container.add_stream_from_template(each) for each in given.streams}
        for packet in given.demux():
            if packet.dts is not None and packet.pts is not None:
                shift = round(by.get(packet.stream.type, Fraction(0)) / packet.time_base)
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = streams[packet.stream.index]
                container.mux(packet)


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


@pytest.mark.parametrize("suffix", [".mkv", ".webm"])
def test_a_cut_video_with_sound_is_refused(tmp_path: Path, suffix: str) -> None:
    if suffix == ".mkv":
        write_clip(tmp_path / "whole.mkv", [frame_of([(t % 9, 20, 20)])[0] for t in range(12)], sound=True)
    else:
        anonymized(_vorbis(tmp_path / "a.mkv", bytes(4)), tmp_path / "whole.webm")
    content = (tmp_path / f"whole{suffix}").read_bytes()
    (tmp_path / f"cut{suffix}").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=r"it is truncated\.$"):
        anonymized(tmp_path / f"cut{suffix}", tmp_path / f"b{suffix}")
    assert anonymized(tmp_path / f"whole{suffix}", tmp_path / f"c{suffix}")[1]["frames"] == 12


def test_whole_videos_of_odd_lengths_are_none_that_are_cut(tmp_path: Path) -> None:
    write_clip(tmp_path / "longer.mkv", still(12), [10 * t for t in range(12)], sound=True)  # the sound lasts .4 s
    assert anonymized(tmp_path / "longer.mkv", tmp_path / "b.mkv")[1]["frames"] == 12
    write_clip(tmp_path / "late.mkv", still(4), [1000, 1040, 1080, 1120])
    assert anonymized(tmp_path / "late.mkv", tmp_path / "c.mkv")[1]["frames"] == 4
    write_clip(tmp_path / "whole.mp4", still(12))
    _shifted(tmp_path / "whole.mp4", tmp_path / "hidden.mp4", {"video": Fraction(6, 25)})
    assert anonymized(tmp_path / "hidden.mp4", tmp_path / "d.mp4")[1]["frames"] == 6
    write_clip(tmp_path / "a.avi", still(12), codec="mpeg4")
    content = bytearray((tmp_path / "a.avi").read_bytes())
    at = content.index(b"strh") + 8 + 32  # dwLength
    assert content[at : at + 4] == b"\x0c\x00\x00\x00"
    content[at] = 13
    (tmp_path / "a.avi").write_bytes(content)
    assert anonymized(tmp_path / "a.avi", tmp_path / "e.mp4")[1]["frames"] == 12
    write_clip(tmp_path / "f.avi", still(25), sound=True, codec="mpeg4")
    with av.open(str(tmp_path / "f.avi")) as container:
        assert container.streams.video[0].frames == 27  # two are empty, while the sound begins
    assert anonymized(tmp_path / "f.avi", tmp_path / "g.mp4")[1]["frames"] == 25


class Replaces(Fixed):
    """Puts another clip in the place of the one that is read, after its last frame."""

    def __init__(self, source: Path, frames: int) -> None:
        super().__init__()
        self.source, self.left = source, frames

    def detect_batch(self, frames: Sequence[Tensor]) -> list[Detections]:
        self.left -= len(frames)
        if not self.left:
            os.replace(self.source.with_name("other.mp4"), self.source)
        return super().detect_batch(frames)


def test_a_video_that_is_replaced_while_it_is_read(tmp_path: Path) -> None:
    for name in ("a.mp4", "other.mp4"):
        write_clip(tmp_path / name, still(12))
    with pytest.raises(UserError, match="has changed while it was read"):
        anonymized(tmp_path / "a.mp4", tmp_path / "b.mp4", masking(Replaces(tmp_path / "a.mp4", 12)))
    write_clip(tmp_path / "other.mp4", still(12))

    def replacing(images: Tensor) -> Tensor:
        if (tmp_path / "other.mp4").exists():
            os.replace(tmp_path / "other.mp4", tmp_path / "a.mp4")
        return torch.ones_like(images)

    with pytest.raises(UserError, match="has changed while it was read"):
        anonymized(tmp_path / "a.mp4", tmp_path / "b.mp4", masking(Fixed(), Plugged(replacing)))
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
