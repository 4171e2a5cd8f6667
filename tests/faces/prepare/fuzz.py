"""Hostile inputs from a seed, each with what has to become of it."""

from __future__ import annotations

import io
import os
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from PIL import Image

_FORMATS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "BMP": "bmp", "TIFF": "tiff"}
_NAMES = (
    "a b",
    "nëw",
    "日本",
    "new\nline",
    "quo'te\"",
    "per%cent",
    "-dash",
    "emoji😀",
    "x" * 120,
    "a.b.c",
    "$HOME",
    "tab\t",
)


def write(root: Path, count: int, seed: int, picture: Image.Image) -> dict[str, bool | None]:
    """Write ``count`` inputs of one person below ``root``.

    Returns:
        Name below the root -> whether it shows the picture: it must, it must not, or (None) it may.
    """
    rng = random.Random(seed)
    kinds: list[Callable[[Path, str, random.Random, Image.Image], tuple[str, bool | None]]] = [
        *(_sound, _truncated, _truncated, _flipped, _empty, _huge, _bomb, _animated, _alpha, _wrong_suffix),
        *(_text, _folder, _link, _broken_link, _pipe, _named, _video, _truncated_video, _truncated_gif, _sound_only),
    ]
    folder = root / "person"
    folder.mkdir(parents=True)
    expected = {}
    for i in range(count):
        name, usable = kinds[i % len(kinds)](folder, f"{i:05d}", rng, picture)
        expected[f"person/{name}"] = usable
    return expected


def _encoded(picture: Image.Image, kind: str, rng: random.Random) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **({"quality": rng.randint(60, 95)} if kind in ("JPEG", "WEBP") else {}))
    return buffer.getvalue()


