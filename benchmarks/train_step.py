"""Our training steps against the published ones: ``python benchmarks/train_step.py [--quick]``.

Four experiments, each as :mod:`benchmarks.published` has it and as ``train.py`` runs it (a real Trainer, its loop
included), with the same weights, batches and random draws. First the losses of several float32 steps must be equal to
1e-5. Then the ways take turns, window by window, so that a busy machine hurts all alike; a ratio is the median of the
windows' own ratios. Then the same with the real loader, and the losses of a short training with each.

    python benchmarks/train_step.py                                    # writes docs/benchmarks/train_step.md
    sh benchmarks/gpu.sh <folder>                                      # a GPU, at the papers' sizes, in minutes

The papers' recipes: no view, no gradient clipping, constant rate. Images are targets that both networks learned from.
"""

from __future__ import annotations

import argparse
import logging
import shlex
import statistics
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from anon.apps.launch.memory import keep_freed_memory
from anon.errors import UserError
from anon.evaluation.results import markdown_table
from benchmarks.allocation import kept_against_default
from benchmarks.limits import busiest
from benchmarks.machine import CountedOperations, allow_tf32, description, matmul_peak, spread, working_memory, written
from benchmarks.published import PUBLISHED
from benchmarks.ways import ALL, BEST, COMPILED, FASTER, LAZY, LITERAL, SAME, Runner, Setting, Way, endless, ways

#: Of the losses' equality, relative above 1. The rate is small there, because Adam divides a gradient by its own size:
#: at the recipe's rate the rounding noise in a gradient near 0 becomes a whole step, and the runs drift apart.
TOLERANCE, CHECKED, CHECK_RATE = 1e-5, 6, ["model.lr=1e-6", "model.d_lr=1e-6"]
REPORT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks" / "train_step.md"
ABOUT = """\
An image is a target that both networks learned from in one complete step. The ways take turns in {windows} windows of
{steps} steps after a warm-up; rates are the windows' median and range, `x published` is the median of the windows' own
ratios. Operations are counted (2 a multiplication and addition, of products and convolutions), MFU is that count a
second over the measured peak of the same precision{datasheet}.
Memory is what a step needs above weights and optimizers.
`published` is the step of the papers' code in eager PyTorch with its order of operations within blocks; `our blocks`
the same step on our networks; each `+` keeps what is above it. Lazy R1 is every {lazy} steps, times {lazy}.
On a CPU all ways keep the memory that a step frees, the published one too: see the last section.
"""


def furthest(found: Sequence[dict[str, float]], wanted: Sequence[dict[str, float]]) -> float:
    """The largest difference of a loss over the steps, relative where it is above 1; of R1 the median.

    R1 is of a slope, which jumps where rounding puts an activation on the other side of a leaky ReLU's kink. What is
    logged of same pairs is of the last step that had some; where this one has none (0), it is left out.
    """
    apart: dict[str, list[float]] = {}
    for ours, theirs in zip(found, wanted, strict=True):
        for name, value in theirs.items():
            if value != 0:
                apart.setdefault(name, []).append(abs(ours[name] - value) / max(1.0, abs(value)))
    return max(statistics.median(values) if name == "r1" else max(values) for name, values in apart.items())


def check_losses(setting: Setting) -> dict[str, float]:
    """The largest difference of float32 losses to the published step's, by way."""
    batches = setting.batches(8, CHECKED)
    wanted = Runner(LITERAL, setting, *CHECK_RATE).run(batches, CHECKED, 0, 1)[1]
    apart = {}
    for way in (SAME, FASTER):
        apart[way.name] = furthest(Runner(way, setting, *CHECK_RATE).run(batches, CHECKED, 0, 1)[1], wanted)
    return apart


def unequal(experiment: str, apart: dict[str, float]) -> list[str]:
    """A sentence for each way whose losses are further from the published step's than :data:`TOLERANCE`, or NaN."""
    wrong = {way: figure for way, figure in apart.items() if not figure <= TOLERANCE}
    return [
        f"{experiment}: losses of '{way}' are {figure:.1e} off, more than {TOLERANCE}." for way, figure in wrong.items()
    ]


def operations(way: Way, setting: Setting) -> float:
    """Counted operations an image, the mean over R1's period."""
    eager = tuple(word for word in way.overrides if word != "model.compile=true")
    runner = Runner(replace(way, overrides=eager), setting)
    steps = LAZY if BEST.overrides[0] in way.overrides else 1
    with CountedOperations() as counted:
        runner.run(setting.batches(2, 1), steps, 0)
    return counted.total / steps / 2


@dataclass
class Measured:
    """One way in one setting: images a second by window, their ratios to the first way's, memory, operations."""

    way: Way
    rates: list[float]
    ratios: list[float]
    mib: float
    operations: float
    refused: str = ""


