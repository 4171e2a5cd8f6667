"""What a file says of its picture's geometry is honoured whole, whichever container says it.

The kind: geometry that stands beside the pixels was ignored or half read. A face squeezed by 4:3 pixels had a cosine of
.835 to itself, and a display matrix that mirrors was taken for a half turn. Other instances: mirrored matrices with
quarter turns, both together, cropping that the container alone states, sizes that a header stretches beyond every
bound. Photographs had all eight of their orientations, in every format; four corners now tell them apart where the
sides of a half did not.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from anon.faces.alignment import align
from anon.faces.contract import to_float
from anon.faces.detection.yunet import YuNet
from anon.faces.images import read_image
from anon.faces.video import VideoError, read_video
from anon.identity.encoder import Encoder
from anon.identity.networks.edgeface import EdgeFace

Setting = Callable[[av.VideoStream], None]


def corners(width: int, height: int) -> np.ndarray:
    """Greys of 40, 100, 160 and 220 in the quarters, row by row."""
    levels = np.array([[40, 100], [160, 220]], np.uint8)
    rows, columns = np.arange(height) * 2 // height, np.arange(width) * 2 // width
    return np.repeat(levels[rows[:, None], columns[None]][..., None], 3, 2)


def disc(width: int, height: int) -> np.ndarray:
    """A bright ellipse that fills three quarters of both sides: a disc where the sides are shown alike."""
    y, x = np.mgrid[:height, :width]
    inside = np.hypot((x + 0.5) / width - 0.5, (y + 0.5) / height - 0.5) < 0.375
    return np.repeat(np.where(inside, 200, 30).astype(np.uint8)[..., None], 3, 2)


def written(
    path: Path,
    pictures: list[np.ndarray],
    aspect: Fraction | None = None,
    codec: str = "mpeg4",
    pixels: str = "yuv420p",
    setting: Setting | None = None,
) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        height, width, _ = pictures[0].shape
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = width, height, pixels, 8_000_000
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if setting is not None:
            setting(stream)
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def error(frame: Tensor, wanted: np.ndarray) -> float:
    """Mean absolute difference in grey levels."""
    assert tuple(frame.shape) == wanted.shape
    return float((frame.float() - torch.from_numpy(wanted.copy()).float()).abs().mean())


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "avi"])
@pytest.mark.parametrize(("width", "height", "aspect"), [(96, 128, "4/3"), (160, 96, "3/5"), (126, 128, "64/63")])
def test_pixels_are_shown_square(tmp_path: Path, suffix: str, width: int, height: int, aspect: str) -> None:
    """By hand: 96 pixels that are 4/3 as wide as high show 128; 96 rows of pixels 3/5 as wide as high show 160."""
    path = written(tmp_path / f"clip.{suffix}", [disc(width, height)] * 3, Fraction(aspect))
    side = max(width, height)
    for frame in read_video(path):
        assert error(frame, disc(side, side)) < 4.0  # a disc of 96 x 128 in 128 x 128 is 17 away


def test_a_gif_says_its_aspect_in_one_byte(tmp_path: Path) -> None:
    """The specification of GIF89a: pixel aspect ratio = (byte + 15) / 64, width over height; 0: not said."""
    images = [Image.fromarray(disc(64, 64)) for _ in range(2)]
    images[1].putpixel((0, 0), (250, 0, 0))
    images[0].save(tmp_path / "clip.gif", save_all=True, append_images=images[1:], loop=0)
    content = bytearray((tmp_path / "clip.gif").read_bytes())
    assert content[12] == 0 and next(read_video(tmp_path / "clip.gif")).shape == (64, 64, 3)
    content[12] = 81  # 96 / 64
    (tmp_path / "clip.gif").write_bytes(content)
    assert next(read_video(tmp_path / "clip.gif")).shape == (64, 96, 3)


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize("quarters", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
def test_all_eight_positions_of_a_display_matrix(tmp_path: Path, suffix: str, quarters: int, mirrored: bool) -> None:
    """PyAV's words: degrees counterclockwise, mirrored after it."""

    def turn(stream: av.VideoStream) -> None:
        stream.set_display_rotation(90 * quarters, hflip=mirrored)

    stored = corners(96, 64)
    path = written(tmp_path / f"clip.{suffix}", [stored] * 3, setting=turn)
    wanted = np.rot90(stored, quarters)
    for frame in read_video(path):
        assert error(frame, wanted[:, ::-1] if mirrored else wanted) < 3.0


