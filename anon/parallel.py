"""Parts of a batch side by side on a CPU, each on cores of its own.

Small maps keep cores waiting for each other at every layer; a core that has pictures of its own waits for nobody. The
numbers are those of one core with the whole batch, to the last bit.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import FunctionType
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

T = TypeVar("T")
LEAST = 16  # pictures of a part: CPU kernels for fewer sum in another order


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """So many threads of torch inside.

    One for small work: threads that share it spin while they wait for each other, and where other work holds a core,
    that takes a hundred times longer than the work.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def has_cores(rows: Tensor) -> bool:
    """Whether there are several for a batch: not on a GPU, and not where gradients are recorded."""
    serial = torch.is_grad_enabled() or torch.is_autocast_enabled("cpu") or torch.get_num_threads() == 1
    return rows.is_cpu and not serial


def side_by_side(function: Callable[..., T], parts: Sequence[Sequence[Any]]) -> list[T]:
    """``function(*part)`` of every part, in order.

    Args:
        function: without memory and random draws.
        parts: arguments, a tensor first.
    """
    if len(parts) < 2 or not has_cores(parts[0][0]):
        return [function(*part) for part in parts]
    threads = torch.get_num_threads()
    each = max(1, threads // len(parts))
    try:
        with ThreadPoolExecutor(min(threads, len(parts)), initializer=torch.set_num_threads, initargs=(each,)) as pool:
            return list(pool.map(torch.no_grad()(function), *zip(*parts, strict=True)))
    finally:
        torch.set_num_threads(threads)  # the number that a thread sets is that of all threads to come


def in_parts(function: Callable[..., Tensor], *batch: Tensor, by: object) -> Tensor:
    """``function(*batch)`` of tensors with one row a picture, computed by parts if ``by``, what computes, allows it."""
    count = len(batch[0]) // LEAST
    if count < 2 or not has_cores(batch[0]) or not remembers_nothing(by):
        return function(*batch)
    return torch.cat(side_by_side(function, list(zip(*(rows.tensor_split(count) for rows in batch), strict=True))))


def remembers_nothing(part: object) -> bool:
    """Whether it is a metric's function, or a network made of this package and torch alone: they keep nothing."""
    if isinstance(part, FunctionType):
        return part.__module__.startswith("anon.metrics.") and part.__closure__ is None
    return isinstance(part, nn.Module) and all(
        type(module).__module__.partition(".")[0] in ("anon", "torch") for module in part.modules()
    )
