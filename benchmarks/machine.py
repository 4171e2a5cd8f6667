"""What a benchmark runs on and what it takes: description, measured matmul peak, counted operations, working memory."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from anon.apps.run_folders.folder import commit, versions
from anon.evaluation.results import write


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def synchronize() -> None:
    """Wait for the GPU, where there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def allow_tf32(allowed: bool) -> None:
    """Whether float32 products and convolutions may be rounded to TF32 on a GPU."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed


def processor() -> str:
    """The processor's name and what it computes bf16 with."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    found = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    units = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in found.get("flags", "").split()]
    return f"{found.get('model name', platform.machine())} ({', '.join(units)})"


def description() -> list[str]:
    """Lines of a report: hardware, load, versions, commit. Nothing that names the machine or its folders."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    lines = [f"- processor: {processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads used"]
    if torch.cuda.is_available():
        name, cudnn = torch.cuda.get_device_name(), torch.backends.cudnn.version()
        lines.append(f"- GPU: {name}, CUDA {torch.version.cuda}, cuDNN {cudnn}")
    lines.append(f"- load average when it began (1, 5, 15 minutes): {load}; more than the threads used is other work")
    found = {name: version for name, version in versions().items() if name != "platform"}
    lines.append(f"- versions: {', '.join(f'{name} {version}' for name, version in found.items())}")
    return [*lines, f"- commit: {commit() or 'no checkout'} (`+`: with changes)"]


def matmul_peak(dtype: torch.dtype, size: int = 0, windows: int = 5) -> float:
    """FLOP/s of the best of some windows of square products, in the precision that is set."""
    size = size or (8192 if torch.cuda.is_available() else 2048)
    a, b = (torch.randn(size, size, device=device()).to(dtype) for _ in range(2))
    rates = []
    for _ in range(windows + 1):  # the first one warms up
        synchronize()
        began, count = time.perf_counter(), 0
        while count < 3 or time.perf_counter() - began < 0.3:
            a @ b
            synchronize()
            count += 1
        rates.append(count * 2 * size**3 / (time.perf_counter() - began))
    return max(rates[1:])


class CountedOperations(TorchDispatchMode):
    """Floating-point operations of products and convolutions, forward and backward, 2 a multiplication and addition.

    The formulas are those of ``torch.utils.flop_counter``, whose own context cannot see a gradient's gradient.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=out)
        return out


class Peak:
    """``mib`` is filled in when the context ends; NaN where it cannot be measured."""

    mib = float("nan")


@contextmanager
def working_memory() -> Iterator[Peak]:
    """The most memory in use inside, above what was in use before: activations, gradients, temporaries."""
    peak = Peak()
    gc.collect()
    if torch.cuda.is_available():
        synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        yield peak
        synchronize()
        peak.mib = (torch.cuda.max_memory_allocated() - before) / 2**20
        return
    resets = Path("/proc/self/clear_refs")
    if not resets.exists():
        yield peak
        return
    ctypes.CDLL(None).malloc_trim(0)  # what earlier work freed shall not be counted as there already
    resets.write_text("5")  # VmHWM, the peak, becomes VmRSS
    before_kib = _status("VmRSS")
    yield peak
    peak.mib = (_status("VmHWM") - before_kib) / 1024


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(f"{key}:")))


def written(out: Path, lines: Sequence[str]) -> str:
    """Write a report, with the load when it ended; returns its text."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    text = "\n".join([*lines, "", f"Load average when it ended: {load}.", ""])
    write(out, text)
    return text


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Median, and the range in brackets.

    >>> spread([3.0, 1.0, 2.0])
    '2.0 (1.0 to 3.0)'
    """
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def smooth_pictures(count: int, size: int, seed: int) -> Tensor:
    """Random pictures (count, 3, size, size) in [-1, 1] that a network can tell apart."""
    coarse = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear", align_corners=False)
