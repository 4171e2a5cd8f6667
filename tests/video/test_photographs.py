"""A photograph in, a photograph out: upright, whole, without its tags; and every way in which a file is none."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageCms, PngImagePlugin
from torch import Tensor

from anon.anonymizers.plugged import Plugged
from anon.errors import UserError
from anon.faces.detection.contract import Detections
from anon.faces.detection.frames import Candidates, FrameDetector
from anon.video import photographs
from anon.video.jobs import jobs_of, run
from tests.video.scenes import Fixed, Known, detections, frame_of, masking


def anonymized(source: Path, target: Path, by=None):
    ((_, report),) = run(jobs_of(str(source), str(target)), by or masking(Fixed()))
    with Image.open(target) as image:
        image.load()
        return image, report


@pytest.fixture
def picture() -> Image.Image:
    return Image.fromarray(frame_of([(3, 20, 20)])[0].numpy())


def covered(image: Image.Image) -> bool:
    return image.convert("RGB").getpixel((68, 72)) == (0, 0, 0)  # where Fixed() says that a face is


def test_orientation_is_applied_and_tags_stay_behind(tmp_path: Path, picture: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x013B] = 6, "Camera", "Author"
    exif.get_ifd(0x8825)[1] = "N"  # GPS
    picture.transpose(Image.Transpose.ROTATE_90).save(
        tmp_path / "a.jpg", exif=exif, comment=b"secret words", quality=95, xmp=b"<x:xmpmeta>secret</x:xmpmeta>"
    )
    image, report = anonymized(tmp_path / "a.jpg", tmp_path / "b.jpg")
    assert image.size == picture.size and covered(image) and report["faces"] == 1
    content = (tmp_path / "b.jpg").read_bytes()
    assert not image.getexif() and not any(word in content for word in (b"Camera", b"Author", b"secret", b"Exif"))
    assert np.abs(np.asarray(image)[:, 160:].astype(int) - np.asarray(picture)[:, 160:]).mean() < 4


def test_png_keeps_its_transparency_and_loses_its_text(tmp_path: Path, picture: Image.Image) -> None:
    alpha = np.full((144, 256), 255, np.uint8)
    alpha[:, 200:], alpha[:, 180:200] = 0, 77
    values = np.dstack((np.asarray(picture), alpha))
    words = PngImagePlugin.PngInfo()
    words.add_text("Author", "somebody")
    Image.fromarray(values).save(tmp_path / "a.png", pnginfo=words)
    image, _ = anonymized(tmp_path / "a.png", tmp_path / "b.png")
    result = np.asarray(image)
    assert image.mode == "RGBA" and np.array_equal(result[..., 3], alpha) and covered(image)
    assert np.array_equal(result[:, 160:200, :3], values[:, 160:200, :3])
    assert not result[:, 200:, :3].any()  # what nobody sees, and a program would bring to light
    assert b"somebody" not in (tmp_path / "b.png").read_bytes()
    with pytest.raises(UserError, match="transparency"):
        anonymized(tmp_path / "a.png", tmp_path / "b.jpg")
    assert not (tmp_path / "b.jpg").exists()


def test_a_face_under_faint_transparency_is_found(tmp_path: Path) -> None:
    frame, found = frame_of([(3, 20, 20)])
    values = np.dstack((frame.numpy(), np.full((144, 256), 2, np.uint8)))
    Image.fromarray(values).save(tmp_path / "a.png")
    known = Known()
    known.learn(frame, found)
    image, report = anonymized(tmp_path / "a.png", tmp_path / "b.png", masking(known))
    assert report["faces"] == 1 and np.asarray(image)[72, 68, :3].tolist() == [0, 0, 0]


def in_alpha(kind: str) -> tuple[np.ndarray, Tensor, Detections]:
    """RGBA values whose face only transparency shows, what of it a viewer shows, and where the face is."""
    frame, found = frame_of([(3, 20, 20)])
    grey = np.asarray(Image.fromarray(frame.numpy()).convert("L"))
    shown = torch.from_numpy(np.dstack([grey] * 3))
    alpha = {"on white": 255 - grey, "on black": grey, "as grey": grey, "negative": 255 - grey}[kind]
    colour = {"on white": 0, "on black": 255, "as grey": 128, "negative": 128}[kind]
    if kind in ("as grey", "negative"):  # is stretched to the whole range
        low, high = int(alpha.min()), int(alpha.max())
        wide = (alpha.astype(int) - low) * 255 // (high - low)
        shown = torch.from_numpy(np.dstack([wide if kind == "as grey" else 255 - wide] * 3).astype(np.uint8))
    return np.dstack((np.full((*grey.shape, 3), colour, np.uint8), alpha)), shown, found


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tiff"])
@pytest.mark.parametrize("kind", ["on white", "on black", "as grey", "negative"])
def test_a_face_that_only_transparency_shows_is_covered(tmp_path: Path, kind: str, suffix: str) -> None:
    values, shown, found = in_alpha(kind)
    Image.fromarray(values).save(tmp_path / f"a{suffix}", lossless=True, exact=True)
    known = Known()
    known.learn(shown, found)
    image, report = anonymized(tmp_path / f"a{suffix}", tmp_path / "b.png", masking(known, Plugged(torch.ones_like)))
    assert report["faces"] == report["covered"] == 1 and report["fallbacks"] == {"without points": 1}
    result = np.asarray(image)
    left, top, right, bottom = found.boxes[0].round().long().tolist()
    assert (result[top:bottom, left:right, 3] == 255).all()
    for background in ((255, 255, 255), (0, 0, 0), (9, 99, 199)):  # whatever it is shown on
        canvas = Image.new("RGBA", image.size, background)
        for x, y in found.points[0].round().long().tolist():
            assert Image.alpha_composite(canvas, image).getpixel((x, y)) == (0, 0, 0, 255)
    assert np.array_equal(result[:, 160:], values[:, 160:])  # what is no face stays


def test_a_face_in_a_transparent_palette_is_covered(tmp_path: Path) -> None:
    values, shown, found = in_alpha("on white")
    picture = Image.fromarray(values[..., 3], "L").convert("P")
    picture.putpalette([0] * 768)
    indices = np.asarray(picture)
    alphas = bytearray(256)
    for index, alpha in zip(indices.ravel(), values[..., 3].ravel(), strict=True):
        alphas[index] = alpha
    picture.save(tmp_path / "a.png", transparency=bytes(alphas))
    known = Known()
    known.learn(shown, found)
    image, report = anonymized(tmp_path / "a.png", tmp_path / "b.png", masking(known))
    assert report["faces"] == 1 and (np.asarray(image)[40:100, 40:96, 3] == 255).all()


def test_what_a_generator_redraws_is_opaque(tmp_path: Path, picture: Image.Image) -> None:
    """The face is in the colours, and another in the alpha, in the same place: what is judged is what is seen."""
    alpha = np.random.default_rng(0).integers(1, 255, (144, 256), np.uint8)
    values = np.dstack((np.asarray(picture), alpha))
    Image.fromarray(values).save(tmp_path / "a.png")
    by = masking(Fixed(), Plugged(lambda images: -images))
    image, report = anonymized(tmp_path / "a.png", tmp_path / "b.png", by)
    result = np.asarray(image)
    changed = (result[..., :3] != values[..., :3]).any(2)
    assert report["faces"] == report["unverified"] == 1 and changed.sum() > 2000
    assert (result[changed, 3] == 255).all() and np.array_equal(result[:, 160:, 3], alpha[:, 160:])


class Squares(FrameDetector):
    """Finds red squares of 16 pixels and more on its input, and nothing smaller; counts the pixels that it is given."""

    name, fingerprint = "squares", "2" * 64

    def __init__(self, max_side: int = 320) -> None:
        super().__init__(0.3, 0.3, 8, max_side)
        self.pixels: list[int] = []

    def find(self, images: np.ndarray, smallest: float) -> list[Candidates]:
        found = []
        for image in images:
            self.pixels.append(image.shape[0] * image.shape[1])
            red = ((image[..., 0] > 200) & (image[..., 1] < 60)).astype(np.uint8)
            _, _, stats, _ = cv2.connectedComponentsWithStats(red)
            boxes = np.array([(x, y, x + w, y + h) for x, y, w, h, _ in stats[1:] if max(w, h) >= 15], np.float32)
            points = np.full((len(boxes), 5, 2), np.nan, np.float32)
            found.append(Candidates(boxes.reshape(-1, 4), points, np.ones(len(boxes), np.float32)))
        return found


def test_small_faces_of_a_large_photograph_are_covered(tmp_path: Path) -> None:
    """Faces of every size and place, large ones over many tiles, in a picture whose longer side is five times more."""
    values = np.full((1200, 1600, 3), 200, np.uint8)
    places = [(3, 3, 18), (310, 60, 20), (600, 20, 40), (1000, 260, 80), (40, 400, 600), (1560, 1160, 18)]
    places += [(900 + 93 * i, 500 + 97 * i, 30 + 6 * i) for i in range(6)]
    for x, y, side in places:
        values[y : y + side, x : x + side] = (255, 0, 0)
    Image.fromarray(values).save(tmp_path / "a.png")
    detector = Squares()
    image, report = anonymized(tmp_path / "a.png", tmp_path / "b.png", masking(detector))
    result = np.asarray(image).astype(int)
    assert report["faces"] == report["covered"] == len(places) and report["smallest_face"] == 16
    assert not ((result[..., 0] > 200) & (result[..., 1] < 60)).any()
    assert np.array_equal(masking(detector).changed(torch.from_numpy(values))[0].numpy(), result)  # anon.anonymize
    assert photographs.smallest(detector, (160, 100)) == 16 and photographs.smallest(Known(), (9000, 5000)) is None


def test_small_photographs_are_looked_at_once(tmp_path: Path, picture: Image.Image) -> None:
    detector = Squares(256)
    picture.save(tmp_path / "a.png")
    _, report = anonymized(tmp_path / "a.png", tmp_path / "b.png", masking(detector))
    assert len(detector.pixels) == 1 and report["smallest_face"] == 16


@pytest.mark.parametrize("size", [(4000, 6000), (6000, 8000), (1080, 1920), (1281, 700), (2000, 24_000), (4961, 3508)])
def test_tiles_hold_every_face_that_the_whole_is_too_small_for(size: tuple[int, int]) -> None:
    scale, tiles = photographs.tiling(size, 1280)
    lost = 16 * max(size) / 1280  # side of a face that is 16 pixels large in the whole, scaled down
    parts = {(tile.bottom - tile.top, tile.right - tile.left) for tile in tiles}
    ((height, width),) = parts
    assert len(tiles) * height * width * scale**2 <= 16e6 and max(height, width) * scale <= 1280.01
    assert scale > 1.5 * 1280 / max(size) or scale == 1.0
    for y in np.linspace(0, size[0] - lost, 97):
        for x in np.linspace(0, size[1] - lost, 89):
            assert any(t.left <= x and t.top <= y and x + lost <= t.right and y + lost <= t.bottom for t in tiles)


@pytest.mark.parametrize("kind", ["CMYK", "I;16", "L", "P", "1", "LA", "RGBX"])
def test_every_kind_of_pixels(tmp_path: Path, picture: Image.Image, kind: str) -> None:
    if kind == "I;16":
        Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257).save(tmp_path / "a.tiff")
    else:
        picture.convert(kind).save(tmp_path / "a.tiff") if kind != "RGBX" else picture.save(tmp_path / "a.tiff")
    image, _ = anonymized(tmp_path / "a.tiff", tmp_path / "b.png")
    assert covered(image) and image.size == (256, 144)
    if kind != "1":
        same = picture.convert(kind if kind != "I;16" and kind != "RGBX" else "RGB").convert("L")
        apart = np.asarray(image.convert("L"))[:, 160:].astype(int) - np.asarray(same)[:, 160:]
        assert np.abs(apart).mean() < 4


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".png", ".webp", ".tif", ".bmp", ".JPG"])
def test_every_format_is_written(tmp_path: Path, picture: Image.Image, suffix: str) -> None:
    picture.save(tmp_path / "a.png")
    image, _ = anonymized(tmp_path / "a.png", tmp_path / f"b{suffix}")
    assert image.convert("RGB").getpixel((68, 72)) < (12, 12, 12)


@pytest.mark.parametrize("suffix", [".webp", ".png", ".tiff"])
def test_animations_and_pages_are_refused(tmp_path: Path, picture: Image.Image, suffix: str) -> None:
    picture.save(tmp_path / f"a{suffix}", save_all=True, append_images=[picture.rotate(90), picture.rotate(180)])
    with pytest.raises(UserError, match="animation or several pages"):
        anonymized(tmp_path / f"a{suffix}", tmp_path / "b.png")
    assert os.listdir(tmp_path) == [f"a{suffix}"]


def test_colours_of_a_profile_become_srgb(tmp_path: Path, picture: Image.Image) -> None:
    """sRGB's own changes nothing, a damaged one neither, and none is written."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture.save(tmp_path / "a.png", icc_profile=profile)
    image, _ = anonymized(tmp_path / "a.png", tmp_path / "b.png")
    assert "icc_profile" not in image.info
    assert np.abs(np.asarray(image)[:, 160:].astype(int) - np.asarray(picture)[:, 160:]).max() <= 2
    picture.save(tmp_path / "c.png", icc_profile=b"nonsense" * 40)
    image, _ = anonymized(tmp_path / "c.png", tmp_path / "d.png")
    assert np.array_equal(np.asarray(image)[:, 160:], np.asarray(picture)[:, 160:])


