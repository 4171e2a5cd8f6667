"""Who of a store is nearest to a face.

Up to :data:`LARGE` people all are compared, in one product. Above, an index of the package ``faiss-cpu`` first finds
those whose sketches (:mod:`anon.identity.store.sketches`) differ from the face's in few enough bits, and these are
compared exactly. The index looks at all sketches: it has no graph and no clusters that embeddings could be made to
elude, nothing to train, and nothing that a file would have to keep.
"""

from __future__ import annotations

import importlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from anon.identity.store.rows import BLOCK, Rows
from anon.identity.store.sketches import BYTES, differing, radius, sketch

LARGE = 100_000  # people up to whom all are compared
PART = 2**17  # rows that a thread looks through at once
HALF = BYTES // 2


class Nearest:
    """A search through rows.

    Args:
        rows: searched; say :meth:`update` when they change.
        threshold: cosine distance below which two embeddings are one person. Who is not nearer may go unfound.
        large: see :data:`LARGE`.
    """

    def __init__(self, rows: Rows, threshold: float, large: int = LARGE) -> None:
        self._rows, self._threshold, self._large = rows, threshold, large
        self._sketches: Sketches | None = None
        self._tail = torch.empty(0, rows.dim)  # (capacity, D), of the rows behind those that the index has
        self._held = 0
        self.update(0)

    @property
    def indexed(self) -> int:
        """Rows that the index has."""
        return 0 if self._sketches is None else len(self._sketches)

    def update(self, first: int) -> None:
        """Rows from ``first`` on are other ones than before."""
        if first < self.indexed:
            self._sketches = None
            first = 0
        behind = len(self._rows) - self.indexed
        if behind > self._large and has_index():
            self._sketches = self._sketches or Sketches(self._rows, self._threshold)
            self._sketches.add(len(self._rows))
            self._tail, self._held = self._tail[:0].clone(), 0
            return
        kept = max(first - self.indexed, 0)
        if behind > len(self._tail):
            grown = torch.zeros(max(64, behind, len(self._tail) * 5 // 4), self._rows.dim)
            grown[:kept] = self._tail[:kept]
            self._tail = grown
        for start in range(kept, behind, BLOCK):
            part = self._rows.known(self.indexed + start, self.indexed + min(start + BLOCK, behind))
            self._tail[start : start + len(part)] = part
        self._tail[behind : max(self._held, behind)] = 0.0
        self._held = behind

    def __call__(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """z (B, D) -> cosine (B,) to the nearest and its row (B,); of equals the first. Nobody near: -inf, or less
        than 1 - threshold, and any row."""
        best = z.new_full((len(z),), -torch.inf)
        place = torch.zeros(len(z), dtype=torch.long, device=z.device)
        for i, one in enumerate(z.cpu() if self._sketches is not None else ()):
            assert self._sketches is not None
            found = self._sketches.near(one)
            for start in range(0, len(found), BLOCK):
                value, at = (self._rows.known_at(found[start : start + BLOCK]) @ one).max(0)
                if value > best[i]:
                    best[i], place[i] = value, int(found[start + int(at)])
        for start in range(0, self._held, BLOCK):
            value, row = (z @ self._tail[start : min(start + BLOCK, self._held)].T.to(z)).max(1)
            better = value > best
            best = torch.where(better, value, best)
            place = torch.where(better, row + self.indexed + start, place)
        return best, place


class Sketches:
    """Who can be near, by the bits of the rows' sketches: an index looks through half of them, the others decide.

    Threads look through parts of the rows side by side.

    Args:
        rows: whose first ones are in it.
        threshold: cosine distance within which pairs are found, but for twice what :func:`.sketches.radius` misses.
    """

    def __init__(self, rows: Rows, threshold: float) -> None:
        self._rows, self._parts = rows, list[_Part]()
        self._first, self._both = radius(threshold, 8 * HALF), radius(threshold)
        one = _faiss().omp_set_num_threads
        self._pool = ThreadPoolExecutor(torch.get_num_threads(), initializer=one, initargs=(1,))

    def __len__(self) -> int:
        return sum(len(part) for part in self._parts)

    def add(self, end: int) -> None:
        """The rows up to ``end``, too."""
        while (start := len(self)) < end:
            if not start % PART:
                self._parts.append(_Part())
            self._parts[-1].add(self._rows.filled["sketch"][start : min(start - start % PART + PART, end)])

    def near(self, z: Tensor) -> np.ndarray:
        """The places of those that can be near z (D,), in order."""
        own = sketch(z[None])
        found = self._pool.map(lambda part: part.near(own, self._first, self._both), self._parts)
        return np.concatenate([PART * number + places for number, places in enumerate(found)])


class _Part:
    """The sketches of some rows, each half of them by itself."""

    def __init__(self) -> None:
        self._index, self._rest = _faiss().IndexBinaryFlat(8 * HALF), np.empty((0, HALF), np.uint8)

    def __len__(self) -> int:
        return len(self._rest)

    def add(self, sketches: np.ndarray) -> None:
        self._index.add(np.ascontiguousarray(sketches[:, :HALF]))
        self._rest = np.concatenate((self._rest, sketches[:, HALF:]))

    def near(self, own: np.ndarray, first: int, both: int) -> np.ndarray:
        """The places of sketches that differ in so few bits of the first half, and of both, in order."""
        _, bits, found = self._index.range_search(own[:, :HALF], first + 1)  # less than that
        bits = bits.astype(np.int64) + differing(self._rest[found], own[:, HALF:])
        return np.sort(found[bits <= both])


def has_index() -> bool:
    """Whether the package of the index is installed."""
    try:
        _faiss()
    except ImportError:
        return False
    return True


def _faiss() -> Any:
    return importlib.import_module("faiss")
