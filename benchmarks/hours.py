"""How long a training of the papers takes on GPUs, from counted operations: ``python benchmarks/hours.py``.

Operations of one step of each experiment at ``scale=paper`` are counted on a CPU (products and convolutions, forward
and backward, batch 2, R1 every eighth step times eight), times the pictures that the recipe sees, over a rate at which
a GPU was seen to do them. docs/vggface2.md shows the table.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Sequence

import torch

from anon.evaluation.results import markdown_table
from benchmarks.published import PUBLISHED
from benchmarks.train_step import operations
from benchmarks.ways import BEST, Setting

#: FLOP/s at which one H200 did FIVA's step, docs/benchmarks/train_step_h200.md: 101.9 images/s of 627.11 GFLOP.
SEEN = 101.9 * 627.11e9


def rows(experiments: Sequence[str], rate: float, gpus: int) -> list[list[str]]:
    """A row an experiment: operations a picture, pictures, hours of one GPU and of several without any loss.

    Args:
        rate: FLOP/s of one GPU.
    """
    body = []
    for name in experiments:
        words = ["scale=paper", "encoder.weights=random", "data.batch_size=2"]
        each = operations(BEST, Setting(name, words))
        recipe = Setting(name, ["scale=paper"]).config
        pictures = int(recipe.steps) * int(recipe.data.batch_size)
        hours = each * pictures / rate / 3600
        steps = f"{int(recipe.steps):,} of {int(recipe.data.batch_size)}"
        body.append([name, f"{each / 1e9:.0f}", steps, f"{pictures / 1e6:.1f}", f"{hours:.1f}", f"{hours / gpus:.1f}"])
    return body


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Hours of the papers' trainings, from counted operations.")
    parser.add_argument("--experiments", nargs="+", choices=list(PUBLISHED), default=list(PUBLISHED))
    parser.add_argument("--tflops", type=float, default=SEEN / 1e12, help="TFLOP/s of one GPU, as it was seen to work")
    parser.add_argument("--gpus", type=int, default=8)
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.manual_seed(0)
    head = ["experiment", "GFLOP/picture", "steps", "million pictures", "hours, one GPU", f"hours, {given.gpus} GPUs"]
    print("\n".join(markdown_table(head, rows(given.experiments, given.tflops * 1e12, given.gpus))))


if __name__ == "__main__":
    main()
