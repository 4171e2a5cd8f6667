"""Videos: frames by number, upright, and every way in which a file can be no video."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from anon.faces.video import VideoError, is_still, is_video, read_video


def clip(path: Path, frames: int = 12, size: tuple[int, int] = (64, 48), codec: str = "mpeg4") -> Path:
    """Frame i is grey of value 20 i (modulo 12), its left half black."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for i in range(frames):
            pixels = np.full((size[1], size[0], 3), 20 * (i % 12), np.uint8)
            pixels[:, : size[0] // 2] = 0
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def read(path: Path, **options: int) -> tuple[list[torch.Tensor], str | None]:
    """The frames, and what ended them."""
    frames = []
    try:
        for frame in read_video(path, **options):
            frames.append(frame)
    except VideoError as error:
        return frames, str(error)
    return frames, None


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [
        *(("mp4", "mpeg4"), ("mov", "mpeg4"), ("mkv", "mpeg4"), ("avi", "mpeg4"), ("3gp", "mpeg4"), ("3g2", "mpeg4")),
        *(("ts", "mpeg2video"), ("mts", "mpeg4"), ("mpg", "mpeg1video"), ("mpeg", "mpeg2video"), ("vob", "mpeg2video")),
        *(("wmv", "wmv2"), ("asf", "mpeg4"), ("flv", "flv"), ("webm", "libvpx"), ("ogv", "libtheora")),
    ],
)
def test_frames_in_order(tmp_path: Path, suffix: str, codec: str) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"this FFmpeg does not write {codec}")
    assert is_video(f"clip.{suffix}")
    frames, ended = read(clip(tmp_path / f"clip.{suffix}", codec=codec))
    assert ended is None and len(frames) == 12 and frames[0].dtype == torch.uint8
    for i, frame in enumerate(frames):
        assert frame.shape == (48, 64, 3)
        assert abs(float(frame[:, 40:].float().mean()) - 20 * i) < 5 and float(frame[:, :24].float().mean()) < 5


def test_every_and_most(tmp_path: Path) -> None:
    path = clip(tmp_path / "clip.mp4")
    frames, ended = read(path, every=5)
    assert ended is None and [round(float(f[:, 40:].float().mean()) / 20) for f in frames] == [0, 5, 10]
    assert read(path, max_frames=12)[1] is None
    frames, ended = read(path, max_frames=4)
    assert len(frames) == 4 and ended == "over 4 frames"
    with pytest.raises(ValueError, match="at least 1"):
        next(read_video(path, every=0))


def test_rotation_of_the_header_is_applied(tmp_path: Path) -> None:
    """A telephone held upright writes the matrix (0, 1, -1, 0): shown after a quarter turn clockwise."""
    path = clip(tmp_path / "clip.mp4")
    content = bytearray(path.read_bytes())
    place = content.index(b"tkhd") + 4 + 40  # version and flags, times, ids, layer, volume; then nine numbers
    assert struct.unpack(">2i", content[place : place + 8]) == (0x10000, 0)
    content[place : place + 20] = struct.pack(">5i", 0, 0x10000, 0, -0x10000, 0)
    path.write_bytes(content)
    frames, ended = read(path)
    assert ended is None and frames[10].shape == (64, 48, 3)
    assert float(frames[10][:24].float().mean()) < 5 < 150 < float(frames[10][40:].float().mean())  # left is now up


def test_gif_with_transparency_is_composited_on_black(tmp_path: Path) -> None:
    images = [Image.new("RGBA", (32, 24), (200, 200, 200, 255)) for _ in range(3)]
    for image in images:
        image.paste((0, 0, 0, 0), (0, 0, 16, 24))
    images[0].save(tmp_path / "clip.gif", save_all=True, append_images=images[1:], disposal=2, loop=0)
    frames, ended = read(tmp_path / "clip.gif")
    assert ended is None and frames
    assert frames[0][0, 0].tolist() == [0, 0, 0] and abs(int(frames[0][0, 31, 0]) - 200) < 3


