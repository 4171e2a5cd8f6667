"""Read one photograph, whatever it is, as uint8 RGB, or say in two words why not.

Files are hostile until shown otherwise: only regular files are opened (a pipe must not hang the run), only the formats
in :data:`FORMATS` are tried, and the size is taken from the header before a pixel is decoded.

What becomes of the kinds:

* grey, palette, CMYK, YCbCr: converted to RGB;
* alpha: composited on black, the value that alignment pads with;
* 16-bit grey: divided by 257, so that white stays white (Pillow's own conversion clips);
* 16-bit colour: its high byte;
* orientation by EXIF, or by XMP where EXIF tells none: applied, so points refer to the picture as a viewer shows it;
* animation: its first frame;
* HEIC, as telephones write it: read where the package pillow-heif is installed, named as such where it is not;
* 32-bit integer or float pixels without a known range, LAB: refused.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageCms
from torch import Tensor

from anon import plain
from anon.weights.archives import DAMAGED

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "JPEG2000", "AVIF", "TGA", "HEIF")
NO_IMAGE = "not an image"
NO_MEMORY = "too large for the memory there is"
HEIC = "HEIC, for which pillow-heif is missing (pip install pillow-heif)"
SEVERAL = "an animation or several pages, which are no photograph"
MAX_PIXELS = 50_000_000
MIN_SIDE = 16

_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_ANIMATED = ("GIF", "PNG", "WEBP", "AVIF", "TIFF", "HEIF")  # a JPEG's further pictures are previews
_ORIENTATION = 0x0112  # EXIF tag
_TIFF = re.compile(r"""xmlns:([\w.-]{1,64})\s*=\s*["']http://ns\.adobe\.com/tiff/1\.0/""")  # whose property XMP's is
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What Pillow's parsers raise on damaged input; a damaged file is expected here, never a bug of the caller.
_DECODER_ERRORS = (*DAMAGED, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning)


class ImageError(ValueError):
    """A file that cannot be used as a photograph; the message is a short reason that fits "3 <reason>" in a summary."""


class Layers(NamedTuple):
    """A photograph with its transparency."""

    colour: Tensor  # (H, W, 3) uint8 RGB; black where the transparency hides it altogether
    alpha: Tensor | None  # (H, W) uint8; None: none of it is transparent


def read_image(path: str | Path) -> Tensor:
    """Read the photograph at ``path``.

    Returns:
        uint8 ``(H, W, 3)`` RGB, upright by its EXIF or XMP tag, both sides at least 16 px.

    Raises:
        ImageError: ``unreadable``, ``empty``, ``not a regular file``, ``not an image``, ``damaged``,
            ``over 50 megapixels``, ``smaller than 16 px``, ``of unknown pixel range``,
            :data:`NO_MEMORY` or :data:`HEIC`.
    """
    return torch.from_numpy(_read(path, _to_rgb))


def image_of(content: bytes) -> Tensor:
    """The same of a photograph's bytes.

    Raises:
        ImageError: see :func:`read_image`.
    """
    if not content:
        raise ImageError("empty")
    return torch.from_numpy(_decoded(io.BytesIO(content), _to_rgb))


def read_layers(path: str | Path) -> Layers:
    """The photograph at ``path`` as it can be written again: with its transparency, and nothing but a photograph.

    Raises:
        ImageError: see :func:`read_image`; or :data:`SEVERAL`, an animation or pages, of which one alone would stay.
    """
    values = _read(path, _to_layers)
    if values.shape[2] == 3:
        return Layers(torch.from_numpy(values), None)
    colour, alpha = torch.from_numpy(values).split((3, 1), 2)
    return Layers(colour * (alpha > 0), alpha[..., 0].contiguous())


def _read(path: str | Path, convert: Callable[[Image.Image], np.ndarray]) -> np.ndarray:
    with open_regular(path, ImageError) as file:
        return _decoded(file, convert)


def _decoded(file: BinaryIO, convert: Callable[[Image.Image], np.ndarray]) -> np.ndarray:
    try:
        image = Image.open(file, formats=_formats())
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(_too_large()) from error
    except MemoryError as error:
        raise ImageError(NO_MEMORY) from error
    except _DECODER_ERRORS as error:
        file.seek(0)
        unread = "HEIF" not in _formats() and _is_heic(file.read(12))
        raise ImageError(HEIC if unread else NO_IMAGE) from error
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageError(_too_large())
    if min(width, height) < MIN_SIDE:
        raise ImageError(f"smaller than {MIN_SIDE} px")
    try:
        image.load()
        return convert(image)
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError(NO_MEMORY) from error
    except _DECODER_ERRORS as error:
        raise ImageError("damaged") from error


