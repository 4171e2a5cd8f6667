"""How fast the harness evaluates: ``python benchmarks/eval.py [--quick]`` writes docs/benchmarks/eval.md.

The parts by themselves, on the synthetic faces, in batches of 64 as the harness has them and one image at a time as
evaluations that pass files from program to program do (SEBA); they take turns, window by window. Then a whole
evaluation of the shipped FIVA into an empty cache, and the same again, which finds everything that the first one kept.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import shlex
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor

from anon.apps.config import composed as configuration
from anon.apps.evaluate import evaluate
from anon.apps.victims import victim_of
from anon.evaluation.embeddings import read_batch
from anon.evaluation.results import markdown_table
from anon.metrics.retrieval import ranks
from benchmarks.machine import description, device, spread, synchronize, written

BATCH = 64
REPORT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks" / "eval.md"
PEOPLE = {"train": 24, "background": 96, "evaluation": 64}
#: A job on N faces, at most so many at a time.
Job = Callable[[int], object]


def composed(cache: Path, people: dict[str, int], *more: str) -> DictConfig:
    words = ["experiment=fiva", "checkpoint=shipped:fiva", f"paths.cache={cache}", f"paths.runs={cache / 'runs'}"]
    words += [f"data.identities.{split}={count}" for split, count in people.items()]
    return configuration("evaluate", [*words, *more])


def parts(config: DictConfig) -> tuple[int, dict[str, Job]]:
    """The harness's jobs by name, and the number of faces that each is of."""
    data, where = instantiate(config.data), device()
    for split in PEOPLE:  # rendered once, before anything is measured
        data.faces(split)
    faces = data.faces("evaluation")
    indices = torch.arange(min(4 * BATCH, len(faces)))
    images = read_batch(faces, indices.tolist())["image"].to(where)
    anonymizer = victim_of(config.suite.methods.fiva, config.suite.policies.plain, data).to(where)
    judge, estimator = instantiate(config.judge).to(where), instantiate(config.attributes).to(where)

    def each(job: Callable[[Tensor], object]) -> Job:
        @torch.no_grad()
        def run(size: int) -> None:
            for part in images.split(size):
                job(part)

        return run

    def read(size: int) -> None:
        for part in indices.split(size):
            read_batch(faces, part.tolist())

    return len(indices), {
        "read": read,
        "anonymize (FIVA)": each(lambda part: anonymizer(part)),
        "embed (judge, flip-sum)": each(judge.embed),
        "read attributes": each(estimator),
    }


def in_turns(count: int, jobs: dict[str, Job], windows: int) -> list[str]:
    """A table: faces a second, batched and one at a time, and the median of the windows' own ratios."""
    body = []
    for name, job in jobs.items():
        rates: dict[int, list[float]] = {BATCH: [], 1: []}
        for window in range(windows + 1):
            for size, found in rates.items():
                synchronize()
                began = time.perf_counter()
                job(size)
                synchronize()
                if window:  # the first one warms up
                    found.append(count / (time.perf_counter() - began))
        ratio = statistics.median(ours / theirs for ours, theirs in zip(rates[BATCH], rates[1], strict=True))
        body.append([name, spread(rates[BATCH], 0), spread(rates[1], 0), f"{ratio:.1f}"])
    return markdown_table(["part", f"faces/s, batches of {BATCH}", "faces/s, one at a time", "ratio"], body)


def ranked(count: int, windows: int, dim: int = 512) -> str:
    """A line: all places of ``count`` probes in a gallery of ``count``."""
    rng = torch.Generator().manual_seed(0)
    gallery = torch.nn.functional.normalize(torch.randn(count, dim, generator=rng)).to(device())
    labels, seconds = torch.arange(count, device=gallery.device), []
    for _ in range(windows + 1):
        synchronize()
        began = time.perf_counter()
        ranks(gallery, labels, gallery, labels)
        synchronize()
        seconds.append(time.perf_counter() - began)
    return f"Ranks of {count:,} probes among {count:,} entries, {dim} numbers each: {spread(seconds[1:], 2)} s."


def whole(config: DictConfig) -> tuple[float, str]:
    """Seconds of one evaluation, and what it says of the things that it made and found."""
    said = io.StringIO()
    began = time.perf_counter()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(io.StringIO()):
        evaluate(config)
    lines = said.getvalue().splitlines()
    return time.perf_counter() - began, next(line for line in lines if line.startswith("made "))


def report(args: argparse.Namespace, folder: Path) -> list[str]:
    people = {split: count // 4 for split, count in PEOPLE.items()} if args.quick else PEOPLE
    windows = 2 if args.quick else 5
    config = composed(folder, people, *args.overrides)
    count, jobs = parts(config)
    lines = ["", f"## Parts, {config.data.size} x {config.data.size}, {count} faces a window, {windows} windows", ""]
    lines += in_turns(count, jobs, windows)
    lines += ["", ranked(1_000 if args.quick else 10_000, windows)]
    shown = ", ".join(f"{count} {split}" for split, count in people.items())
    lines += ["", f"## `evaluate.py experiment=fiva checkpoint=shipped:fiva`, people: {shown}", ""]
    body = []
    for name in ("first run, empty cache", "second run"):
        output = f"output={folder / name.partition(' ')[0]}"
        seconds, made = whole(composed(folder, people, output, *args.overrides))
        body.append([name, f"{seconds:.1f}", made])
    return [*lines, *markdown_table(["run", "seconds", "the store says"], body)]


def main() -> None:
    """Measure and write the report; prints it too."""
    parser = argparse.ArgumentParser(description="How fast the harness evaluates.")
    parser.add_argument("--quick", action="store_true", help="fewer people, two windows")
    parser.add_argument("--out", type=Path, default=REPORT)
    parser.add_argument("overrides", nargs="*", help="of the configuration")
    args = parser.parse_intermixed_args()
    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    lines = ["# The harness", "", f"    python {shlex.join(['benchmarks/eval.py', *sys.argv[1:]])}", "", *description()]
    with tempfile.TemporaryDirectory() as folder:
        lines += report(args, Path(folder))
    print(written(args.out, lines))


if __name__ == "__main__":
    main()