def measure(
    setting: Setting,
    batches: Any,
    size: int,
    chosen: list[Way],
    windows: int,
    steps: int,
    counts: dict[str, float] | None = None,
) -> list[Measured]:
    """All ways in turn, forwards and backwards; the first round warms up and measures memory.

    Args:
        chosen: the first is the one that the others' ratios are of.
        counts: operations an image by way, of which those missing are counted and added.
    """
    runners, found = [], {}
    counts = {} if counts is None else counts
    for way in chosen:
        runner = Runner(way, setting)
        try:
            with working_memory() as peak:
                runner.run(batches, steps)
        except UserError as error:  # a compiler whose gradients are wrong
            found[way.name] = Measured(way, [], [], peak.mib, 0, str(error))
            continue
        runners.append(runner)
        if way.name not in counts:
            counts[way.name] = operations(way, setting)
        found[way.name] = Measured(way, [], [], peak.mib, counts[way.name])
    for window in range(windows):
        for runner in runners if window % 2 == 0 else runners[::-1]:
            found[runner.way.name].rates.append(steps * size / runner.run(batches, steps)[0])
        for part in found.values():
            if part.rates:
                part.ratios.append(part.rates[-1] / found[chosen[0].name].rates[-1])
    return list(found.values())


def loader_rates(data: Any, size: int, windows: int, steps: int) -> list[float]:
    """Images a second of the loader alone."""
    batches, rates = endless(data), []
    next(batches)
    for _ in range(windows):
        began = time.perf_counter()
        for _ in range(steps):
            next(batches)
        rates.append(steps * size / (time.perf_counter() - began))
    return rates