def is_photograph(name: str | Path) -> bool:
    """Whether the name is that of a photograph; one may have any other name, too.

    >>> is_photograph("a/b.JPG"), is_photograph("c.heic"), is_photograph("notes.txt")
    (True, True, False)
    """
    return os.path.splitext(name)[1].lower() in _suffixes()


@functools.cache
def _suffixes() -> frozenset[str]:
    _formats()
    named = {suffix for suffix, kind in Image.registered_extensions().items() if kind in FORMATS}
    return frozenset(named | {".heic", ".heif", ".hif"})


def _is_heic(start: bytes) -> bool:
    """ISO 14496-12: a box ``ftyp`` with the major brand of a still or a sequence in HEVC."""
    return start[4:8] == b"ftyp" and start[8:12] in _HEIC_BRANDS


def open_regular(path: str | Path, refusal: type[ValueError]) -> BinaryIO:
    """A plain file that is not empty; what it is else is a ``refusal``."""
    try:
        file = plain.opened(path)
    except OSError as error:
        raise refusal("not a regular file" if isinstance(error, plain.NotPlain) else "unreadable") from error
    if os.fstat(file.fileno()).st_size == 0:
        file.close()
        raise refusal("empty")
    return file


@functools.cache
def _formats() -> tuple[str, ...]:
    Image.init()
    with contextlib.suppress(ImportError):
        from pillow_heif import register_heif_opener

        register_heif_opener()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _too_large() -> str:
    return f"over {MAX_PIXELS // 1_000_000} megapixels"


def _to_rgb(image: Image.Image) -> np.ndarray:
    orientation, image = _orientation(image), _known_range(image)
    if image.has_transparency_data:
        colour = image.convert("RGBA")
        image = Image.new("RGB", colour.size)
        image.paste(colour, mask=colour.getchannel("A"))
    return np.array(_upright(image if image.mode == "RGB" else image.convert("RGB"), orientation))


def _to_layers(image: Image.Image) -> np.ndarray:
    if image.format in _ANIMATED and getattr(image, "n_frames", 1) > 1:
        raise ImageError(SEVERAL)
    orientation, image = _orientation(image), _in_srgb(_known_range(image))
    return np.array(_upright(image.convert("RGBA" if image.has_transparency_data else "RGB"), orientation))


def _in_srgb(image: Image.Image) -> Image.Image:
    """Colours as every viewer takes them without the profile; as they are where there is none, or a damaged one."""
    profile = image.info.get("icc_profile")
    if not profile or image.mode not in ("RGB", "RGBA", "CMYK"):
        return image
    mode = "RGB" if image.mode == "CMYK" else image.mode
    try:
        given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        changed = ImageCms.profileToProfile(image, given, ImageCms.createProfile("sRGB"), outputMode=mode)
    except (ImageCms.PyCMSError, *_DECODER_ERRORS):
        return image
    return image if changed is None else changed


def _known_range(image: Image.Image) -> Image.Image:
    """Pixels of eight bits; what has no known range is refused."""
    if image.mode.startswith("I"):
        return _eight_bit(image)
    if image.mode == "F":
        raise ImageError("of unknown pixel range")
    return image


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_TRANSPOSE[orientation]) if orientation in _TRANSPOSE else image


def _orientation(image: Image.Image) -> int:
    """Of EXIF or XMP; 1, upright, where neither tells it or both are damaged: the picture itself is good."""
    with contextlib.suppress(*_DECODER_ERRORS):
        told = int(image.getexif().get(_ORIENTATION, 0))
        if told:
            return told
    return _in_xmp(image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or "")


def _in_xmp(packet: bytes | str) -> int:
    """The property Orientation (XMP, part 2, section 3.3), however it is written; 1 where there is none.

    >>> _in_xmp(b"<x xmlns:t='http://ns.adobe.com/tiff/1.0/'> <t:Orientation> 6 </t:Orientation> </x>")
    6
    """
    text = packet.decode("utf-8", "replace") if isinstance(packet, bytes) else str(packet)
    for name in {"tiff", *_TIFF.findall(text)}:
        found = re.search(rf"""[\s<]{re.escape(name)}:Orientation\s*(?:=\s*["']|>)\s*([1-8])\s*["'<]""", text)
        if found is not None:
            return int(found[1])
    return 1


def _eight_bit(image: Image.Image) -> Image.Image:
    """16-bit grey (modes I;16* and, from PGM and older Pillow, I) to 8 bit: 65535 becomes 255."""
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise ImageError("of unknown pixel range")
    return Image.fromarray(np.rint(values / 257.0).astype(np.uint8))
