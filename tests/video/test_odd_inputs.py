"""Five hundred odd photographs and videos by a seed: each one sentence, or a result in which no face is left.

A face is a white disc on a dark wall, so it is one in every kind of picture, and a detector that sees discs never errs.
"""

from __future__ import annotations

import os
import random
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor

from anon.errors import UserError
from anon.faces.detection.contract import Detections
from anon.faces.images import read_image
from anon.faces.video import read_video
from anon.video.jobs import Job, jobs_of, run
from tests.video.scenes import detections, masking

LEAST = 40  # pixels of a disc
SECONDS = 30  # that a case may take, on a busy machine
PHOTOGRAPHS, VIDEOS = 300, 200


def discs(frame: Tensor) -> list[tuple[slice, slice]]:
    """Where something bright is, rows and columns."""
    labels, _ = ndimage.label(frame.numpy().mean(-1) > 150)
    sizes = np.bincount(labels.ravel())
    return [place for i, place in enumerate(ndimage.find_objects(labels), 1) if sizes[i] >= LEAST]


class Discs:
    """A detector of white discs, without points."""

    name, has_points, fingerprint = "discs", False, "d" * 64

    def detect(self, frame: Tensor) -> Detections:
        boxes = [torch.tensor([x.start, y.start, x.stop, y.stop]).float() for y, x in discs(frame)]
        return detections(boxes, [torch.full((5, 2), torch.nan) for _ in boxes])

    def detect_batch(self, frames: Any) -> list[Detections]:
        return [self.detect(frame) for frame in frames]


def scene(draw: random.Random, height: int, width: int) -> Image.Image:
    """A wall without a face, with one, one at the border, two that overlap, or two hundred."""
    values = np.full((height, width, 3), 40, np.uint8)
    values[::7] = 60
    rows, columns = np.mgrid[:height, :width]
    radius = draw.choice((8, 12, 17))
    kind = draw.choice(("none", "one", "border", "overlapping", "many"))
    x, y = draw.uniform(radius, width - radius), draw.uniform(radius, height - radius)
    places = {"none": [], "one": [(x, y)], "border": [(0, y), (x, height)], "overlapping": [(x, y), (x + radius, y)]}
    if kind == "many":
        radius, places["many"] = 4, [(8 + 11 * i, 8 + 11 * j) for i in range(20) for j in range(10)]
    for left, top in places[kind]:
        values[(columns - left) ** 2 + (rows - top) ** 2 <= radius**2] = 255
    return Image.fromarray(values)


def damaged(draw: random.Random, path: Path) -> None:
    """One of three: as it is, cut, or with some bytes changed."""
    content, kind = bytearray(path.read_bytes()), draw.choice(("whole", "whole", "cut", "changed"))
    if kind == "cut":
        content = content[: draw.randrange(len(content))]
    elif kind == "changed":
        for _ in range(draw.randrange(1, 12)):
            content[draw.randrange(len(content))] = draw.randrange(256)
    path.write_bytes(content)


def photograph(draw: random.Random, folder: Path) -> Path:
    suffix = draw.choice(("png", "jpg", "webp", "tiff", "bmp", "gif", "ppm"))
    own = {"png": ["RGBA", "LA", "P", "1", "I;16"], "webp": ["RGBA"], "gif": ["P"], "jpg": ["CMYK"]}
    modes = ["RGB", "L", *{**own, "tiff": ["CMYK", "RGBA", "I;16", "1", "F"]}.get(suffix, [])]
    height, width = draw.choice(((120, 240), (121, 241), (128, 230), (16, 300), (15, 200)))
    image, mode, path = scene(draw, height, width), draw.choice(modes), folder / f"a.{suffix}"
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    elif mode in ("RGBA", "LA"):
        image = image.convert(mode)
        image.putalpha(draw.choice((255, 128, 0)))
    else:
        image = image.convert(mode)
    exif = Image.Exif()
    exif[0x0112] = draw.choice((1, 3, 6, 8, 9))
    told: dict[str, Any] = {"exif": exif} if suffix in ("png", "jpg", "webp", "tiff") else {}
    if suffix in ("png", "webp", "gif", "tiff") and draw.random() < 0.15:
        told |= {"save_all": True, "append_images": [scene(draw, height, width).convert(image.mode)]}
    image.save(path, **told)
    damaged(draw, path)
    return path


