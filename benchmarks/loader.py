"""How fast faces are loaded: ``python benchmarks/loader.py <packed> <root> <points.csv> [size]``.

The packed data set against the photographs it was made of (decoded and aligned each time, as an ImageFolder would), in
windows of five seconds; the medians' ratio says what packing brings. ``<root>`` holds ``<identity>/<photograph>``.

Then the loader with two workers against raw decoding, two processes that read and decode faces and do nothing else:
they take turns, and the median of the windows' own ratios says what sampling, collating and passing batches cost. The
loader's batches are those that go to the device, bytes; a third way makes image batches of them on this CPU, as
training does where there is no GPU. ``python benchmarks/loader.py <packed>`` does that alone, at the packed size. Every
window has processes of its own, begun alike, since one process may decode faster than the next for as long as it lives.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import platform
import statistics
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from anon.faces.alignment import align
from anon.faces.contract import Sample, float_batch, to_float
from anon.faces.datamodule import BatchStream, StepSampler
from anon.faces.images import read_image
from anon.faces.packed import Pack, PackedFaces
from anon.faces.points import read_points

BATCH, WINDOWS, SECONDS = 32, 3, 5.0
WARM = 16  # batches a worker that are not counted: its first ones touch new memory


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


def packed(root: Path, size: int, workers: int, threads: int) -> Iterator[Sample]:
    """Endless training batches, as they go to the device."""
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


def decode(root: Path, size: int, seconds: float, seed: int) -> float:
    """Faces a second of reading and decoding at random, in one process."""
    faces = PackedFaces(root, "train", size=size)
    rows = faces._rows[np.random.default_rng(seed).permutation(len(faces))]
    faces.pack.frame(int(rows[0]), faces._part)
    start, count = time.perf_counter(), 0
    for row in itertools.cycle(rows.tolist()):
        if time.perf_counter() - start >= seconds:
            break
        faces.pack.frame(row, faces._part)
        count += 1
    return count / (time.perf_counter() - start)


def handed_out(root: Path, size: int, workers: int, seconds: float, floats: bool = False) -> float:
    """Batches' faces a second of a new loader, once the workers have written to all of their memory."""
    batches = packed(root, size, workers, 1)
    for _ in range(WARM * workers):
        next(batches)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        batch = next(batches)
        if floats:
            float_batch(batch)
        count += BATCH
    return count / (time.perf_counter() - start)


def decoded(root: Path, size: int, workers: int, seconds: float, seed: int) -> float:
    """Faces a second of new processes that decode, together."""
    seeds = range(seed * workers, (seed + 1) * workers)
    with ProcessPoolExecutor(workers, multiprocessing.get_context()) as processes:  # begun as a loader's are
        list(processes.map(decode, [root] * workers, [size] * workers, [0.2] * workers, seeds))
        return sum(processes.map(decode, [root] * workers, [size] * workers, [seconds] * workers, seeds))


def against_decoding(root: Path, size: int, workers: int = 2, windows: int = 15, seconds: float = 3.0) -> list[str]:
    """Lines: rates of the loader as it is and with image batches made here, of raw decoding, and the median ratios."""
    rates: dict[str, list[float]] = {"loader": [], "raw decoding": [], "loader, floats on this CPU": []}
    for window in range(windows):  # raw decoding between the two, as the machine's own speed drifts
        rates["loader"].append(handed_out(root, size, workers, seconds))
        rates["raw decoding"].append(decoded(root, size, workers, seconds, window))
        rates["loader, floats on this CPU"].append(handed_out(root, size, workers, seconds, floats=True))
    lines = [
        f"{name}, {workers} processes: median {statistics.median(found):.0f} images/s "
        f"({min(found):.0f} to {max(found):.0f})"
        for name, found in rates.items()
    ]
    for name in ("loader", "loader, floats on this CPU"):
        ratios = [ours / raw for ours, raw in zip(rates[name], rates["raw decoding"], strict=True)]
        middle, least, most = (100 * share for share in (statistics.median(ratios), min(ratios), max(ratios)))
        lines.append(f"{name}: {middle:.0f} % of raw decoding ({least:.0f} to {most:.0f})")
    return lines


def main() -> None:
    """Print the rates."""
    pack = Path(sys.argv[1])
    side = int(sys.argv[4]) if len(sys.argv) > 4 else 112 if len(sys.argv) > 2 else int(Pack(pack).info["size"])
    torch.set_num_threads(1)
    load = os.getloadavg()[0]
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, {side} px")
    print(f"load average {load:.1f}")
    if len(sys.argv) > 2:
        against_photographs(pack, Path(sys.argv[2]), Path(sys.argv[3]), side)
    print(*against_decoding(pack, side), sep="\n")


def against_photographs(pack: Path, root: Path, points: Path, side: int) -> None:
    """Print every way of loading, one after the other."""
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


if __name__ == "__main__":
    main()
