"""The table of a store: one row a person, in the order in which they came.

Embeddings and fake identities are half precision, rounded when they come in, so that what is in memory is what a file
gives back: a person's fake identity is the same bits on every day.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from anon.identity.store.sketches import BYTES, sketch

BLOCK = 65_536  # rows that are worked on at a time
FIRST = 64  # rows of the first allocation
MOST_DIM = 8192  # numbers of an embedding
MOST = 2**32 - 1  # identities that a store may number


def row(dim: int) -> np.dtype:
    """The bytes of a row: number, first and last day (since 1970), files, the sketch of who, D halves each of who and
    whom."""
    vectors = [("sketch", "u1", (BYTES,)), ("known", "<f2", (dim,)), ("fake", "<f2", (dim,))]
    return np.dtype([("number", "<u4"), ("first", "<u4"), ("last", "<u4"), ("files", "<u4"), *vectors])


class Rows:
    """Rows of ``dim`` numbers in memory, which grow by a quarter where they lack room."""

    def __init__(self, dim: int, capacity: int = 0) -> None:
        self.dim = dim
        self._all: np.ndarray = np.zeros(capacity, row(dim))
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def filled(self) -> np.ndarray:
        """(N,) of :func:`row`, a view."""
        return self._all[: self._size]

    def append(self, rows: np.ndarray) -> None:
        """More rows (M,) of :func:`row`, behind the others."""
        size = self._size + len(rows)
        if size > len(self._all):
            grown = np.zeros(max(FIRST, size, len(self._all) * 5 // 4), self._all.dtype)
            grown[: self._size] = self.filled
            self._all = grown
        self._all[self._size : size] = rows
        self._size = size

    def new(self, known: Tensor, fakes: Tensor, numbers: range, day: int) -> None:
        """Append people (B, D) and their fake identities (B, D), who are seen in one file, on that day."""
        rows: np.ndarray = np.zeros(len(known), self._all.dtype)
        rows["number"], rows["first"], rows["last"], rows["files"] = list(numbers), day, day, 1
        rows["known"], rows["fake"] = known.cpu().numpy(), fakes.cpu().numpy()
        rows["sketch"] = sketch(torch.from_numpy(rows["known"]))
        self.append(rows)

    def truncate(self, size: int) -> None:
        """Only the first ``size`` rows stay; the others' memory is overwritten."""
        self._all[size : self._size] = np.zeros((), self._all.dtype)
        self._size = size

    def remove(self, places: np.ndarray) -> None:
        """Take rows at ``places`` (M,) out; later rows move up, and the freed memory is overwritten."""
        stay = np.ones(self._size, bool)
        stay[places] = False
        end = 0
        for start in range(0, self._size, BLOCK):
            kept = self.filled[start : start + BLOCK][stay[start : start + BLOCK]]
            self._all[end : end + len(kept)] = kept
            end += len(kept)
        self.truncate(end)

    def places(self, numbers: np.ndarray) -> np.ndarray:
        """Where identities with these numbers (M,) stand, (M,); -1 for one that is not there. Numbers only grow."""
        if not self._size:
            return np.full(len(numbers), -1)
        places = np.searchsorted(self.filled["number"], numbers).clip(max=self._size - 1)
        return np.where(self.filled["number"][places] == numbers, places, -1)

    def met(self, places: np.ndarray, day: int) -> None:
        """These (M,), each once, were seen in one more file, on that day."""
        self.filled["files"][places] += 1
        self.filled["last"][places] = np.maximum(self.filled["last"][places], day)

    def known(self, start: int = 0, end: int | None = None) -> Tensor:
        """(N, D) float32, embeddings of the rows in that range."""
        return torch.from_numpy(self.filled["known"][start:end]).float()

    def known_at(self, places: np.ndarray) -> Tensor:
        """(M, D) float32, embeddings of some rows."""
        return torch.from_numpy(self.filled["known"][places]).float()

    def fakes_at(self, places: np.ndarray) -> Tensor:
        """(M, D) float32 unit vectors, the wanted identities of some rows."""
        return F.normalize(torch.from_numpy(self.filled["fake"][places]).float())


def problem(rows: np.ndarray, before: int = 0) -> str | None:
    """Why rows (N,) of a file are none; ``before`` is the number of the last row before them, 0 if there is none."""
    numbers = rows["number"].astype(np.int64)
    if len(rows) and (int(numbers[0]) <= before or bool((np.diff(numbers) <= 0).any())):
        return "its identities are out of order"
    for part in ("known", "fake"):
        norms = torch.linalg.vector_norm(torch.from_numpy(rows[part]), dim=1, dtype=torch.float32)
        if not bool(((norms - 1.0).abs() < 1e-2).all()):  # also false for NaN
            return "it holds what are no embeddings"
    return None
