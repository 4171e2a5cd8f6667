"""Stages side by side: what comes next is read ahead, and what is done written behind, while others are worked on.

FFmpeg, onnxruntime and OpenSSL let go of Python's lock, so threads do. Little is held: :data:`HELD` things each way.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar, cast

T = TypeVar("T")
HELD = 4  # things that wait for the next stage


@contextlib.contextmanager
def ahead(source: Generator[T, None, None]) -> Iterator[Iterator[T]]:
    """What a generator gives, made in a thread of its own before it is asked for; what it raises comes in its place."""
    end = object()
    with contextlib.closing(source), ThreadPoolExecutor(1) as pool:
        waiting = deque(pool.submit(next, source, end) for _ in range(HELD))

        def given() -> Iterator[T]:
            while (item := waiting.popleft().result()) is not end:
                waiting.append(pool.submit(next, source, end))
                yield cast(T, item)

        try:
            yield given()
        finally:
            pool.shutdown(cancel_futures=True)


class Behind:
    """Does one thing after the other in a thread of its own; what one raises, a later call or the end raises."""

    def __init__(self) -> None:
        self._pool, self._waiting = ThreadPoolExecutor(1), deque[Future[None]]()

    def do(self, task: Callable[..., None], *given: Any) -> None:
        """Do that next; waits while too much else is to be done."""
        while len(self._waiting) >= HELD:
            self._waiting.popleft().result()
        self._waiting.append(self._pool.submit(task, *given))

    def end(self) -> None:
        """Wait until all is done."""
        while self._waiting:
            self._waiting.popleft().result()
        self._pool.shutdown()

    def leave(self) -> None:
        """Do no more than what is begun."""
        self._pool.shutdown(cancel_futures=True)