def curves(setting: Setting, data: Any, steps: int, segments: int = 5) -> list[str]:
    """Losses of a training at the recipe's rate, means of segments: published, ours in float32, all of ours."""
    runs = {way.name: Runner(way, setting).run(data, steps, 0, 1)[1] for way in (LITERAL, SAME, ALL)}
    names = [name for name in runs[LITERAL.name][0] if name != "r1"]
    body = []
    for part in range(segments):
        rows = slice(part * steps // segments, (part + 1) * steps // segments)
        for name, losses in runs.items():
            # A published step without same pairs has a 0, ours keep the figure of the last one that had some.
            seen = {term: [step[term] for step in losses[rows] if step[term] != 0] for term in names}
            means = [statistics.fmean(seen[term] or [0.0]) for term in names]
            body.append([f"{rows.start + 1} to {rows.stop}", name, *(f"{mean:.3f}" for mean in means)])
    return markdown_table(["steps", "way", *names], body)


def table(found: list[Measured], peaks: dict[str, float], datasheet: dict[str, float]) -> list[str]:
    """Both peaks in FLOP/s, by precision; MFU is of the measured one, in brackets of the datasheet's."""
    versus = f"x {found[0].way.name}"
    head = ["way", "precision", "images/s, median (range)", versus, "GFLOP/image", "MFU", "memory, MiB"]
    body = []
    for part in found:
        if part.refused:
            body.append([part.way.name, part.way.precision, "refused", part.refused, "", "", ""])
            continue
        rate = statistics.median(part.rates) * part.operations
        share = f"{100 * rate / peaks[part.way.precision]:.0f} %"
        if part.way.precision in datasheet:
            share += f" ({100 * rate / datasheet[part.way.precision]:.0f} %)"
        figures = [spread(part.rates), f"{statistics.median(part.ratios):.2f}", f"{part.operations / 1e9:.2f}"]
        body.append([part.way.name, part.way.precision, *figures, share, f"{part.mib:.0f}"])
    return markdown_table(head, body)


def experiment(name: str, args: argparse.Namespace, peaks: dict[str, float]) -> Iterator[list[str]]:
    """One experiment's part of the report in pieces: each is written before the next one is measured."""
    settings = {size: Setting(name, words(args, size)) for size in args.batch}
    first, last = settings[args.batch[0]], settings[args.batch[-1]]
    side, size = int(first.config.data.size), args.batch[-1]
    yield ["", f"## {name}, {side} x {side}", ""]
    if not args.without_check:
        apart = check_losses(first)
        args.wrong += unequal(name, apart)
        said = "; ".join(f"{way} {figure:.1e}" for way, figure in apart.items())
        yield [f"Largest difference of a loss to the published step's over {CHECKED} steps in float32: {said}."]
    counts: dict[str, float] = {}
    ladder = [way for way in ways() if not args.ways or way.name in args.ways]
    for size, setting in settings.items():
        say(f"{name}, batch {size}")
        found = measure(setting, setting.batches(size), size, ladder, args.windows, args.steps, counts)
        yield ["", f"Batch {size}, synthetic batches on the device:", "", *table(found, peaks, args.datasheet)]
    if args.profile:
        say(f"{name}, profile")
        lines = busiest(Runner(BEST, last), last.batches(size), args.steps)
        yield ["", f"Batch {size}, '{BEST.name}': {lines[0]}", *lines[1:]]
    if args.compile:
        say(f"{name}, compiled")
        found = measure(last, last.batches(size), size, [BEST, COMPILED], args.windows, args.steps, counts)
        yield ["", f"Batch {size}, synthetic batches, compiled:", "", *table(found, peaks, args.datasheet)]
    if not args.without_loader:
        say(f"{name}, the real loader")
        data = last.data()
        alone = loader_rates(data, size, args.windows, args.steps)
        found = measure(last, data, size, [LITERAL, ALL], args.windows, args.steps, counts)
        rows = table(found, peaks, args.datasheet)
        yield ["", f"Batch {size}, the real loader (alone {spread(alone)} images/s):", "", *rows]
        say(f"{name}, curves")
        rows = curves(first, first.data(), args.curve_steps)
        yield ["", f"Losses of {args.curve_steps} steps of {args.batch[0]} at the recipe's rate:", "", *rows]
    parts = ["data", "encoder", "generator", "discriminator", "objective", "model"]
    plain = OmegaConf.to_yaml(OmegaConf.masked_copy(last.config, parts))
    yield ["", "<details><summary>configuration</summary>", "", "```yaml", plain.rstrip(), "```", "</details>"]


def freed_memory(args: argparse.Namespace) -> list[str]:
    """What keeping freed memory brings on a CPU, of the first experiment."""
    if torch.cuda.is_available():
        return []
    name, size = args.experiments[0], args.batch[0]
    say(f"{name}, freed memory")
    found = kept_against_default(name, words(args, size), size, min(args.windows, 3), args.steps)
    return ["", f"## Freed memory, {name}, batch {size}, fresh processes in turns", "", *found]


def words(args: argparse.Namespace, size: int) -> list[str]:
    """Overrides of an experiment's configuration."""
    found = [f"scale={args.scale}", *args.overrides, f"data.batch_size={size}"]
    found += [] if args.size is None else [f"data.size={args.size}"]
    return found + (["encoder.weights=random"] if args.scale == "paper" else [])


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Our training steps against the published ones.")
    parser.add_argument("--experiments", nargs="+", choices=list(PUBLISHED), default=list(PUBLISHED))
    parser.add_argument("--batch", nargs="+", type=int, default=[8, 16], help="images a step")
    parser.add_argument("--size", type=int, help="side of the images; default: the configuration's")
    parser.add_argument("--scale", choices=["default", "paper"], default="default")
    parser.add_argument("--windows", type=int, default=5)
    parser.add_argument("--steps", type=int, default=LAZY, help=f"of a window, a multiple of {LAZY}")
    parser.add_argument("--curve-steps", type=int, default=100)
    parser.add_argument(
        "--ways", nargs="+", choices=[way.name for way in ways()], help="only these, the first included"
    )
    parser.add_argument("--compile", action="store_true", help="with torch.compile too, at the last batch size")
    parser.add_argument("--profile", action="store_true", help="the busiest kernels, at the last batch size")
    parser.add_argument("--datasheet", nargs="+", default=[], metavar="NAME=TFLOPS", help="peaks: bf16=990 tf32=495")
    parser.add_argument("--without-check", action="store_true", help="do not compare losses first")
    parser.add_argument("--without-loader", action="store_true", help="neither the real loader nor the curves")
    parser.add_argument("--quick", action="store_true", help="two windows, one batch size, no loader")
    parser.add_argument("--out", type=Path, default=REPORT)
    parser.add_argument("overrides", nargs="*", help="of the configuration: data=packed data.root=<folder>")
    args = parser.parse_intermixed_args()
    if args.steps % LAZY:
        parser.error(f"--steps must be a multiple of {LAZY}, R1's period")
    try:
        peaks = (word.split("=") for word in args.datasheet)
        args.datasheet = {name: float(value) * 1e12 for name, value in peaks}
    except ValueError:
        parser.error("--datasheet needs <precision>=<TFLOP/s>")
    if args.ways and LITERAL.name not in args.ways:
        args.ways.append(LITERAL.name)
    args.wrong = []  # sentences about unequal losses
    if args.quick:
        args.windows, args.batch, args.without_loader = 2, args.batch[:1], True
    return args


def main() -> None:
    """Measure and write the report; prints it too. Exits with 1 where losses were not equal, after all else."""
    args = arguments()
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.fabric", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    keep_freed_memory()
    torch.backends.cudnn.benchmark = torch.cuda.is_available()  # as trainer=gpu has it, for all ways
    lines = ["# The training step", "", f"    python {shlex.join(['benchmarks/train_step.py', *sys.argv[1:]])}", ""]
    lines += description()
    peaks = {}
    for precision in ("fp32", "bf16", *(["tf32"] if torch.cuda.is_available() else [])):
        allow_tf32(precision == "tf32")
        peaks[precision] = matmul_peak(torch.bfloat16 if precision == "bf16" else torch.float32)
    said = ", ".join(f"{name} {peak / 1e9:.0f} GFLOP/s" for name, peak in peaks.items())
    lines += [f"- measured peak of a square product, which MFU is a share of: {said}", ""]
    sheet = ", in brackets over the datasheet's" if args.datasheet else ""
    lines += ABOUT.format(windows=args.windows, steps=args.steps, lazy=LAZY, datasheet=sheet).splitlines()
    for name in args.experiments:
        for piece in experiment(name, args, peaks):
            lines += piece
            written(args.out, lines)  # after each, so that what was measured is not lost
    lines += freed_memory(args)
    print(written(args.out, lines))
    say(f"written to {args.out}")
    if args.wrong:
        raise SystemExit(" ".join(args.wrong))


if __name__ == "__main__":
    main()
