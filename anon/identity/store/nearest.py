"""Who of a store is nearest to a face.

Up to :data:`LARGE` people all are compared, in one product. Above, an index of the package ``faiss-cpu`` first finds
those who can be near enough: of every embedding it keeps on which side of 512 random planes through 0 it lies (64
bytes). Two embeddings at an angle a differ in a bit with probability a / pi, independently (Goemans and Williamson
1995; Charikar 2002), so a number of differing bits that all but one in ten thousand of the pairs at the threshold stay
within follows from the binomial distribution alone, whatever the embeddings are; whoever is within it is compared
exactly. Nearer pairs are missed still more rarely. The index is made anew when a store is opened: it is in no file.
"""

from __future__ import annotations

import importlib
import math
from typing import Any

import numpy as np
import torch
from scipy.stats import binom
from torch import Tensor

from anon.identity.store.rows import BLOCK, Rows

LARGE = 100_000  # people up to whom all are compared
BITS = 512
MISSED = 1e-4  # of pairs at the threshold itself
AT_ONCE = 8  # faces whose candidates are in memory together


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
            self._sketches = self._sketches or Sketches(self._rows.dim, self._threshold)
            for start in range(self.indexed, len(self._rows), BLOCK):
                self._sketches.add(self._rows.known(start, start + BLOCK))
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
        if self._sketches is not None:
            for start in range(0, len(z), AT_ONCE):
                part = slice(start, start + AT_ONCE)
                for i, found in enumerate(self._sketches.near(z[part].cpu()), start):
                    if len(found):
                        value, at = (self._rows.known_at(found) @ z[i].cpu()).max(0)
                        best[i], place[i] = value, int(found[int(at)])
        for start in range(0, self._held, BLOCK):
            value, row = (z @ self._tail[start : min(start + BLOCK, self._held)].T.to(z)).max(1)
            better = value > best
            best = torch.where(better, value, best)
            place = torch.where(better, row + self.indexed + start, place)
        return best, place


class Sketches:
    """Bits of embeddings, and who differs in few enough of them.

    Args:
        dim: numbers of an embedding.
        threshold: cosine distance within which pairs are found.
    """

    def __init__(self, dim: int, threshold: float, bits: int = BITS) -> None:
        faiss = _faiss()
        self._planes = torch.randn(dim, bits, generator=torch.Generator().manual_seed(bits))  # any will do, the same
        self._index: Any = faiss.IndexBinaryFlat(bits)
        self.radius = radius(threshold, bits)

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def add(self, known: Tensor) -> None:
        """More embeddings (N, D)."""
        self._index.add(self._of(known))

    def near(self, z: Tensor) -> list[np.ndarray]:
        """Of each z (B, D) the places of those that differ in at most :attr:`radius` bits, in order."""
        _faiss().omp_set_num_threads(torch.get_num_threads())
        ends, _, found = self._index.range_search(self._of(z), self.radius + 1)
        ends = ends.astype(np.int64)
        return [np.sort(found[a:b]) for a, b in zip(ends[:-1], ends[1:], strict=True)]

    def _of(self, z: Tensor) -> np.ndarray:
        return np.packbits((z @ self._planes > 0).numpy(), axis=1)


def radius(threshold: float, bits: int = BITS) -> int:
    """Bits in which all but :data:`MISSED` of the pairs at a cosine distance differ at most.

    >>> radius(2.0), radius(1.0)  # whoever it is; a right angle: 256 bits, and 3.7 times sqrt(128)
    (512, 298)
    """
    angle = math.acos(max(-1.0, 1.0 - threshold))
    return int(binom.isf(MISSED, bits, angle / math.pi)) if angle < math.pi else bits


def has_index() -> bool:
    """Whether the package of the index is installed."""
    try:
        _faiss()
    except ImportError:
        return False
    return True


def _faiss() -> Any:
    return importlib.import_module("faiss")