def test_upside_down_by_a_mirror(tmp_path: Path) -> None:
    path = written(tmp_path / "a.mp4", [corners(96, 64)] * 2, setting=lambda s: s.set_display_rotation(0, vflip=True))
    assert error(next(read_video(path)), corners(96, 64)[::-1]) < 3.0


def test_a_squeezed_picture_on_its_side(tmp_path: Path) -> None:
    """The aspect is that of the stored pixels: 96 x 128 of 4:3 pixels is a square, however it is turned."""
    path = written(
        tmp_path / "clip.mp4", [corners(96, 128)] * 2, Fraction(4, 3), setting=lambda s: s.set_display_rotation(90)
    )
    assert error(next(read_video(path)), np.rot90(corners(128, 128))) < 3.0


def test_a_matrix_that_says_nothing_turns_nothing(tmp_path: Path) -> None:
    """Of zeros, and of a slight turn, as stabilizers write it."""
    slight = [64000, 14000, 0, -14000, 64000, 0, 0, 0, 1 << 30]
    for number, matrix in enumerate(([0] * 8 + [1 << 30], slight)):
        path = written(
            tmp_path / f"{number}.mkv", [corners(96, 64)] * 2, setting=lambda s, m=matrix: s.set_display_matrix(m)
        )
        assert error(next(read_video(path)), corners(96, 64)) < 3.0


@pytest.mark.parametrize("aspect", ["50/1", "1/50"])
def test_an_aspect_that_stretches_beyond_all_bounds(tmp_path: Path, aspect: str) -> None:
    """96 x 64 become 4800 x 64 or 96 x 3200; what would leave no pixel at all FFmpeg does not believe."""
    path = written(tmp_path / "clip.mkv", [corners(96, 64)] * 2, Fraction(aspect), codec="libx264")
    with pytest.raises(VideoError, match=r"over 0\.1 megapixels"):
        next(read_video(path, max_pixels=100_000))


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv444p"])
def test_odd_sizes(tmp_path: Path, pixels: str) -> None:
    path = written(tmp_path / "clip.mkv", [corners(75, 53)] * 2, codec="ffv1", pixels=pixels)
    assert error(next(read_video(path)), corners(75, 53)) < 4.0


def test_cropping_of_the_codec(tmp_path: Path) -> None:
    """H.264 codes blocks of 16: 90 x 70 is 96 x 80 with what is over cut off."""
    path = written(tmp_path / "clip.mp4", [corners(90, 70)] * 2, codec="libx264")
    assert error(next(read_video(path)), corners(90, 70)) < 4.0


def cropped(path: Path, picture: np.ndarray, width: int, height: int, x: int, y: int, aspect: str = "1") -> Path:
    """An MP4 with a ``clap`` box: that size, about a centre moved by x, y (ISO 14496-12, 12.1.4); or remuxed to MKV."""
    made = written(path.with_suffix(".mp4"), [picture] * 2, Fraction(aspect))
    content = bytearray(made.read_bytes())
    box = struct.pack(">I4s8i", 40, b"clap", width, 1, height, 1, x, 1, y, 1)
    assert content.index(b"mdat") < content.index(b"moov")  # no offset changes
    end = 0
    for name in (b"mp4v", b"stsd", b"stbl", b"minf", b"mdia", b"trak", b"moov"):
        place = content.index(name) - 4
        (size,) = struct.unpack(">I", content[place : place + 4])
        content[place : place + 4] = struct.pack(">I", size + len(box))
        end = place + size if name == b"mp4v" else end
    content[end:end] = box
    made.write_bytes(content)
    if path != made:
        with av.open(str(made)) as source, av.open(str(path), "w") as target:
            stream = target.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(source.streams.video[0]):
                if packet.dts is not None:
                    packet.stream = stream
                    target.mux(packet)
    return path


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("aspect", ["1", "4/3"])
def test_cropping_of_the_container(tmp_path: Path, suffix: str, aspect: str) -> None:
    """By hand: 48 x 40 of 96 x 64, its centre at (48 - 14, 32 + 3): columns 10 to 58 and rows 15 to 55."""
    stored = corners(96, 64)
    path = cropped(tmp_path / f"clip.{suffix}", stored, 48, 40, -14, 3, aspect)
    wanted = stored[15:55, 10:58]
    if aspect != "1":
        wanted = np.array(Image.fromarray(wanted).resize((64, 40), Image.Resampling.BICUBIC))
    for frame in read_video(path):
        assert error(frame, wanted) < 3.0


