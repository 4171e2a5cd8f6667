"""What a training step's time goes to: the device's busiest kernels, or on a CPU the operators, by torch.profiler."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from anon.evaluation.results import markdown_table
from benchmarks.machine import synchronize
from benchmarks.ways import Runner


def busiest(runner: Runner, batches: Any, steps: int, count: int = 6) -> list[str]:
    """A table of the ``count`` kernels with most time over ``steps`` steps, and how busy the device was.

    The profiler itself slows the host down, so on a GPU idle time is an upper bound.
    """
    on_gpu = torch.cuda.is_available()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    runner.run(batches, 1, 1)
    synchronize()
    with profile(activities=activities) as recorded:
        began = time.perf_counter()
        seconds = runner.run(batches, steps, 0)[0]
        whole = time.perf_counter() - began
    spent: dict[str, list[float]] = {}
    for event in recorded.key_averages():
        if on_gpu and (event.device_type != DeviceType.CUDA or getattr(event, "is_user_annotation", False)):
            continue
        own = event.self_device_time_total if on_gpu else event.self_cpu_time_total
        if own > 0:
            spent[event.key] = [own / 1e6, event.count]
    total = sum(own for own, _ in spent.values())
    ranked = sorted(spent.items(), key=lambda item: -item[1][0])[:count]
    rows = [
        [_short(name), f"{1000 * own / steps:.2f}", f"{100 * own / total:.0f} %", f"{number / steps:.0f}"]
        for name, (own, number) in ranked
    ]
    busy = f"; the device was busy {100 * min(1.0, total / seconds):.0f} % of it" if on_gpu else ""
    said = f"{1000 * seconds / steps:.1f} ms a step under the profiler ({whole:.1f} s with its setup){busy}."
    return [said, "", *markdown_table(["kernel" if on_gpu else "operator", "ms/step", "share", "calls/step"], rows)]


def _short(name: str, longest: int = 90) -> str:
    """A kernel's name without what Markdown would read, and without the tail of its template arguments."""
    plain = name.replace("|", "/").replace("`", "'")
    return f"`{plain if len(plain) <= longest else plain[: longest - 3] + '...'}`"
