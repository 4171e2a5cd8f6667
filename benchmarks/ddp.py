"""What two processes of ``trainer=ddp`` give beside one: ``python benchmarks/ddp.py``.

One process and two train FIVA in turn, on the same machine, with the same batch in each process and one thread each, as
GPUs have it: the step of two is one of the doubled batch. Images a second are those that the run logs itself
(``train/images_per_s``: of all processes) after the first third of its steps; the ratio is the median of the rounds'
own. Two would be a machine that loses nothing to averaging gradients, to waiting for the slower process and to sharing
its memory.

    python benchmarks/ddp.py --steps 60 --rounds 3     # on two idle cores: 8 minutes
    python benchmarks/ddp.py --quick trainer.accelerator=gpu data.batch_size=16     # further words go to train.py
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.machine import description

ROOT = Path(__file__).resolve().parents[1]
RATE = "train/images_per_s"


def command(processes: int, steps: int, runs: Path, words: Sequence[str] = ()) -> list[str]:
    """The training's command line: no validation, no grid, a rate at every tenth of its steps."""
    made = [sys.executable, "-W", "ignore", str(ROOT / "train.py"), "experiment=fiva", "trainer=ddp"]
    made += [f"trainer.devices={processes}", f"steps={steps}", f"trainer.log_every_n_steps={max(1, steps // 10)}"]
    made += [f"checkpoint_every={steps}", "trainer.limit_val_batches=0", "model.cooldown=0", "model.pairing=null"]
    return [*made, "logger=csv", f"paths.runs={runs}", *words]


def rate(file: Path) -> float:
    """Median of the images a second that a run's metrics.csv tells after the first third of its steps.

    Raises:
        ValueError: it tells none.
    """
    with file.open() as opened:
        told = [(int(row["step"]), float(row[RATE])) for row in csv.DictReader(opened) if row.get(RATE)]
    if not told:
        raise ValueError(f"{file} has no {RATE}")
    last = max(step for step, _ in told)
    return statistics.median(value for step, value in told if step > last / 3)


def measured(processes: int, steps: int, words: Sequence[str]) -> float:
    """Images a second of one training, of all processes together."""
    with tempfile.TemporaryDirectory() as runs:
        subprocess.run(
            command(processes, steps, Path(runs), words),
            check=True,
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
        )
        (file,) = Path(runs).glob("train/fiva/*/metrics.csv")
        return rate(file)


def main() -> None:
    """Print the machine, the rounds and the ratio."""
    parser = argparse.ArgumentParser(description="Two processes of trainer=ddp beside one.")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round of 20 steps")
    given, words = parser.parse_known_args()
    steps, rounds = (20, 1) if given.quick else (given.steps, given.rounds)
    print("\n".join(description()))
    ratios = []
    for number in range(rounds):
        order = (1, 2) if number % 2 == 0 else (2, 1)  # what warms up or cools down hurts both
        found = {processes: measured(processes, steps, words) for processes in order}
        ratios.append(found[2] / found[1])
        print(f"round {number + 1}: one process {found[1]:.1f}, two {found[2]:.1f} images/s, {ratios[-1]:.2f} times")
    print(f"two processes give {statistics.median(ratios):.2f} times the images a second of one")


if __name__ == "__main__":
    main()
