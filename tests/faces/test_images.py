"""Every kind of file that turns up among photographs; expected pixels worked out by hand."""

from __future__ import annotations

import os
import random
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from anon.faces.images import ImageError, is_photograph, read_image, read_layers

RED, BLUE = (200, 20, 30), (10, 40, 220)


def left_red(size: tuple[int, int] = (32, 24)) -> Image.Image:
    """The left half red, the right half blue."""
    image = Image.new("RGB", size, BLUE)
    image.paste(RED, (0, 0, size[0] // 2, size[1]))
    return image


def reason(path: Path) -> str:
    with pytest.raises(ImageError) as caught:
        read_image(path)
    return str(caught.value)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "webp", "ppm"])
def test_lossless_formats_keep_every_pixel(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"face.{suffix}"
    left_red().save(path, **({"lossless": True} if suffix == "webp" else {}))
    image = read_image(path)
    assert image.dtype == torch.uint8 and image.shape == (24, 32, 3)
    assert image[5, 3].tolist() == list(RED) and image[5, 30].tolist() == list(BLUE)


def test_suffix_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "face.txt"
    left_red().save(path, format="PNG")
    assert read_image(path)[0, 0].tolist() == list(RED)


@pytest.mark.parametrize(
    ("mode", "colour", "rgb"),
    [
        ("L", 77, (77, 77, 77)),
        ("1", 1, (255, 255, 255)),
        ("LA", (200, 255), (200, 200, 200)),
        ("LA", (200, 0), (0, 0, 0)),  # on black
        ("RGBA", (200, 100, 50, 255), (200, 100, 50)),
        ("RGBA", (200, 100, 50, 51), (40, 20, 10)),  # 51/255 = 1/5, on black
        ("I;16", 65535, (255, 255, 255)),
        ("I;16", 257 * 100, (100, 100, 100)),  # scaled, not clipped
        ("I;16", 255, (1, 1, 1)),  # 255/257 = 0.99
    ],
)
def test_modes_of_png(tmp_path: Path, mode: str, colour: int | tuple[int, ...], rgb: tuple[int, ...]) -> None:
    path = tmp_path / "face.png"
    Image.new(mode, (20, 18), colour).save(path)
    assert read_image(path).unique(dim=0).unique(dim=1).tolist() == [[list(rgb)]]


def test_palette_with_transparency(tmp_path: Path) -> None:
    image = left_red().quantize(2)
    image.info["transparency"] = image.getpixel((31, 0))  # blue is see-through
    image.save(tmp_path / "face.png", transparency=image.info["transparency"])
    read = read_image(tmp_path / "face.png")
    assert read[0, 0].tolist() == list(RED) and read[0, 31].tolist() == [0, 0, 0]


def test_cmyk(tmp_path: Path) -> None:
    Image.new("CMYK", (32, 32), (0, 255, 255, 0)).save(tmp_path / "face.tiff")  # no cyan, all magenta and yellow: red
    assert read_image(tmp_path / "face.tiff")[3, 3].tolist() == [255, 0, 0]
    Image.new("CMYK", (32, 32), (0, 255, 255, 0)).save(tmp_path / "face.jpg")
    red = read_image(tmp_path / "face.jpg")[3, 3].tolist()
    assert red[0] > 250 and max(red[1:]) < 5


# Where the red half of `left_red` is seen once the viewer has turned the picture as the tag says (EXIF 2.3, tag 274).
@pytest.mark.parametrize(
    ("orientation", "side"),
    [(1, "left"), (2, "right"), (3, "right"), (4, "left"), (5, "top"), (6, "top"), (7, "bottom"), (8, "bottom")],
)
@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_exif_orientation(tmp_path: Path, orientation: int, side: str, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"face.{suffix}"
    left_red().save(path, exif=exif)
    image = read_image(path)
    assert image.shape == ((24, 32, 3) if side in ("left", "right") else (32, 24, 3))
    red = {"left": image[:, :2], "right": image[:, -2:], "top": image[:2], "bottom": image[-2:]}
    assert [name for name, part in red.items() if (part == torch.tensor(RED, dtype=torch.uint8)).all()] == [side]


RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
XMP = f"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF xmlns:rdf='{RDF}'>{{}}</rdf:RDF></x:xmpmeta>"
TIFF = "http://ns.adobe.com/tiff/1.0/"
FORMS = {
    "attribute": f'<rdf:Description xmlns:tiff="{TIFF}" tiff:Orientation="6"/>',
    "single quotes": f"<rdf:Description xmlns:tiff='{TIFF}' tiff:Orientation = '6'/>",
    "element": f'<rdf:Description xmlns:tiff="{TIFF}"><tiff:Orientation>\n 6 </tiff:Orientation></rdf:Description>',
    "other prefix": f'<rdf:Description xmlns:t="{TIFF}" t:Orientation="6"/>',
}


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
@pytest.mark.parametrize("form", FORMS)
def test_orientation_that_xmp_alone_tells(tmp_path: Path, form: str, suffix: str) -> None:
    packet, path = XMP.format(FORMS[form]), tmp_path / f"face.{suffix}"
    if suffix == "png":
        told = PngInfo()
        told.add_itxt("XML:com.adobe.xmp", packet)
        left_red().save(path, pnginfo=told)
    else:
        left_red().save(path, xmp=packet.encode(), quality=95)
    image = read_image(path)
    assert image.shape == (32, 24, 3) and float(image[:2, :, 0].float().mean()) > 180  # turned: red is above


def test_exif_is_asked_before_xmp(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 1
    left_red().save(tmp_path / "a.jpg", exif=exif, xmp=XMP.format(FORMS["attribute"]).encode(), quality=95)
    assert read_image(tmp_path / "a.jpg").shape == (24, 32, 3)
    other = '<rdf:Description xmlns:cam="http://example.org/cam/" cam:Orientation="6" cam:x="tiff:Orientation"/>'
    left_red().save(tmp_path / "b.jpg", xmp=XMP.format(other).encode(), quality=95)
    assert read_image(tmp_path / "b.jpg").shape == (24, 32, 3)


def test_damaged_exif_keeps_the_picture(tmp_path: Path) -> None:
    left_red().save(tmp_path / "face.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f", quality=95)
    assert read_image(tmp_path / "face.jpg").shape == (24, 32, 3)


def test_heic(tmp_path: Path) -> None:
    """What telephones write; lossless in no setting, so a mean error of a level or two."""
    pytest.importorskip("pillow_heif", reason="needs the extra heic")
    ramp = np.linspace(0, 255, 64, dtype=np.uint8)
    pixels = np.stack(np.broadcast_arrays(ramp[None, :], ramp[:, None], np.uint8(90)), -1)
    assert is_photograph("face.heic")  # from here on Pillow knows the format
    Image.fromarray(pixels).save(tmp_path / "face.heic", quality=95)
    found = read_image(tmp_path / "face.heic").numpy().astype(int)
    assert found.shape == (64, 64, 3) and np.abs(found - pixels).mean() < 2


def test_a_heic_of_two_pictures_is_no_photograph(tmp_path: Path) -> None:
    """One alone would stay; a preview in the file is no second picture."""
    pillow_heif = pytest.importorskip("pillow_heif", reason="needs the extra heic")
    pictures = [Image.new("RGB", (64, 64), colour) for colour in (RED, BLUE)]
    several = pillow_heif.HeifFile()
    for picture in pictures:
        several.add_from_pillow(picture)
    several.save(str(tmp_path / "two.heic"))
    with pytest.raises(ImageError, match="an animation or several pages"):
        read_layers(tmp_path / "two.heic")
    assert read_image(tmp_path / "two.heic").shape == (64, 64, 3)
    one = pillow_heif.HeifFile()
    one.add_from_pillow(pictures[0])
    one.save(str(tmp_path / "one.heic"), thumbnails=[32])
    assert read_layers(tmp_path / "one.heic").colour.shape == (64, 64, 3)


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (32, 32), colour) for colour in (RED, BLUE)]
    frames[0].save(tmp_path / "face.gif", save_all=True, append_images=frames[1:])
    assert read_image(tmp_path / "face.gif")[0, 0].tolist() == list(RED)


def test_what_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("not a picture at all " * 10)
    (tmp_path / "page.jpg").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n"
    )  # never given to Ghostscript
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    Image.new("RGB", (15, 200)).save(tmp_path / "tiny.png")
    Image.new("F", (32, 32), 0.5).save(tmp_path / "float.tiff")
    found = {path.stem: reason(path) for path in tmp_path.iterdir()}
    assert found == {
        "empty": "empty",
        "text": "not an image",
        "page": "not an image",
        "pipe": "not a regular file",
        "gone": "unreadable",
        "zero": "not a regular file",
        "tiny": "smaller than 16 px",
        "float": "of unknown pixel range",
    }
    assert reason(tmp_path) == "not a regular file"


