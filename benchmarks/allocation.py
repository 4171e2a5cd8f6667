"""What :func:`anon.apps.launch.memory.keep_freed_memory` brings: fresh processes in turns, with it and without.

A part of ``python benchmarks/train_step.py``. Its own measurements keep freed memory in every way, so no ratio there
contains this.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import statistics
import subprocess
import sys
import warnings
from pathlib import Path

from anon.apps.launch.memory import keep_freed_memory
from anon.evaluation.results import markdown_table
from benchmarks.machine import spread
from benchmarks.ways import ALL, LITERAL, Runner, Setting

WAYS = {way.name: way for way in (LITERAL, ALL)}


def kept_against_default(experiment: str, words: list[str], size: int, windows: int, steps: int) -> list[str]:
    """A table of images a second and new pages a step of the published step and of ours."""
    rates: dict[tuple[str, bool], list[float]] = {}
    pages: dict[tuple[str, bool], list[float]] = {}
    for window in range(windows):
        for name in WAYS:
            for keeps in (True, False) if window % 2 else (False, True):
                found = _in_a_process([experiment, words, size, name, keeps, steps])
                rates.setdefault((name, keeps), []).append(found["rate"])
                pages.setdefault((name, keeps), []).append(found["pages"])
    body = []
    for name in WAYS:
        ratios = [kept / left for kept, left in zip(rates[name, True], rates[name, False], strict=True)]
        row = [name]
        for keeps in (False, True):
            row += [spread(rates[name, keeps]), f"{statistics.median(pages[name, keeps]):,.0f}"]
        body.append([*row, f"{statistics.median(ratios):.2f}"])
    head = ["way", "images/s, glibc's default", "new pages a step", "images/s, kept", "new pages a step", "ratio"]
    return markdown_table(head, body)


def _in_a_process(asked: list[object]) -> dict[str, float]:
    root = Path(__file__).resolve().parents[1]
    env = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.allocation", json.dumps(asked)]
    done = subprocess.run(command, cwd=root, env=env, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """In the process: print images a second and new pages a step, after two windows that warm up."""
    experiment, words, size, name, keeps, steps = json.loads(sys.argv[1])
    warnings.filterwarnings("ignore")
    for logger in ("pytorch_lightning", "lightning.pytorch"):
        logging.getLogger(logger).setLevel(logging.ERROR)
    if keeps:
        keep_freed_memory()
    setting = Setting(experiment, words)
    runner, batches = Runner(WAYS[name], setting), setting.batches(size)
    for _ in range(2):
        runner.run(batches, steps)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    seconds = runner.run(batches, steps)[0]
    pages = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    print(json.dumps({"rate": steps * size / seconds, "pages": pages / (steps + 1)}))  # the run warms up for one step


if __name__ == "__main__":
    main()
