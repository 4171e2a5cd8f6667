"""Freed tensors are used again: hardly a page is new after some rounds. In processes of their own."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
ROUNDS = """
import resource, sys
import torch
from anon.apps.launch.memory import keep_freed_memory

assert keep_freed_memory() is (sys.argv[1] == "kept")
torch.set_num_threads(1)
for turn in range(15):
    parts = [torch.zeros(2 << 20) for _ in range(4)]  # 32 MiB, 8,192 pages
    del parts
    if turn == 4:  # the heap has found its shape
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 10)
"""


def new_pages(kind: str, **environment: str) -> float:
    """A round's, after the first five."""
    env = {name: value for name, value in os.environ.items() if "MALLOC" not in name and name != "LD_PRELOAD"}
    command = [sys.executable, "-W", "ignore", "-c", ROUNDS, kind]
    done = subprocess.run(command, cwd=ROOT, env={**env, **environment}, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return float(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_pages_are_used_again() -> None:
    assert new_pages("kept") < 100
    # A threshold of the user's own is left alone, with what it costs.
    assert new_pages("left", MALLOC_TRIM_THRESHOLD_="131072", MALLOC_MMAP_THRESHOLD_="131072") > 4_000
