"""What the tests of prepare share: rendered photographs with their points, a detector that misbehaves, the command."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from anon.faces.detection.contract import Detections
from anon.faces.points import OURS
from anon.faces.synthetic import parameters
from anon.faces.synthetic.render import render

ROOT = Path(__file__).resolve().parents[3]
POINTS = torch.tensor([[30.0, 40.0], [62.0, 40.0], [46.0, 56.0], [34.0, 74.0], [58.0, 74.0]])
#: Colour of a picture's first pixel to what :class:`Misbehaving` does with the picture.
CRASH, HANG, NOTHING = (255, 0, 0), (0, 255, 0), (0, 0, 255)


class Misbehaving:
    """Finds the same face in every frame, except where the first pixel tells otherwise."""

    name, has_points = "misbehaving", True

    def detect(self, frame: Tensor) -> Detections:
        first = tuple(frame[0, 0].tolist())
        if first == CRASH:
            os.kill(os.getpid(), signal.SIGSEGV)
        if first == HANG:
            time.sleep(600)
        count = 0 if first == NOTHING else 1
        box = torch.tensor([[20.0, 20.0, 72.0, 90.0]])
        return Detections(box[:count], POINTS[None][:count], torch.tensor([0.9])[:count])

    def detect_batch(self, frames: Sequence[Tensor]) -> list[Detections]:
        return [self.detect(frame) for frame in frames]


MISBEHAVING = {"_target_": "tests.faces.prepare.material.Misbehaving"}


def photographs(root: Path, people: int, each: int, size: int = 96) -> Path:
    """Write ``root/p00/0.png`` ... and the CSV of their points, whose path is returned."""
    who = [person for person in range(people) for _ in range(each)]
    count = list(range(people * each))
    rendered = render(parameters.people(who), parameters.stills(who, count, occluders=0.0), size)
    path = root.parent / f"{root.name}.csv"
    with open(path, "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", *(f"{point}_{axis}" for point in OURS for axis in "xy")])
        for i, person in enumerate(who):
            name = f"p{person:02d}/{i % each}.png"
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rendered.images[i].numpy()).save(root / name)
            table.writerow([name, *np.round(rendered.landmarks[i].flatten().numpy(), 3).tolist()])
    return path


def command(*arguments: object, **environment: str) -> subprocess.Popen[str]:
    """The command, in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "anon.faces.prepare", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def content(out: Path) -> dict[str, bytes]:
    """Everything that a packed data set consists of."""
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and not path.name.endswith(".lock")
    }
