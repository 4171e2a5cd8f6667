"""How fast a video is anonymized: ``python benchmarks/video.py [clip] [--quick]`` writes docs/benchmarks/video.md.

The stages by themselves, then one after another: decode, detect, align, anonymize (FIVA, Rosberg et al., ICCV
Workshops 2023, or a filter), put back, encode. The parts are the library's; the loop that composes them is this file's
own. Each is measured in batches and one at a time, which take turns, window by window. Without a clip it makes H.264
clips of synthetic faces on moving places, so it knows where they are and counts those that a detector misses. Files
of detectors are looked for in ``$ANON_REAL/models``.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import math
import os
import shlex
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import av
import torch
from torch import Tensor, nn

from anon.anonymizers.composed import Anonymizer
from anon.anonymizers.filters import GaussianBlur, Pixelate
from anon.apps.checkpoints import restore_generator
from anon.errors import UserError
from anon.evaluation.results import markdown_table
from anon.faces.alignment import align, crop_box, restore, similarity, template
from anon.faces.contract import to_float, to_uint8
from anon.faces.detection.contract import Detections, Detector
from anon.faces.detection.mtcnn import Mtcnn
from anon.faces.detection.retinaface import RetinaFace
from anon.faces.detection.scrfd import Scrfd
from anon.faces.detection.ultralight import UltraLight
from anon.faces.detection.yunet import YuNet
from anon.faces.synthetic import parameters
from anon.faces.synthetic.dataset import people_of
from anon.faces.synthetic.render import render
from anon.faces.video import VideoError, read_video
from anon.identity.policies import Negation
from benchmarks.detectors import Photograph, hits
from benchmarks.machine import description, device, spread, synchronize, working_memory, written

BATCH = 8  # frames
SIZE = 64  # side of the aligned faces: what the shipped FIVA was trained on
RATE = 25  # frames a second of what is made and written
MOODS = 12  # frames of a face that are rendered; they are shown to and fro
STAGES = ("decode", "detect", "align", "anonymize", "put back", "encode")
NOTES = f"""Faces are aligned to {SIZE} x {SIZE}; FIVA is the one that ships, in its plain mode. Decoding has one
thread, encoding is libx264's veryfast with its own. Detectors are timed on up to {2 * BATCH} frames. Memory is the most
in use above what was before, a GPU's where there is one. Ratios are medians of the windows' own."""
REPORT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks" / "video.md"
DETECTORS: dict[str, tuple[Callable[[Path], Detector], str]] = {
    "YuNet": (YuNet, "yunet/yunet_n_dynamic.onnx"),
    "SCRFD": (Scrfd, "scrfd/det_500m.onnx"),
    "RetinaFace MobileNet-0.25": (RetinaFace, "retinaface_mnet025/mobilenet0.25_Final.pth"),
    "MTCNN": (Mtcnn, "mtcnn_facenet_pytorch"),
    "UltraLight RFB-640": (UltraLight, "ultralight/version-RFB-640.onnx"),
}


class Crops(NamedTuple):
    """Aligned faces (N, 3, S, S) and the way back: each was cut from a window of its frame."""

    images: Tensor
    frames: list[int]
    corners: list[list[int]]  # left, top of the windows
    window: tuple[int, int]  # height, width of all of them
    matrices: Tensor  # (N, 2, 3) window to crop


#: A face: the index of its frame, and its five points (5, 2).
Face = tuple[int, Tensor]
#: Frames and the number of the first one in the clip -> their faces.
Finder = Callable[[Sequence[Tensor], int], list[Face]]
Change = Callable[[Tensor], Tensor]


def finder(detector: Detector) -> Finder:
    """What a detector with points finds."""
    return lambda frames, first: [(i, p) for i, each in enumerate(detector.detect_batch(frames)) for p in each.points]


def known(truth: Tensor) -> Finder:
    """What is there, by the points (frames, faces, 5, 2) of all frames."""
    return lambda frames, first: [(i, points) for i in range(len(frames)) for points in truth[first + i]]


def aligned(frames: Sequence[Tensor], faces: Sequence[Face]) -> Crops:
    """Each face cut from its uint8 frame, all in windows of the largest one's size, and aligned in one call."""
    (height, width, _), index, points = frames[0].shape, [i for i, _ in faces], torch.stack([p for _, p in faces])
    boxes = torch.tensor([crop_box(m, SIZE, (height, width)) for m in similarity(points, template(SIZE))])
    w, h = (boxes[:, 2:] - boxes[:, :2]).amax(0).clamp_min(1).tolist()
    corners = torch.minimum(boxes[:, :2], torch.tensor([width - w, height - h]))
    places = corners.tolist()
    windows = torch.stack([frames[i][y : y + h, x : x + w] for i, (x, y) in zip(index, places, strict=True)])
    points = (points - corners[:, None]).to(device())
    images = align(to_float(windows.to(device())), points, SIZE)
    return Crops(images, index, places, (h, w), similarity(points, template(SIZE)))