def broken(path: Path, kind: str) -> Path:
    picture = Image.fromarray(frame_of([(3, 20, 20)])[0].numpy())
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "dangling link":
        path.symlink_to(path.parent / "nowhere.png")
    elif kind == "link to itself":
        path.symlink_to(path)
    elif kind == "huge":
        content = io.BytesIO()
        Image.new("1", (60_000, 60_000)).save(content, "PNG")
        path.write_bytes(content.getvalue())
    elif kind == "tiny":
        picture.resize((3, 3)).save(path)
    else:
        content = io.BytesIO()
        picture.save(content, "PNG")
        cut = {"empty": b"", "text": b"not a picture", "truncated": content.getvalue()[:5000], "zeros": b"\0" * 5000}
        path.write_bytes(cut[kind])
    return path


@pytest.mark.parametrize(
    "kind", ["fifo", "dangling link", "link to itself", "tiny", "empty", "text", "truncated", "zeros"]
)
def test_what_is_no_photograph_is_one_sentence(tmp_path: Path, kind: str) -> None:
    source = broken(tmp_path / "a.png", kind)
    with pytest.raises(UserError, match=r"^'.*a\.png' cannot be anonymized: it is [^\n]+\.$"):
        anonymized(source, tmp_path / "b.png")
    assert os.listdir(tmp_path) == ["a.png"]


