"""How fast faces are loaded: ``python benchmarks/loader.py <packed> <root> <points.csv> [size]``.

The packed data set against the photographs it was made of (decoded and aligned each time, as an ImageFolder would), in
windows of five seconds; the medians' ratio says what packing brings. ``<root>`` holds ``<identity>/<photograph>``.
"""

from __future__ import annotations

import itertools
import os
import platform
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from anon.faces.alignment import align
from anon.faces.contract import to_float
from anon.faces.datamodule import BatchStream, StepSampler
from anon.faces.images import read_image
from anon.faces.packed import PackedFaces
from anon.faces.points import read_points

BATCH, WINDOWS, SECONDS = 32, 3, 5.0


class Photographs(Dataset[Tensor]):
    """Read, decode and align, every time."""

    def __init__(self, root: Path, points: Path, size: int) -> None:
        self.root, self.size, self.table = root, size, list(read_points(points).items())

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> Tensor:
        name, points = self.table[index]
        image = to_float(read_image(self.root / name))[None]
        return align(image, torch.from_numpy(points)[None], self.size)[0]


def rate(batches: Iterator[object]) -> list[float]:
    """Images a second in each window, after two batches to warm up."""
    next(batches), next(batches)
    rates = []
    for _ in range(WINDOWS):
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < SECONDS:
            next(batches)
            count += BATCH
        rates.append(count / (time.perf_counter() - start))
    return rates


def packed(root: Path, size: int, workers: int, threads: int) -> Iterator[object]:
    """Endless training batches, as training gets them."""
    faces = PackedFaces(root, "train", size=size, threads=threads)
    stream = BatchStream(faces, StepSampler(len(faces), BATCH, seed=0), workers)
    return itertools.chain.from_iterable(itertools.repeat(stream))


def photographs(root: Path, points: Path, size: int, workers: int) -> Iterator[object]:
    """Endless shuffled batches."""
    loader = DataLoader(
        Photographs(root, points, size),
        BATCH,
        True,
        num_workers=workers,
        drop_last=True,
        persistent_workers=workers > 0,
    )
    return itertools.chain.from_iterable(itertools.repeat(loader))


if __name__ == "__main__":
    pack, root, points = (Path(argument) for argument in sys.argv[1:4])
    side = int(sys.argv[4]) if len(sys.argv) > 4 else 112
    torch.set_num_threads(1)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, {side} px")
    for name, batches in (
        ("photographs, 0 workers", photographs(root, points, side, 0)),
        ("photographs, 2 workers", photographs(root, points, side, 2)),
        ("packed, 0 workers", packed(pack, side, 0, 1)),
        ("packed, 0 workers, 2 threads", packed(pack, side, 0, 2)),
        ("packed, 1 worker", packed(pack, side, 1, 1)),
        ("packed, 2 workers", packed(pack, side, 2, 1)),
    ):
        rates = rate(batches)
        print(
            f"{name}: median {statistics.median(rates):.0f} images/s ({min(rates):.0f} to {max(rates):.0f})", flush=True
        )
        del batches