def put_back(frames: Sequence[Tensor], crops: Crops, changed: Tensor) -> None:
    """Blend the changed faces into the frames, in place; one after another, because faces may overlap."""
    drawn, coverage = (part.cpu() for part in restore(changed, crops.matrices, crops.window))
    h, w = crops.window
    for i, (x, y), image, share in zip(crops.frames, crops.corners, drawn, coverage, strict=True):
        view = frames[i][y : y + h, x : x + w]
        view.copy_(to_uint8(torch.lerp(to_float(view), image, share)))


@contextmanager
def encoder(path: Path, frame: Tensor, preset: str = "veryfast") -> Iterator[Callable[[Sequence[Tensor]], None]]:
    """Writes frames like ``frame`` as H.264; an odd last row or column is left out, 4:2:0 has no place for it."""
    height, width = (side // 2 * 2 for side in frame.shape[:2])
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=RATE, options={"preset": preset, "crf": "20"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"

        def encode(frames: Sequence[Tensor]) -> None:
            for each in frames:
                pixels = each[:height, :width].contiguous().numpy()
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))

        yield encode
        container.mux(stream.encode(None))


def save(path: Path, frames: Sequence[Tensor], preset: str = "veryfast") -> None:
    with encoder(path, frames[0], preset) as encode:
        encode(frames)


def read(clip: Path, count: int) -> list[Tensor]:
    return list(itertools.islice(read_video(clip), count))


def anonymize_clip(clip: Path, out: Path, find: Finder, change: Change, count: int, together: int) -> dict[str, float]:
    """``count`` frames of ``clip`` with changed faces to ``out``; seconds of each stage, closing the file encodes."""
    spent = dict.fromkeys(STAGES, 0.0)
    began = time.perf_counter()

    def done(stage: str) -> None:
        synchronize()
        spent[stage] += time.perf_counter() - began - sum(spent.values())

    source = itertools.islice(read_video(clip), count)
    first, frames = 0, list(itertools.islice(source, together))
    with encoder(out, frames[0]) as encode:
        while frames:
            done("decode")
            found = find(frames, first)
            done("detect")
            if found:
                crops = aligned(frames, found)
                done("align")
                changed = change(crops.images)
                done("anonymize")
                put_back(frames, crops, changed)
                done("put back")
            encode(frames)
            done("encode")
            first += len(frames)
            frames = list(itertools.islice(source, together))
    done("encode")
    return spent