def test_folder_of_frames(tmp_path: Path) -> None:
    for i in (10, 2, 1):
        Image.new("RGB", (32, 24), (i, i, i)).save(tmp_path / f"frame{i}.png")
    frames, ended = read(tmp_path)
    assert ended is None and [int(frame[0, 0, 0]) for frame in frames] == [1, 2, 10]
    (tmp_path / "frame3.png").write_bytes(b"no picture")
    frames, ended = read(tmp_path)
    assert len(frames) == 2 and ended == "truncated"
    assert [int(frame[0, 0, 0]) for frame in read(tmp_path, every=3)[0]] == [1, 10]


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_truncated_gives_the_frames_before(tmp_path: Path, share: float) -> None:
    path = clip(tmp_path / "clip.mkv", frames=100, size=(320, 240))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    frames, ended = read(path)
    assert 1 < len(frames) < 100 and (ended == "truncated" or len(frames) > 98 * share)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_gif_without_delays_has_all_its_pictures(tmp_path: Path, count: int) -> None:
    """FFmpeg shows the first alone where no picture has a control extension, and the file was called truncated."""
    rng = np.random.default_rng(0)
    images = [Image.fromarray((rng.integers(0, 60, (120, 120, 3)) + 60 * i).astype(np.uint8)) for i in range(count)]
    images[0].save(tmp_path / "clip.gif", save_all=True, append_images=images[1:], duration=0)
    content = (tmp_path / "clip.gif").read_bytes()
    assert b"\x21\xf9\x04" not in content
    frames, ended = read(tmp_path / "clip.gif")
    assert ended is None and [round((float(frame.float().mean()) - 30) / 60) for frame in frames] == list(range(count))
    assert is_still(tmp_path / "clip.gif") == (count == 1)
    (tmp_path / "clip.gif").write_bytes(content[: len(content) * (2 * count - 1) // (2 * count)])
    assert read(tmp_path / "clip.gif")[1] in ("truncated", "damaged")
    assert not is_still(tmp_path / "clip.gif")


def test_truncated_gif(tmp_path: Path, real: Path) -> None:
    whole = (real / "clips" / "intel" / "head-pose-face-detection-female.gif").read_bytes()
    (tmp_path / "clip.gif").write_bytes(whole[: len(whole) // 2])
    frames, ended = read(tmp_path / "clip.gif", every=1)
    assert 5 < len(frames) < 20 and ended == "truncated"


def test_real_clips_are_read_to_their_end(real: Path) -> None:
    frames, ended = read(real / "clips" / "liveportrait" / "driving_d18.mp4", every=50)
    assert ended is None and len(frames) == 5 and frames[0].shape == (480, 480, 3)  # 216 frames


def test_reasons(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    assert read(path)[1] == "unreadable"
    path.write_bytes(b"")
    assert read(path)[1] == "empty"
    path.write_bytes(b"ftyp" * 1000)
    assert read(path)[1] == "not a video"
    Image.new("RGB", (64, 64)).save(path, format="PNG")
    assert read(path)[1] == "not a video"  # FFmpeg would read it
    path.write_text("#EXTM3U\n#EXTINF:1,\n/etc/passwd\n")
    assert read(path)[1] == "not a video"  # no playlists
    os.mkfifo(tmp_path / "pipe.mp4")
    assert read(tmp_path / "pipe.mp4")[1] == "not a regular file"
    (tmp_path / "folder.mp4").mkdir()
    assert read(tmp_path / "folder.mp4")[1] == "without frames"
    assert read(clip(tmp_path / "large.mp4", frames=2), max_pixels=3000)[1] == "over 0.003 megapixels"
    assert read(clip(tmp_path / "tiny.mp4", frames=2, size=(8, 8)))[1] == "smaller than 16 px"


def test_sound_only(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "clip.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    assert read(tmp_path / "clip.mkv")[1] == "without pictures"


def test_huge_size_in_the_header_is_refused_before_decoding(tmp_path: Path) -> None:
    path = clip(tmp_path / "clip.mp4")
    content = bytearray(path.read_bytes())
    place = content.index(b"mp4v") + 4 + 24  # of the sample description: reserved, references, then width and height
    assert struct.unpack(">2H", content[place : place + 4]) == (64, 48)
    content[place : place + 4] = struct.pack(">2H", 65000, 65000)
    path.write_bytes(content)
    frames, ended = read(path)
    assert len(frames) in (0, 12) and (ended is None or "megapixels" in ended)  # FFmpeg trusts the stream's own size


def test_names() -> None:
    assert is_video("a/b.MP4") and is_video("b.gif") and not is_video("mp4") and not is_video("a.jpg")
