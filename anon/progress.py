"""One progress bar for everything that takes more than a moment: rich on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

T = TypeVar("T")
EVERY = 10.0  # seconds between lines where there is no terminal


def track(items: Iterable[T], what: str, total: int, weight: int = 1, unit: str | None = None) -> Iterator[T]:
    """Yield ``items`` and show how far it is and how long it will take, on standard error.

    Args:
        items: what is worked through.
        what: a few words, "rendering faces".
        total: the whole amount in the units that are shown.
        weight: units that one item stands for.
        unit: their name, "frames", where the rate is shown, too.
    """
    if sys.stderr.isatty():
        yield from _bar(items, what, total, weight, unit)
        return
    start = last = time.monotonic()
    done = 0
    for item in items:
        yield item
        done = min(done + weight, total)
        now = time.monotonic()
        if now - last >= EVERY and done < total:
            last = now
            left = (now - start) / done * (total - done)
            told = f", {done / (now - start):.1f} {unit}/s" if unit else ""
            print(f"{what}: {done:,} of {total:,}{told}, {left:.0f} s left", file=sys.stderr, flush=True)
    if time.monotonic() - start >= EVERY:
        print(f"{what}: {done:,} in {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)


def _bar(items: Iterable[T], what: str, total: int, weight: int, unit: str | None) -> Iterator[T]:
    columns = (
        *(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()),
        *(TextColumn("left"), TimeRemainingColumn()),
        *([] if unit is None else [TextColumn("{task.fields[rate]}")]),
    )
    began = time.monotonic()
    with Progress(*columns, console=Console(stderr=True), transient=False) as progress:
        task = progress.add_task(what, total=total, rate="")
        for done, item in enumerate(items, 1):
            yield item
            rate = f"{done * weight / max(time.monotonic() - began, 1e-9):.1f} {unit}/s"
            progress.update(task, completed=min(done * weight, total), rate=rate)  # the last batch may be a smaller one