def _put(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return path.name


def _sound(folder: Path, stem: str, rng: random.Random, picture: Image.Image) -> tuple[str, bool | None]:
    kind = rng.choice(["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
    return _put(folder / f"{stem}.{_FORMATS[kind]}", _encoded(picture, kind, rng)), True


def _truncated(folder: Path, stem: str, rng: random.Random, picture: Image.Image) -> tuple[str, bool | None]:
    kind = rng.choice(["JPEG", "PNG", "WEBP"])
    content = _encoded(picture, kind, rng)
    return _put(folder / f"{stem}.{_FORMATS[kind]}", content[: int(len(content) * rng.uniform(0.01, 0.9))]), False


def _flipped(folder: Path, stem: str, rng: random.Random, picture: Image.Image) -> tuple[str, bool | None]:
    content = bytearray(_encoded(picture, rng.choice(["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"]), rng))
    for _ in range(rng.randint(1, 20)):
        content[rng.randrange(len(content))] = rng.randrange(256)
    return _put(folder / f"{stem}.jpg", bytes(content)), None


def _empty(folder: Path, stem: str, rng: random.Random, picture: Image.Image) -> tuple[str, bool | None]:
    return _put(
        folder / f"{stem}.{rng.choice(['jpg', 'png', 'mp4', 'gif'])}", b"\0" * rng.choice([0, 0, 1, 4096])
    ), False


def _huge(folder: Path, stem: str, rng: random.Random, picture: Image.Image) -> tuple[str, bool | None]:
    """A PNG whose header states up to 4 billion pixels a side."""
    side = rng.choice([20_000, 100_000, 2**31 - 1])
    return _put(folder / f"{stem}.png", _png(side, side, b"")), False


def _bomb(folder: Path, stem: str, rng: random.Random, picture: Image.Image) -> tuple[str, bool | None]:
    """A PNG of few bytes and 64 megapixels."""
    return _put(folder / f"{stem}.png", _png(8000, 8000, zlib.compress(bytes(1_000_000), 9))), False


def _png(width: int, height: int, data: bytes) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def _animated(folder: Path, stem: str, rng: random.Random, picture: Image.Image) -> tuple[str, bool | None]:
    """The picture is the first frame; named as a photograph."""
    kind = rng.choice(["PNG", "WEBP", "GIF"])
    black = [Image.new("RGB", picture.size) for _ in range(rng.randint(1, 4))]
    picture.save(folder / f"{stem}.{_FORMATS[kind]}.jpg", kind, save_all=True, append_images=black)
    return f"{stem}.{_FORMATS[kind]}.jpg", True


def _alpha(folder: Path, stem: str, rng: random.Random, picture: Image.Image) -> tuple[str, bool | None]:
    """See-through all over is black, and shows nobody."""
    clear = rng.random() < 0.5
    image = picture.convert("RGBA")
    image.putalpha(0 if clear else 255)
    image.save(folder / f"{stem}.png")
    return f"{stem}.png", None if clear else True


def _wrong_suffix(folder: Path, stem: str, rng: random.Random, picture: Image.Image) -> tuple[str, bool | None]:
    if rng.random() < 0.5:  # a photograph is one whatever its name
        return _put(folder / f"{stem}.{rng.choice(['txt', 'png', 'dat'])}", _encoded(picture, "JPEG", rng)), True
    return _put(folder / f"{stem}.{rng.choice(['mp4', 'avi', 'mkv'])}", _encoded(picture, "JPEG", rng)), False


def _text(folder: Path, stem: str, rng: random.Random, picture: Image.Image) -> tuple[str, bool | None]:
    texts = [
        "#EXTM3U\n#EXTINF:1,\n/etc/passwd\n",
        "<svg/>",
        "hello",
        "ffconcat version 1.0\nfile /etc/passwd\n",
        "P6\n9999999 1\n255\n",
    ]
    return _put(folder / f"{stem}.{rng.choice(['jpg', 'mp4', 'gif', 'txt'])}", rng.choice(texts).encode()), False


def _folder(folder: Path, stem: str, rng: random.Random, picture: Image.Image) -> tuple[str, bool | None]:
    """What lies in a folder counts, the folder does not."""
    (folder / f"{stem}.jpg").mkdir()
    if rng.random() < 0.5:
        (folder / f"{stem}.jpg" / "notes.txt").write_text("no picture")
        return f"{stem}.jpg/notes.txt", False
    return f"{stem}.jpg/{_put(folder / f'{stem}.jpg' / '0.png', _encoded(picture, 'PNG', rng))}", True


def _link(folder: Path, stem: str, rng: random.Random, picture: Image.Image) -> tuple[str, bool | None]:
    (folder.parent.parent / f"{stem}.target").write_bytes(_encoded(picture, "PNG", rng))
    (folder / f"{stem}.jpg").symlink_to(folder.parent.parent / f"{stem}.target")
    return f"{stem}.jpg", True


def _broken_link(folder: Path, stem: str, rng: random.Random, picture: Image.Image) -> tuple[str, bool | None]:
    (folder / f"{stem}.jpg").symlink_to(rng.choice([f"{stem}.jpg", "/nowhere", "/dev/zero", "/dev/stdin"]))
    return f"{stem}.jpg", False


def _pipe(folder: Path, stem: str, rng: random.Random, picture: Image.Image) -> tuple[str, bool | None]:
    name = f"{stem}.{rng.choice(['jpg', 'mp4'])}"
    os.mkfifo(folder / name)
    return name, False


def _named(folder: Path, stem: str, rng: random.Random, picture: Image.Image) -> tuple[str, bool | None]:
    return _put(folder / f"{stem}{rng.choice(_NAMES)}.png", _encoded(picture, "PNG", rng)), True


def _mp4(path: Path, picture: Image.Image, frames: int) -> bytes:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = picture.width // 2 * 2, picture.height // 2 * 2, "yuv420p"
        stream.bit_rate = 4_000_000
        for _ in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(picture), format="rgb24")))
        container.mux(stream.encode(None))
    return path.read_bytes()


def _video(folder: Path, stem: str, rng: random.Random, picture: Image.Image) -> tuple[str, bool | None]:
    _mp4(folder / f"{stem}.{rng.choice(['mp4', 'mov', 'mkv', 'avi'])}", picture, 3)
    return next(path.name for path in folder.glob(f"{stem}.*")), True


def _truncated_video(folder: Path, stem: str, rng: random.Random, picture: Image.Image) -> tuple[str, bool | None]:
    """The index of an MP4 is at its end: cut off, nothing can be read."""
    content = _mp4(folder / f"{stem}.mp4", picture, 5)
    return _put(folder / f"{stem}.mp4", content[: int(len(content) * rng.uniform(0.01, 0.7))]), False


def _truncated_gif(folder: Path, stem: str, rng: random.Random, picture: Image.Image) -> tuple[str, bool | None]:
    """Cut within its first frame."""
    content = _encoded(picture, "GIF", rng)
    return _put(folder / f"{stem}.gif", content[: int(len(content) * rng.uniform(0.01, 0.95))]), False


def _sound_only(folder: Path, stem: str, rng: random.Random, picture: Image.Image) -> tuple[str, bool | None]:
    with av.open(str(folder / f"{stem}.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    return f"{stem}.mkv", False
