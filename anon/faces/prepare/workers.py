"""Worker processes that an input may bring down: it is counted as ``crashed`` or ``timeout``, and the run goes on.

A worker packs one unit at a time and reports every input as it is done. When it dies, or gives no sign for too long,
another one continues the unit after the input that it was at, on the same part file cut back to the last whole input,
so the shard has the bytes that it would have had without that input.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NamedTuple

from anon.errors import UserError
from anon.faces.prepare.extract import Account, extract
from anon.faces.prepare.options import Options
from anon.faces.prepare.sources import Source

_START = 300.0  # seconds to import torch and to load a detector, on a busy machine


@dataclass
class Unit:
    """Consecutive inputs that become one shard."""

    number: int
    sources: Sequence[Source]
    part: Path  # where the shard is written until it is whole
    done: int = 0  # inputs
    offset: int = 0  # bytes after the last of them
    results: list[dict[str, Any]] = field(default_factory=list)  # one an input
    faces: list[dict[str, Any]] = field(default_factory=list)  # one a face


class Limits(NamedTuple):
    """What an input may take."""

    seconds: float  # without a sign of progress
    memory: float  # GiB of address space of a worker; 0: no limit


class _Worker:
    def __init__(self, options: Options, limits: Limits) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, options, limits), daemon=True)
        self.process.start()
        theirs.close()
        self.unit: Unit | None = None
        self.ready = False
        self.deadline = time.monotonic() + _START

    def kill(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()


def pack(units: Iterable[Unit], options: Options, workers: int, limits: Limits) -> Iterator[Unit | None]:
    """Pack the units; yields None after every input and the unit when its part file is whole.

    Raises:
        UserError: the detector cannot be built, the disk is full, or workers do not start.
    """
    waiting = deque(units)
    crew: list[_Worker] = []
    try:
        while waiting or any(worker.unit is not None for worker in crew):
            while len(crew) < min(workers, len(waiting) + sum(worker.unit is not None for worker in crew)):
                crew.append(_Worker(options, limits))
            for worker in crew:
                if worker.ready and worker.unit is None and waiting:
                    _give(worker, waiting.popleft(), limits)
            yield from _listen(crew, waiting, limits)
    finally:
        for worker in crew:
            worker.kill()


def _give(worker: _Worker, unit: Unit, limits: Limits) -> None:
    worker.unit, worker.deadline = unit, time.monotonic() + limits.seconds
    with contextlib.suppress(BrokenPipeError):  # it died: its end of the pipe tells
        worker.connection.send((unit.sources[unit.done :], unit.part, unit.offset))


def _listen(crew: list[_Worker], waiting: deque[Unit], limits: Limits) -> Iterator[Unit | None]:
    """Take what the workers tell until one of them needs work, or another in its place."""
    soonest = min(worker.deadline for worker in crew if worker.unit is not None or not worker.ready)
    heard = wait([worker.connection for worker in crew], max(0.0, soonest - time.monotonic()))
    for worker in list(crew):
        busy = worker.unit is not None or not worker.ready
        try:
            if worker.connection in heard:
                yield from _take(worker, worker.connection.recv(), limits)
            elif busy and time.monotonic() > worker.deadline:
                yield from _replace(crew, worker, waiting, "timeout")
        except (EOFError, OSError):
            yield from _replace(crew, worker, waiting, "crashed")


def _take(worker: _Worker, message: tuple[str, Any], limits: Limits) -> Iterator[Unit | None]:
    kind, content = message
    worker.deadline = time.monotonic() + limits.seconds
    unit = worker.unit
    if kind == "mistake":
        raise UserError(content)
    if kind == "ready":
        worker.ready = True
    elif kind == "input" and unit is not None:
        result, faces, unit.offset = content
        unit.results.append(result)
        unit.faces += faces
        unit.done += 1
        yield None
    elif kind == "whole":
        worker.unit = None
        yield unit


def _replace(crew: list[_Worker], worker: _Worker, waiting: deque[Unit], reason: str) -> Iterator[None]:
    crew.remove(worker)
    worker.kill()
    unit = worker.unit
    if unit is None:
        if not worker.ready:
            raise UserError("A worker process ended, or hung, before it was ready; try --workers 1 or more memory.")
        return
    if unit.done < len(unit.sources):
        unit.results.append(_result(unit.sources[unit.done], Account(reason=reason)))
        unit.done += 1
        yield None
    waiting.appendleft(unit)


def _serve(connection: Connection, options: Options, limits: Limits) -> None:
    """A worker's life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import av.logging
    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    av.logging.set_level(None)
    warnings.simplefilter("ignore")  # Pillow's on damaged metadata, by the thousand; what matters is counted
    from anon.faces.prepare.options import build_detector

    try:
        detector = None if options.detector is None else build_detector(options.detector)
        if limits.memory:
            import resource

            size = int(limits.memory * 2**30)
            resource.setrlimit(resource.RLIMIT_AS, (size, size))
        connection.send(("ready", None))
        while True:
            sources, part, offset = connection.recv()
            _fill(connection, sources, part, offset, options, detector)
    except UserError as error:
        connection.send(("mistake", str(error)))
    except EOFError:
        pass
    except OSError as error:  # pictures' and videos' own are caught where they are read
        connection.send(("mistake", f"The shards cannot be written: {error.strerror or error}."))


def _fill(
    connection: Connection, sources: Sequence[Source], part: Path, offset: int, options: Options, detector: Any
) -> None:
    from anon.faces.cache import owners_only
    from anon.faces.prepare.shard import append, finish

    with open(part, "r+b" if offset else "wb", opener=owners_only) as file:
        file.truncate(offset)
        file.seek(offset)
        for source in sources:
            account, rows = Account(), list[dict[str, Any]]()
            for face in extract(source, options, detector, account, lambda: connection.send(("alive", None))):
                rows.append(append(file, source, face, options, len(rows)))
            file.flush()
            connection.send(("input", (_result(source, account), rows, file.tell())))
        finish(file)
        file.flush()
        os.fsync(file.fileno())
    connection.send(("whole", None))


def _result(source: Source, account: Account) -> dict[str, Any]:
    """What became of an input, as JSON."""
    return {"input": source.number, **vars(account), "rejected": dict(account.rejected)}


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