def make(path: Path, faces: int, frames: int, width: int, height: int) -> Tensor:
    """Write a clip of so many synthetic people, each moving in a cell of its own before a moving background.

    Returns:
        Where the five points are, (frames, faces, 5, 2) pixels.
    """
    columns = math.ceil(math.sqrt(faces))
    cell = torch.tensor([width / columns, height / math.ceil(faces / columns)])
    side = round(min(0.4 * height, 0.8 * float(cell.min())))
    numbers = people_of("evaluation", faces)
    shown = [render(parameters.people([n] * MOODS), parameters.clip(n, 0, MOODS), side) for n in numbers]
    ramp = torch.linspace(-1, 1, side)
    soft = ((1 - torch.hypot(ramp[:, None], ramp)) / 0.1).clamp(0, 1)  # (side, side), a disc
    margin, ground = 16, torch.zeros(1)  # detail of several sizes costs a codec what a room does
    for size, strength in ((8, 0.2), (32, 0.1), (128, 0.06), (512, 0.04)):
        coarse = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(size)) * strength
        extent = (height + 2 * margin, width + 2 * margin)
        ground = ground + nn.functional.interpolate(coarse, extent, mode="bilinear")[0]  # (3, H, W)
    truth, clip = torch.zeros(frames, faces, 5, 2), []
    for t in range(frames):
        turn = 2 * math.pi * t / (4 * RATE)  # once in four seconds
        x, y = round(margin + margin * math.sin(turn)), round(margin + margin * math.cos(turn))
        frame = ground[:, y : y + height, x : x + width].clamp(-1, 1)
        mood = min(t % (2 * MOODS - 2), -t % (2 * MOODS - 2))
        for face, person in enumerate(shown):
            orbit = torch.tensor([math.sin(turn + face), math.cos(2 * turn + face)])
            centre = cell * (torch.tensor(divmod(face, columns)[::-1]) + 0.5) + orbit * (cell - side) / 2
            left, top = (centre - side / 2).round().long().clamp_min(0).tolist()
            frame[:, top : top + side, left : left + side].lerp_(to_float(person.images[mood]), soft)
            truth[t, face] = person.landmarks[mood] + torch.tensor([left, top])
        clip.append(to_uint8(frame))
    save(path, clip, "medium")
    return truth


def missed(results: Sequence[Detections], frames: Sequence[Tensor], truth: Tensor) -> tuple[int, int, int]:
    """Faces without a box, frames with such a face, boxes without a face; by the rule of benchmarks/detectors.py."""
    pairs = zip(results, frames, truth, strict=True)
    right = [torch.stack([hits(found, Photograph(frame, p, None)) for p in faces]) for found, frame, faces in pairs]
    unseen = [int((~each.any(1)).sum()) for each in right]  # of (faces, boxes)
    return sum(unseen), sum(count > 0 for count in unseen), sum(int((~each.any(0)).sum()) for each in right)


def cells(count: int, fast: Sequence[float], slow: Sequence[float]) -> list[str]:
    """Rates of a job of ``count`` things, in batches and one at a time, and the median of the windows' own ratios."""
    ratio = statistics.median(single / batched for batched, single in zip(fast, slow, strict=True))
    return [spread([count / s for s in fast]), spread([count / s for s in slow]), f"{ratio:.2f}"]


def in_turns(windows: int, *jobs: Callable[[], object]) -> list[list[float]]:
    """Seconds of each job in each window, after one run of each to warm up; the jobs take turns."""
    seconds: list[list[float]] = [[] for _ in jobs]
    for window in range(windows + 1):
        for job, found in zip(jobs, seconds, strict=True):
            synchronize()
            began = time.perf_counter()
            job()
            synchronize()
            if window:
                found.append(time.perf_counter() - began)
    return seconds


def chunked(job: Callable[[Any], Any], things: Any, size: int) -> list[Any]:
    """What a job gives for so many of the things at a time."""
    return [job(things[start : start + size]) for start in range(0, len(things), size)]


def compared(things: Any, windows: int, job: Callable[[Any], Any], batch: int) -> list[str]:
    """:func:`cells` of a job on the things."""
    return cells(len(things), *in_turns(windows, *(lambda n=n: chunked(job, things, n) for n in (batch, 1))))