def test_a_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    content = bytearray(_png(16, 16))
    content[16:24] = (60_000).to_bytes(4, "big") * 2  # the header's width and height
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(UserError, match=r"cannot be anonymized: it is "):
        anonymized(tmp_path / "a.png", tmp_path / "b.png")


def _png(width: int, height: int) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (width, height)).save(content, "PNG")
    return content.getvalue()


def test_without_a_face_the_picture_stays_and_the_report_says_so(tmp_path: Path, picture: Image.Image) -> None:
    picture.save(tmp_path / "a.png")
    image, report = anonymized(tmp_path / "a.png", tmp_path / "b.png", masking(Known()))
    assert np.array_equal(np.asarray(image), np.asarray(picture)) and report["label"] == "no face was found"


def test_faces_at_the_border_overlapping_and_two_hundred(tmp_path: Path) -> None:
    frame, found = frame_of([(3, -40, -30), (5, 220, 100), (8, 90, 40), (11, 110, 50)])
    crowd = [found.boxes[i % 4] + torch.tensor([i % 20, i // 20] * 2) for i in range(200)]
    points = [found.points[i % 4] + torch.tensor([i % 20, i // 20]) for i in range(200)]
    for name, faces in (("few", found), ("crowd", detections(crowd, points))):
        known = Known()
        known.learn(frame, faces)
        Image.fromarray(frame.numpy()).save(tmp_path / f"{name}.png")
        image, report = anonymized(tmp_path / f"{name}.png", tmp_path / f"{name}-out.png", masking(known))
        assert report["faces"] == report["covered"] == len(faces.scores)
        for x, y in found.points.reshape(-1, 2).round().long().tolist():
            if 0 <= x < 256 and 0 <= y < 144:
                assert image.getpixel((x, y)) == (0, 0, 0)


def test_strict_finishes_nothing_that_holds_an_unverified_face(tmp_path: Path, picture: Image.Image) -> None:
    picture.save(tmp_path / "a.png")
    white = Plugged(torch.ones_like)
    with pytest.raises(UserError, match=r"strict=true: 1 of 1 faces"):
        anonymized(tmp_path / "a.png", tmp_path / "b.png", masking(Fixed(), white, strict=True))
    assert os.listdir(tmp_path) == ["a.png"]
    _, report = anonymized(tmp_path / "a.png", tmp_path / "b.png", masking(Fixed(), white))
    assert (report["unverified"], report["label"]) == (1, "not verified by a recognizer")
    anonymized(tmp_path / "a.png", tmp_path / "c.png", masking(Fixed(), strict=True))


def test_the_report_holds_no_name_and_no_face(tmp_path: Path, picture: Image.Image) -> None:
    (tmp_path / "Ann Example").mkdir()
    picture.save(tmp_path / "Ann Example" / "ann.png")
    anonymized(tmp_path / "Ann Example" / "ann.png", tmp_path / "out.png")
    text = (tmp_path / "out.png.json").read_text()
    report = json.loads(text)
    assert "Ann" not in text and "ann" not in text.replace("channel", "") and len(text) < 3000
    assert {"faces", "covered", "fallbacks", "settings", "frames_per_second", "judges"} <= report.keys()
