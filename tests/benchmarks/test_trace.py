"""The way to an ID, in a process of its own: it is found, and does not grow unseen."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MOST = 85  # files; fewer are better


@pytest.mark.slow
def test_the_way_from_the_command_line_to_an_id() -> None:
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-c",
        "import runpy; runpy.run_module('benchmarks.trace', run_name='__main__')",
    ]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    files = [line.partition(": ")[0] for line in told if ".py: " in line]
    assert {"apps/evaluate.py", "anonymizers/composed.py", "metrics/retrieval.py"} <= set(files)
    assert told[-1].startswith(f"{len(files)} files of ") and len(files) <= MOST