def detectors(frames: list[Tensor], truth: Tensor | None, windows: int) -> tuple[list[str], str, Detector | None, int]:
    """A table; the first detector that gives points, by name, and how many faces it found. Rates: of a few frames."""
    chosen: tuple[str, Detector | None, int] = ("", None, 0)
    body, models = [], Path(os.environ.get("ANON_REAL", "")) / "models"
    for name, (kind, file) in DETECTORS.items():
        if not (models / file).exists():
            body.append([name, f"needs {file}", *["-"] * 5])
            continue
        detector = kind(models / file)
        results = detector.detect_batch(frames)
        faces = boxes = sum(len(found.boxes) for found in results)
        notes = ["-", "-"]
        if truth is not None:
            (lost, in_frames, boxes), there = missed(results, frames, truth), truth.shape[:2].numel()
            faces, notes = there - lost, [f"{lost} of {there}", f"{in_frames} of {len(frames)}"]
        body.append([name, *compared(frames[: 2 * BATCH], windows, detector.detect_batch, BATCH), *notes, f"{boxes}"])
        if detector.has_points and chosen[1] is None:
            chosen = name, detector, faces
    head = ["detector", f"frames/s, batches of {BATCH}", "frames/s, one at a time", "ratio", "faces missed"]
    head += ["frames with a missed face", "boxes" if truth is None else "boxes elsewhere"]
    return markdown_table(head, body), *chosen


