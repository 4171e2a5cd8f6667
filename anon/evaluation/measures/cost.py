"""What a method costs on this machine: milliseconds a face, parameters, peak memory (Rosberg, thesis 2024, section 5).

    milliseconds   a face, from pictures to pictures in batches of suite.batch_size: recognizer, policy and generator.
                   The median of nine batches after one that warms up, each by a copy that remembers none of the others;
                   the interval is from the second fastest to the second slowest, which hold the median in 96 % of
                   samples of nine (Conover, Practical Nonparametric Statistics 1999, section 3.2)
    parameters     of all networks of the method, the recognizer that conditions it among them
    peak_memory    weights, and what else is alive at most while a batch is drawn, without the given pictures: on a CPU
                   what torch's allocator gave to one thread, on a GPU ``torch.cuda.max_memory_allocated``

A time is never the same twice. It is taken once for a method, batch, processor and number of threads, and read back
from the store from then on, so that an evaluation that is run again gives the same figures; ``cache=refresh`` takes it
anew. Other work on the machine while it is taken makes it longer. The report's last section names the processor.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from anon.anonymizers.onnx import OnnxAnonymizer
from anon.anonymizers.plugged import plain
from anon.evaluation.document.estimates import Estimate
from anon.evaluation.document.metric_info import MetricInfo
from anon.evaluation.harness.attackers import Method
from anon.evaluation.harness.context import TARGET, MeasureContext
from anon.evaluation.harness.pictures import failing
from anon.evaluation.harness.store import Tensors, key_of
from anon.evaluation.harness.subjects import images_at
from anon.evaluation.harness.suite import CLEAN, NONE
from anon.machine import computes
from anon.provenance import code

REPEATS = 9  # the second of each end hold the median in 96 % of samples
NAMES = ("milliseconds", "parameters", "peak_memory")


class Cost:
    """The measure, of a method alone: nothing of unchanged faces, defenses, attacks, degraded inputs and dials."""

    metrics: ClassVar[Mapping[str, MetricInfo]] = {
        "milliseconds": MetricInfo("time a face", "cost", False, "ms", low=0.0),
        "parameters": MetricInfo("parameters", "cost", False, "M", low=0.0),
        "peak_memory": MetricInfo("peak memory", "cost", False, "MB", low=0.0),
    }

    def __init__(self) -> None:
        # What is kept of the measure belongs to the machine and the threads that it ran on.
        self.machine = [computes(kind) for kind in ("cpu", "cuda") if kind == "cpu" or torch.cuda.is_available()]

    def __call__(self, context: MeasureContext) -> dict[str, Estimate]:
        """``milliseconds``, ``parameters`` (millions) and ``peak_memory`` (10⁶ bytes)."""
        one = context.one
        alone = (one.defense, one.attack, one.input, one.dial) == (NONE, NONE, CLEAN, None)
        if context.unchanged or not alone:
            return {}
        pristine = plain(context.method.pristine)
        if getattr(pristine, "made_elsewhere", False):
            return dict.fromkeys(NAMES, Estimate.absent("n/a (its pictures were made elsewhere)"))
        if getattr(pristine, "temporal", False):
            return dict.fromkeys(NAMES, Estimate.absent("n/a (it works on clips, and stills are timed)"))
        found = self._found(context)
        count = int(found["faces"])
        each = found["seconds"].sort().values * 1e3 / count
        low, high = float(each[1]), float(each[-2])
        figures = {"milliseconds": Estimate(statistics.median(each.tolist()), low, high, n=count * len(each))}
        if isinstance(pristine, OnnxAnonymizer):
            unknown = Estimate.absent("n/a (onnxruntime keeps its own networks)")
            return figures | {"parameters": unknown, "peak_memory": unknown}
        figures["parameters"] = Estimate(float(found["parameters"]) / 1e6, n=1)
        figures["peak_memory"] = Estimate(float(found["bytes"]) / 1e6, n=count)
        return figures

    def _found(self, context: MeasureContext) -> Tensors:
        """``seconds`` (9,), ``faces`` of a batch, ``parameters`` and ``bytes``, kept for the method and the machine."""
        stages, method = context.stages, context.method
        size = min(stages.suite.batch_size, len(context.rows))

        def make() -> Tensors:
            images = next(iter(context.view(TARGET).batches(size, f"timing {method.title}"))).to(stages.device)
            source = None
            if method.source:
                chosen = context.people.sources[context.rows[:size]]
                source = images_at(context.people.items.faces, chosen).to(stages.device)
            with failing(method.title):
                return measured(method, images, source, stages.seed)

        side = context.people.items.faces[0]["image"].shape[-1]
        key = key_of(
            what="cost",
            method=method.key,
            faces=size,
            side=side,
            device=str(stages.device),
            machine=self.machine,
            seed=stages.seed,
            code=code(measured),
        )
        return stages.store.get("costs", key, make)


@torch.no_grad()
def measured(method: Method, images: Tensor, source: Tensor | None, seed: int) -> Tensors:
    """``seconds`` (9,) of drawing a batch (B, 3, H, W), ``faces`` B, ``parameters`` and ``bytes`` of the method."""
    device = images.device

    def draw() -> Callable[[], object]:
        anonymizer, rng = method.fresh(), torch.Generator(device).manual_seed(seed)
        return lambda: anonymizer(images, source=source, rng=rng)

    draw()()
    seconds = []
    for _ in range(REPEATS):
        act = draw()
        _synchronize(device)
        began = time.perf_counter()
        act()
        _synchronize(device)
        seconds.append(time.perf_counter() - began)
    networks = _networks(method.pristine)
    weights = {id(each): each for network in networks for each in (*network.parameters(), *network.buffers())}
    parameters = {id(each): each.numel() for network in networks for each in network.parameters()}
    held = sum(each.numel() * each.element_size() for each in weights.values())
    return {
        "seconds": torch.tensor(seconds, dtype=torch.float64),
        "faces": torch.tensor(len(images)),
        "parameters": torch.tensor(sum(parameters.values())),
        "bytes": torch.tensor(held + peak(draw(), device)),
    }


def peak(act: Callable[[], object], device: torch.device) -> int:
    """Bytes of tensors that are alive at most while ``act`` runs, beyond those before.

    >>> act = lambda: (torch.zeros(250), torch.zeros(500))[1]  # the first is alive while the second is made
    >>> peak(act, torch.device("cpu"))
    3000
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        act()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the profiler sees what its own thread allocates
    try:
        with _no_stderr(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
            act()
    finally:
        torch.set_num_threads(threads)
    events = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    alive = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        alive += event.nbytes()
        most = max(most, alive)
    return most


@contextlib.contextmanager
def _no_stderr() -> Iterator[None]:
    """The profiler's library tells on the file of standard error when it starts and stops, whatever its level."""
    sys.stderr.flush()
    kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)


def _networks(pristine: nn.Module) -> list[nn.Module]:
    """The method, and the networks that what was plugged in holds without being one."""
    inner = plain(pristine)
    held = [] if isinstance(inner, nn.Module) else [each for each in _attributes(inner) if isinstance(each, nn.Module)]
    return [pristine, *held]


def _attributes(thing: object) -> list[object]:
    return list(getattr(thing, "__dict__", {}).values())


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
