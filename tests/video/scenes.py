"""Rendered people on a grey wall, where everything about their faces is known, and clips of them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from torch import Tensor

from anon.anonymizers.filters import SolidMask
from anon.faces.detection.contract import Detections
from anon.faces.synthetic.parameters import people, stills
from anon.faces.synthetic.render import render
from anon.video.changer import FaceChanger
from anon.video.gate import Gate
from anon.video.pipeline import Anonymizing

SIDE = 96  # pixels of a rendered picture; the face is about half as wide
CORNERS = ((10, 10), (40, 10), (60, 30))  # left and top of the faces of :func:`half_changed`
_BOX = (0.16, 0.06, 0.84, 0.97)  # of a face, in its picture


def half_changed() -> tuple[Tensor, Tensor, Tensor]:
    """A black frame (60, 80, 3) with three faces of 10 x 10, the frame when much of one and less of another is changed,
    and whose each pixel is (1, 60, 80), -1 nobody's.
    """
    before = torch.zeros(60, 80, 3, dtype=torch.uint8)
    owners = torch.full((1, 60, 80), -1, dtype=torch.int16)
    for number, (left, top) in enumerate(CORNERS):
        owners[0, top : top + 10, left : left + 10] = number
    after = before.clone()
    after[10:20, 10:18] = 9  # eight of ten columns of the first
    after[10:20, 40:44] = 9  # four of ten of the second
    return before, after, owners


@functools.cache
def person(number: int, picture: int = 0) -> tuple[Tensor, Tensor]:
    """A picture uint8 (SIDE, SIDE, 3) of a rendered person, and the five points (5, 2) in it."""
    mood = stills([number], [picture], occluders=0.0)
    mood["yaw"], mood["pitch"], mood["roll"] = (torch.zeros(1) + 8, torch.zeros(1), torch.zeros(1) + 4)
    drawn = render(people([number]), mood, SIDE)
    return drawn.images[0], drawn.landmarks[0]


def frame_of(places: Sequence[tuple[int, int, int]], height: int = 144, width: int = 256) -> tuple[Tensor, Detections]:
    """A frame with people at (number, left, top), and where their faces are."""
    frame = torch.full((height, width, 3), 120, dtype=torch.uint8)
    frame[::8] = 90  # a wall with lines, so that what changes is seen
    boxes, points = list[Tensor](), list[Tensor]()
    for number, left, top in places:
        picture, five = person(number)
        x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + SIDE, width), min(top + SIDE, height)
        frame[y0:y1, x0:x1] = picture[y0 - top : y1 - top, x0 - left : x1 - left]
        corner = torch.tensor([left, top], dtype=torch.float32)
        boxes.append(torch.tensor(_BOX) * SIDE + corner.repeat(2))
        points.append(five + corner)
    return frame, detections(boxes, points)


def detections(boxes: list[Tensor], points: list[Tensor]) -> Detections:
    """As a detector gives them."""
    if not boxes:
        return Detections(torch.zeros(0, 4), torch.zeros(0, 5, 2), torch.zeros(0))
    return Detections(torch.stack(boxes), torch.stack(points), torch.ones(len(boxes)))


class Known:
    """A detector that knows the faces of frames by their bytes, and misses those that it is told to miss."""

    name, has_points, fingerprint = "known", True, "0" * 64

    def __init__(self) -> None:
        self.faces: dict[bytes, Detections] = {}

    def learn(self, frame: Tensor, faces: Detections) -> Tensor:
        self.faces[_key(frame)] = faces
        return frame

    def detect(self, frame: Tensor) -> Detections:
        return self.detect_batch([frame])[0]

    def detect_batch(self, frames: Sequence[Tensor]) -> list[Detections]:
        return [self.faces.get(_key(frame), detections([], [])) for frame in frames]


def _key(frame: Tensor) -> bytes:
    return frame.contiguous().numpy().tobytes()


def write_clip(
    path: Path,
    frames: Sequence[Tensor],
    times: Sequence[int] | None = None,
    sound: bool = False,
    tags: dict[str, str] | None = None,
    codec: str = "libx264rgb",
) -> Path:
    """A clip without loss (H.264 in RGB), frames at ``times`` in thousandths of a second, with a tone if wanted."""
    with av.open(str(path), "w") as container:
        container.metadata.update(tags or {})
        pictures = container.add_stream(codec, rate=25, options={"crf": "0", "preset": "ultrafast"})
        pictures.height, pictures.width = frames[0].shape[:2]
        pictures.pix_fmt = "rgb24" if codec == "libx264rgb" else "yuv420p"
        base = Fraction(1, 25 if times is None else 1000)
        pictures.codec_context.time_base = base
        tone = container.add_stream("aac", rate=16000) if sound else None
        for i, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame.numpy(), format="rgb24")
            picture.pts, picture.time_base = (i if times is None else times[i]), base
            container.mux(pictures.encode(picture))
        container.mux(pictures.encode(None))
        if tone is not None:
            for i in range(len(frames) * 640 // 1024):
                wave = (np.sin(np.arange(1024) / 9) * 8000).astype(np.int16)[None]
                heard = av.AudioFrame.from_ndarray(wave, format="s16", layout="mono")
                heard.sample_rate, heard.pts = 16000, i * 1024
                container.mux(tone.encode(heard))
            container.mux(tone.encode(None))
    return path


def times_of(path: Path) -> list[Fraction]:
    """When the frames of a file are shown."""
    with av.open(str(path)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]


class Fixed:
    """A detector that says of every frame that one face is at one place."""

    name, has_points, fingerprint = "fixed", True, "f" * 64

    def __init__(self, left: float = 20.0, top: float = 20.0) -> None:
        _, found = frame_of([(3, 0, 0)])
        corner = torch.tensor([left, top])
        self.faces = Detections(found.boxes + corner.repeat(2), found.points + corner, found.scores)

    def detect(self, frame: Tensor) -> Detections:
        return self.faces

    def detect_batch(self, frames: Sequence[Tensor]) -> list[Detections]:
        return [self.faces for _ in frames]


def masking(detector: object, method: object = None, **settings: object) -> Anonymizing:
    """Everything that ``method=solid`` needs, with a detector that knows."""
    solid = SolidMask([-1.0, -1.0, -1.0])
    gate = Gate()
    change = FaceChanger(solid if method is None else method, solid, gate, 112)  # type: ignore[arg-type]
    return Anonymizing(detector, change, gate, {"method": "test"}, **settings)  # type: ignore[arg-type]