def stages(
    clip: Path, frames: list[Tensor], find: Finder, changes: dict[str, Change], windows: int, out: Path
) -> tuple[list[str], str]:
    """A table of every stage but detection, a sentence on the outputs, and the name of the faster filter."""
    faces = find(frames, 0)
    batch = max(2, BATCH * len(faces) // len(frames))
    cut = {size: chunked(functools.partial(aligned, frames), faces, size) for size in (batch, 1)}
    images = torch.cat([crops.images for crops in cut[batch]])
    canvas = {size: [frame.clone() for frame in frames] for size in (batch, 1)}

    def restored(size: int) -> None:
        for crops in cut[size]:
            put_back(canvas[size], crops, -crops.images)

    for size in cut:
        restored(size)
    furthest = max(int((a.int() - b.int()).abs().max()) for a, b in zip(*canvas.values(), strict=True))
    decoding, encoding = in_turns(windows, lambda: read(clip, len(frames)), lambda: save(out, frames))
    restoring = in_turns(windows, lambda: restored(batch), lambda: restored(1))
    rows = {name: compared(images, windows, change, batch) for name, change in changes.items()}
    body = [
        ["decode", "frames/s", spread([len(frames) / s for s in decoding]), "-", "-"],
        ["align", "faces/s", *compared(faces, windows, functools.partial(aligned, frames), batch)],
        *([f"anonymize ({name})", "faces/s", *row] for name, row in rows.items()),
        ["put back", "faces/s", *cells(len(faces), *restoring)],
        ["encode", "frames/s", spread([len(frames) / s for s in encoding]), "-", "-"],
    ]
    lines = markdown_table(["stage", "unit", f"faces of {BATCH} frames together", "one at a time", "ratio"], body)
    lines += ["", f"Put back together and one at a time, frames differ by at most {furthest} of 255."]
    return lines, max((name for name in rows if name != "FIVA"), key=lambda name: float(rows[name][0].split()[0]))


def end_to_end(clip: Path, count: int, find: Finder, changes: dict[str, Change], windows: int, out: Path) -> list[str]:
    """Two tables: frames/s and memory of the whole loop; where its time goes."""
    rates, shares = [], []
    for name, change in changes.items():
        loop = functools.partial(anonymize_clip, clip, out, find, change, count)
        runs: dict[int, list[dict[str, float]]] = {BATCH: [], 1: []}
        memory = []
        for together in runs:
            with working_memory() as peak:  # this run warms up
                loop(together)
            memory.append(f"{peak.mib:.0f}")
        for _ in range(windows):
            for together, found in runs.items():
                found.append(loop(together))
        fast, slow = ([sum(run.values()) for run in found] for found in runs.values())
        rates.append([name, *cells(count, fast, slow), *memory])
        for together, found in runs.items():
            spent = [sum(run[stage] for run in found) for stage in STAGES]
            shares.append([f"{name}, {together} at a time", *(f"{100 * s / sum(spent):.0f}" for s in spent)])
    head = ["faces by", f"frames/s, {BATCH} at a time", "frames/s, one", "ratio", f"MiB, {BATCH} at a time", "MiB, one"]
    return [*markdown_table(head, rates), "", *markdown_table(["% of the time", *STAGES], shares)]


@torch.no_grad()
def measured(title: str, clip: Path, truth: Tensor | None, args: argparse.Namespace, folder: Path) -> list[str]:
    """The section of one clip.

    Raises:
        UserError, VideoError: no face, no detector for a clip whose faces are not known; no video.
    """
    frames = read(clip, args.frames)
    windows, (height, width, _) = 2 if args.quick else 4, frames[0].shape
    table, name, detector, faces = detectors(frames, truth, windows)
    if truth is not None and 2 * faces <= truth.shape[:2].numel():
        find, told = known(truth), "Below, the faces are at the known points: no detector at hand finds half of them."
    elif detector is not None and faces:
        find, told = finder(detector), f"Below, the faces are those that {name} finds."
    else:
        way = "let it show one, and ANON_REAL name a folder with models/yunet/yunet_n_dynamic.onnx"
        raise UserError(f"No face is found in '{clip}': {way}.")
    generator, condition, *_ = restore_generator("shipped:fiva")
    changes: dict[str, Change] = {"FIVA": Anonymizer(condition, Negation(), generator).to(device()).eval()}
    changes |= {"blur": GaussianBlur(0.1), "pixelate": Pixelate(8)}
    rest, filtered = stages(clip, frames, find, changes, windows, folder / "stage.mp4")
    changes, count = {key: changes[key] for key in ("FIVA", filtered)}, len(frames)
    del frames  # they are none of the loop's memory
    lines = [
        "",
        f"## {title}: {count} frames of {width} x {height}, {windows} windows",
        "",
        *table,
        "",
        told,
        "",
        *rest,
    ]
    lines += ["", "The stages one after another, with FIVA and with the faster filter:", ""]
    return lines + end_to_end(clip, count, find, changes, windows, folder / "changed.mp4")


def main() -> None:
    """Measure and write the report; prints it too."""
    parser = argparse.ArgumentParser(description="How fast a video is anonymized.")
    parser.add_argument("clip", type=Path, nargs="?", help="a video; without one, clips are made")
    parser.add_argument("--faces", type=int, nargs="+", default=[1, 4], help="in a frame of each clip that is made")
    parser.add_argument("--size", type=int, nargs=2, default=[1280, 720], help="of those clips: width, height")
    parser.add_argument("--seconds", type=float, default=2, help=f"of a clip, {RATE} frames each")
    parser.add_argument("--quick", action="store_true", help="two windows")
    parser.add_argument("--out", type=Path, default=REPORT)
    args = parser.parse_args()
    args.frames = round(args.seconds * RATE)
    if min(args.faces) < 1 or min(args.size) < 96 or any(side % 2 for side in args.size) or args.frames < 1:
        parser.error("at least one face and one frame, with even sides of 96 pixels or more, are needed")
    warnings.filterwarnings("ignore")
    words = [Path(word).name if Path(word).is_absolute() else word for word in sys.argv[1:]]  # no folders
    lines = ["# Video", "", f"    python {shlex.join(['benchmarks/video.py', *words])}", "", *description()]
    lines += ["", NOTES]
    try:
        with tempfile.TemporaryDirectory() as folder:
            if args.clip is not None:
                lines += measured("The named clip", args.clip, None, args, Path(folder))
            for faces in args.faces if args.clip is None else []:
                truth = make(made := Path(folder) / "made.mp4", faces, args.frames, *args.size)
                lines += measured(f"Synthetic faces, {faces} a frame", made, truth, args, Path(folder))
    except UserError as error:
        parser.error(str(error))
    except VideoError as error:
        parser.error(f"'{args.clip}' cannot be used as a video: {error}.")
    print(written(args.out, lines))


if __name__ == "__main__":
    main()