def video(draw: random.Random, folder: Path) -> Path:
    suffix = draw.choice(("mp4", "mov", "mkv", "avi", "ts", "webm", "gif", "png"))
    frames = [scene(draw, *draw.choice(((120, 240), (64, 98)))) for _ in range(1)] * draw.choice((1, 2, 7))
    path = folder / f"a.{suffix}"
    if suffix in ("gif", "png"):
        frames[0].save(path, save_all=True, append_images=[frames[0].rotate(5)] * 2, duration=[0, 20, 700])
        damaged(draw, path)
        return path
    codec = {"avi": "mpeg4", "ts": "mpeg2video", "webm": "libvpx-vp9", "mov": draw.choice(("libx264", "qtrle"))}
    name = codec.get(suffix, "libx264")
    with av.open(str(path), "w") as container:
        if draw.random() < 0.1:  # sound alone
            tone: Any = container.add_stream("aac" if suffix != "webm" else "libopus", rate=48000)
            heard = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.int16), format="s16", layout="mono")
            heard.sample_rate = 48000
            container.mux([*tone.encode(heard), *tone.encode(None)])
        else:
            rate = draw.choice((25, 1, 120, Fraction(30000, 1001)))
            stream: Any = container.add_stream(name, rate=25 if name == "mpeg2video" else rate)
            stream.width, stream.height = frames[0].size
            stream.pix_fmt = "argb" if name == "qtrle" else "yuv420p"
            uneven = draw.random() < 0.3 and name in ("libx264", "libvpx-vp9")
            if uneven:
                stream.codec_context.time_base = Fraction(1, 1000)
            at = 0
            for i, frame in enumerate(frames):
                picture = av.VideoFrame.from_ndarray(np.asarray(frame), format="rgb24")
                if uneven:
                    picture.pts, picture.time_base = at, Fraction(1, 1000)
                    at += draw.choice((1, 40, 40, 3000))
                else:
                    picture.pts = i
                container.mux(stream.encode(picture))
            container.mux(stream.encode(None))
    damaged(draw, path)
    return path


def left(job: Job) -> int:
    """Faces in a result."""
    return sum(len(discs(frame)) for frame in (read_video(job.target) if job.video else [read_image(job.target)]))


@pytest.mark.slow
def test_odd_inputs(tmp_path: Path) -> None:
    ended = {"written": 0, "refused": 0}
    made = [(photograph, number) for number in range(PHOTOGRAPHS)] + [(video, number) for number in range(VIDEOS)]
    for make, number in made:
        folder = tmp_path / f"{make.__name__}{number}"
        folder.mkdir()
        source, began = make(random.Random(f"{make.__name__} {number}"), folder), time.monotonic()
        given = source.read_bytes()
        out = folder / "results"
        try:
            ((job, report),) = run(jobs_of(str(folder / "a.*"), str(out)), masking(Discs()))
        except UserError as error:
            told = str(error)
            assert "\n" not in told and told.endswith(".") and "Traceback" not in told, (make, number, told)
            assert all(name.startswith(("anonymize.", ".")) for name in os.listdir(out)), (make, number, told)
            ended["refused"] += 1
        else:
            assert left(job) == 0, (make.__name__, number, report)
            assert report["covered"] == report["faces"]
            ended["written"] += 1
        assert source.read_bytes() == given and time.monotonic() - began < SECONDS, (make, number)
    print(ended)
    assert min(ended.values()) > 100, ended
