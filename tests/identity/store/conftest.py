"""Stores of a few made-up people, whose keys cost little."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from anon.identity.store import sealed
from anon.identity.store.file import Store
from anon.identity.store.sealed import Secret

KEY, ENCODER, DIM = b"correct horse battery staple", "e" * 64, 16
NOBODY = np.array([], np.int64)


@pytest.fixture(autouse=True)
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed, "COST", 2)


def people(count: int, seed: int = 0) -> Tensor:
    """Unit vectors (count, DIM) that half precision holds."""
    return F.normalize(torch.randn(count, DIM, generator=torch.Generator().manual_seed(seed))).half().float()


def add(store: Store, known: Tensor, day: int = 100) -> None:
    """A finished file with new people, whose fakes are their opposites."""
    assert store.about is not None
    store.rows.new(known, -known, range(store.about.next, store.about.next + len(known)), day)
    store.nearest.update(store.kept)
    store.commit(NOBODY, day)


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., Store]:
    """``made("people.store", known)``: a store on disk that was closed."""

    def make(name: str, known: Tensor, threshold: float = 0.134, encoder: str = ENCODER) -> Store:  # 30 degrees
        store = Store(tmp_path / name, Secret(KEY))
        store.begin(encoder, known.shape[1], threshold)
        with store:
            store.create()
            add(store, known)
        return store

    return make


def again(store: Store, key: bytes = KEY) -> Store:
    """The same file in another process, as it were."""
    return Store(store.path, Secret(key))
