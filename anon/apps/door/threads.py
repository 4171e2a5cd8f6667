"""Whether several threads are slower here than one, as they are on a machine that others use.

OpenMP's threads wait for each other after each operation, and one that another program has pushed off its core keeps
all of them waiting: of 4 s a step with one thread 30 s became with two. A convolution is timed both ways, in less than
a second, and a user is told once.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable

import torch

SLOWER = 1.3  # times as slow as one thread from which on a user is told; noise of a quiet machine is below
_ROUNDS, _PASSES = 3, 2


def crowded(threads: int, seconds: Callable[[int], float], command: str) -> str | None:
    """The sentence, if ``threads`` threads are slower than one; None else, and of one thread.

    Args:
        seconds: of the same work with so many threads.
        command: what the user ran.

    >>> crowded(2, {1: 0.004, 2: 0.03}.get, "train.py")[:55]
    '2 threads are 7.5 times as slow as one on this machine,'
    """
    if threads < 2:
        return None
    ratio = seconds(threads) / max(seconds(1), 1e-9)
    if ratio < SLOWER:
        return None
    load = f" (load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores)" if hasattr(os, "getloadavg") else ""
    return (
        f"{threads} threads are {ratio:.1f} times as slow as one on this machine, which others use{load}: "
        f"OMP_NUM_THREADS=1 python {command} is faster while that lasts."
    )


def convolution(threads: int) -> float:
    """Median seconds of a few passes of a small convolution; the process has its number of threads again afterwards."""
    images, weight = torch.ones(8, 32, 64, 64), torch.ones(32, 32, 3, 3)
    before, found = torch.get_num_threads(), []
    torch.set_num_threads(threads)
    try:
        with torch.no_grad():
            torch.nn.functional.conv2d(images, weight)  # threads begin
            for _ in range(_ROUNDS):
                began = time.perf_counter()
                for _ in range(_PASSES):
                    torch.nn.functional.conv2d(images, weight)
                found.append(time.perf_counter() - began)
    finally:
        torch.set_num_threads(before)
    return statistics.median(found)
