"""What robustness of recognizers costs and gives: error rates of unchanged faces, and ranks under attack.

    python benchmarks/robustness.py synthetic_a synthetic_robust --radius 1 2

Faces are the evaluation people of ``data=synthetic_large``, whom none of the shipped recognizers has seen.
"""

from __future__ import annotations

import argparse

import torch
from hydra.utils import instantiate

from anon.apps.config import composed
from anon.identity.judge import Judge
from anon.identity.verification import evaluate_recognizer
from anon.training.robustness import WorstPicture, robust_figures


def main(names: list[str], radii: list[float], steps: int, norm: str) -> None:
    """Print one row a recognizer and radius, as Markdown."""
    config = composed("train", ["experiment=recognizer", "logger=csv"])
    data = instantiate(config.data)
    faces = data.faces("evaluation")
    print("| recognizer | EER | TAR | rank-1, unchanged | radius | rank-1 under attack | accepted |")
    print("|---|---|---|---|---|---|---|")
    for name in names:
        encoder = instantiate(composed("train", ["experiment=fiva", f"encoder={name}", "logger=csv"]).encoder)
        known = evaluate_recognizer(Judge(encoder).embed, faces)
        for radius in radii:
            found = robust_figures(encoder, faces, WorstPicture(radius, steps, 2.5 / steps, norm))
            print(
                f"| {name} | {known['eer']:.4f} | {known['tar']:.3f} | {found['clean_top1']:.3f} | {radius:g} ({norm}) "
                f"| {found['robust_top1']:.3f} | {found['robust_tar']:.3f} |",
                flush=True,
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="+", help="choices of the group encoder")
    parser.add_argument("--radius", nargs="+", type=float, default=[2.0])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--norm", choices=["l2", "linf"], default="l2")
    given = parser.parse_args()
    torch.manual_seed(0)
    main(given.names, given.radius, given.steps, given.norm)
