"""A photograph in, a photograph out: upright, whole, without its tags; and every way in which a file is none."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms, PngImagePlugin

from anon.anonymizers.plugged import Plugged
from anon.errors import UserError
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