def test_a_crop_that_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="smaller than 16 px"):
        next(read_video(cropped(tmp_path / "clip.mp4", corners(96, 64), 8, 8, 0, 0)))


def test_interlaced_frames_keep_their_lines(tmp_path: Path) -> None:
    def interlaced(stream: av.VideoStream) -> None:
        stream.codec_context.options = {"flags": "+ilme+ildct"}

    path = written(tmp_path / "clip.avi", [corners(96, 64)] * 3, Fraction(4, 3), setting=interlaced)
    assert error(next(read_video(path)), corners(128, 64)) < 4.0


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff", "avif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_eight_orientations_of_a_photograph(tmp_path: Path, suffix: str, orientation: int) -> None:
    """EXIF 2.3, tag 274: where the stored first row and first column are seen, by the corner that they share."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"face.{suffix}"
    Image.fromarray(corners(96, 64)).save(path, exif=exif, **({} if suffix == "tiff" else {"quality": 95}))
    seen = read_image(path)
    assert seen.shape == ((64, 96, 3) if orientation < 5 else (96, 64, 3))
    quarters = [int(seen[y, x].float().mean()) for y in (12, -12) for x in (12, -12)]
    # 40: first row and first column; 100: first row, last column; 160: last row, first column. Top left, top right, ...
    wanted = {
        1: [40, 100, 160, 220],
        2: [100, 40, 220, 160],
        3: [220, 160, 100, 40],
        4: [160, 220, 40, 100],
        5: [40, 160, 100, 220],
        6: [160, 40, 220, 100],
        7: [220, 100, 160, 40],
        8: [100, 220, 40, 160],
    }
    assert max(abs(a - b) for a, b in zip(quarters, wanted[orientation], strict=True)) < 6


def test_frames_of_a_folder_are_upright_too(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(corners(96, 64)).save(tmp_path / "1.png", exif=exif)
    assert error(next(read_video(tmp_path)), np.rot90(corners(96, 64), -1)) == 0.0


def test_a_squeezed_clip_shows_the_same_face(tmp_path: Path, real: Path) -> None:
    """A clip of which three quarters of the columns, on their side, are stored, and say so, by EdgeFace."""
    clip = real / "clips" / "liveportrait" / "driving_d18.mp4"
    pictures = [frame.numpy() for frame in read_video(clip, every=60)]
    squeezed = [np.asarray(Image.fromarray(p).resize((360, 480), Image.Resampling.LANCZOS)) for p in pictures]
    lying = [np.ascontiguousarray(np.rot90(p[:, ::-1], -1)) for p in squeezed]  # mirrored, then clockwise
    copies = {
        "squeezed": written(tmp_path / "a.mp4", squeezed, Fraction(4, 3)),
        "lying": written(
            tmp_path / "b.mov", lying, Fraction(3, 4), setting=lambda s: s.set_display_rotation(90, hflip=True)
        ),
    }
    wanted = _embedded(real, pictures)
    for name, path in copies.items():
        shown = [frame.numpy() for frame in read_video(path)]
        cosine = (_embedded(real, shown) * wanted).sum(1)
        assert len(cosine) == len(pictures) and float(cosine.min()) > 0.98, (name, cosine)


def _embedded(real: Path, pictures: list[np.ndarray]) -> Tensor:
    """The largest face of every picture by EdgeFace, found by YuNet."""
    detector = YuNet(real / "models" / "yunet" / "yunet_n_dynamic.onnx")
    weights = real / "models" / "edgeface_xs" / "derived_edgeface_xs_float32_state_dict.pt"
    encoder = Encoder(EdgeFace(), 112, weights=str(weights))
    faces = []
    for picture in pictures:
        frame = torch.from_numpy(picture)
        faces.append(align(to_float(frame)[None].contiguous(), detector.detect(frame).points[:1], 112))
    return F.normalize(encoder(torch.cat(faces)).z)
