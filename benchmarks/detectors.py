"""Detectors on real photographs: ``ANON_REAL=<folder> python benchmarks/detectors.py --real [--lfw 400] [--face 40]``.

Prints a Markdown table. Truth on LFW is the box and the points of ``faces/_meta/lfw_index.csv``, which YuNet made: it
is not independent of YuNet. Truth on the London set is its template points, without boxes: there a face is found
when a box holds all five points, and is at most 3.5 times as wide and 4.5 times as high as they are.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import statistics
import time
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from anon.faces.detection.centerface import CenterFace
from anon.faces.detection.contract import Detections, Detector
from anon.faces.detection.mtcnn import Mtcnn
from anon.faces.detection.retinaface import RetinaFace
from anon.faces.detection.ultralight import UltraLight
from anon.faces.detection.yunet import YuNet
from anon.faces.images import read_image

IOU = 0.4
FACE = 90  # pixels, the width of a face in LFW


class Photograph(NamedTuple):
    """One picture with its truth."""

    frame: Tensor
    points: Tensor  # (5, 2)
    box: Tensor | None  # (4,)


def lfw(folder: Path, count: int, face: int = FACE) -> list[Photograph]:
    """``count`` photographs at a fixed stride through the index, shrunk until faces are about ``face`` px wide."""
    scale = face / FACE
    with (folder / "faces/_meta/lfw_index.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    found = []
    for row in rows[:: max(1, len(rows) // count)][:count]:
        x, y, w, h = (float(row[key]) for key in "xywh")
        five = [[float(row[f"{name}_{axis}"]) for axis in "xy"] for name in ("re", "le", "n", "rm", "lm")]
        pixels = read_image(folder / "faces/lfw" / row["file"]).numpy()
        if scale != 1:
            pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        box = torch.tensor([x, y, x + w, y + h]) * scale
        found.append(Photograph(torch.from_numpy(pixels), torch.tensor(five) * scale, box))
    return found


def london(folder: Path) -> list[Photograph]:
    """All photographs of the London set."""
    rows = json.loads((folder / "faces/_meta/london_index.json").read_text())
    return [
        Photograph(
            read_image(folder / "faces/london" / Path(row["file"]).relative_to("face512_shared")),
            torch.tensor(row["five"]),
            None,
        )
        for row in rows
    ]


def hits(found: Detections, photograph: Photograph) -> Tensor:
    """Which of the boxes (N,) is the annotated face."""
    boxes = found.boxes
    if photograph.box is None:
        low, high = photograph.points.amin(0), photograph.points.amax(0)
        inside = (boxes[:, :2] <= low).all(1) & (boxes[:, 2:] >= high).all(1)
        return inside & (boxes[:, 2:] - boxes[:, :2] <= (high - low) * torch.tensor([3.5, 4.5])).all(1)
    shared = (torch.minimum(boxes[:, 2:], photograph.box[2:]) - torch.maximum(boxes[:, :2], photograph.box[:2])).clamp(
        0
    )
    area = shared.prod(1)
    whole = (boxes[:, 2:] - boxes[:, :2]).prod(1) + (photograph.box[2:] - photograph.box[:2]).prod() - area
    return area / whole >= IOU


def measure(detector: Detector, photographs: list[Photograph]) -> list[str]:
    """Recall, point error, further boxes a photograph, frames a second of processor time."""
    detector.detect(photographs[0].frame)
    start = time.process_time()
    results = detector.detect_batch([photograph.frame for photograph in photographs])
    rate = len(photographs) / (time.process_time() - start)
    recalled, errors, others = 0, [], 0
    for found, photograph in zip(results, photographs, strict=True):
        right = hits(found, photograph)
        recalled += bool(right.any())
        others += len(right) - bool(right.any())
        if right.any() and detector.has_points:
            eyes = (photograph.points[0] - photograph.points[1]).norm()
            best = found.points[right][0]
            errors.append(float((best - photograph.points).norm(dim=1).mean() / eyes) * 100)
    error = f"{np.mean(errors):.1f} / {statistics.median(errors):.1f}" if errors else "-"
    return [f"{100 * recalled / len(photographs):.1f}", error, f"{others / len(photographs):.3f}", f"{rate:.0f}"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", action="store_true", required=True, help="read the folder named by ANON_REAL")
    parser.add_argument("--lfw", type=int, default=400, help="how many LFW photographs")
    parser.add_argument("--face", type=int, default=FACE, help="width of their faces in pixels (%(default)s)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    root = Path(os.environ["ANON_REAL"])
    models = root / "models"
    detectors: list[tuple[str, Detector]] = [
        ("CenterFace", CenterFace()),
        ("YuNet", YuNet(models / "yunet/yunet_n_dynamic.onnx")),
        ("RetinaFace MobileNet-0.25", RetinaFace(models / "retinaface_mnet025/mobilenet0.25_Final.pth")),
        ("MTCNN", Mtcnn(models / "mtcnn_facenet_pytorch")),
        ("UltraLight RFB-640", UltraLight(models / "ultralight/version-RFB-640.onnx")),
        ("UltraLight slim-320", UltraLight(models / "ultralight/version-slim-320.onnx")),
    ]
    sets = (lfw(root, arguments.lfw, arguments.face), london(root))
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, one thread")
    print(f"{len(sets[0])} LFW photographs (index by YuNet), {len(sets[1])} of the London set (points by hand)\n")
    columns = ("recall %", "point error %, mean / median", "other boxes a photograph", "frames/CPU-s")
    print("| detector | " + " | ".join(f"{name} {column}" for name in ("LFW", "London") for column in columns) + " |")
    print("|---" * 9 + "|")
    for name, detector in detectors:
        print(f"| {name} | " + " | ".join(cell for each in sets for cell in measure(detector, each)) + " |", flush=True)
