"""How fast synthetic faces are rendered: ``python benchmarks/render.py [size]``.

Two numbers: drawing alone (this process, its threads, no disk), and filling an empty cache as a run does it (one
process per core, their start included).
"""

from __future__ import annotations

import os
import platform
import statistics
import sys
import tempfile
import time

import torch

from anon.faces.synthetic import parameters
from anon.faces.synthetic.dataset import SyntheticFaces
from anon.faces.synthetic.render import BATCH, render

WINDOWS, BATCHES = 7, 8


def drawing(size: int) -> list[float]:
    """Images a second in each of the windows, after one batch to warm up."""
    numbers = list(range(BATCH))
    person, mood = parameters.people(numbers), parameters.stills(numbers, numbers)
    render(person, mood, size)
    rates = []
    for _ in range(WINDOWS):
        start = time.perf_counter()
        for _ in range(BATCHES):
            render(person, mood, size)
        rates.append(BATCHES * BATCH / (time.perf_counter() - start))
    return rates


def filling(size: int, identities: int = 256, images: int = 16) -> float:
    """Images a second into an empty cache."""
    with tempfile.TemporaryDirectory() as cache:
        faces = SyntheticFaces("train", size=size, identities=identities, images=images, cache=cache)
        start = time.perf_counter()
        faces.prepare()
        return len(faces) / (time.perf_counter() - start)


if __name__ == "__main__":
    side = int(sys.argv[1]) if len(sys.argv) > 1 else 64
    rates = drawing(side)
    machine = platform.processor() or platform.machine()
    print(f"{machine}, {os.cpu_count()} cores, torch {torch.__version__}, {side} x {side}")
    print(f"drawing, {torch.get_num_threads()} threads: median {statistics.median(rates):.0f} images/s")
    print(f"  spread {min(rates):.0f} to {max(rates):.0f} over {WINDOWS} windows of {BATCHES * BATCH} images")
    print(f"filling an empty cache: {filling(side):.0f} images/s")