@pytest.mark.parametrize("sides", [(10_000, 5_001), (20_000, 20_000), (2**31 - 1, 2**31 - 1)])
def test_a_bomb_is_refused_by_its_header(tmp_path: Path, sides: tuple[int, int]) -> None:
    header = struct.pack(">IIBBBBB", *sides, 8, 2, 0, 0, 0)
    chunks = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b""))
    )
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    assert reason(tmp_path / "bomb.png") == "over 50 megapixels"


def test_truncated_jpeg(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "face.jpg")
    whole = (tmp_path / "face.jpg").read_bytes()
    (tmp_path / "face.jpg").write_bytes(whole[: len(whole) // 2])
    assert reason(tmp_path / "face.jpg") == "damaged"


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "webp", "tiff", "bmp", "tga", "jp2"])
def test_damaged_bytes_never_raise_anything_else(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"face.{suffix}"
    left_red().save(path)
    whole, chance = path.read_bytes(), random.Random(0)
    refused = 0
    for _ in range(60):
        damaged = bytearray(whole[: chance.randint(1, len(whole))])
        for _ in range(chance.randint(1, 6)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        path.write_bytes(damaged)
        try:
            image = read_image(path)
        except ImageError:
            refused += 1
        else:
            assert image.shape[2] == 3 and min(image.shape[:2]) >= 16
    assert refused > 10
