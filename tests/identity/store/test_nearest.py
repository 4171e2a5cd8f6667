"""The search: exact below, by an index above, and what the index may miss."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import binom
from torch import Tensor
from torch.nn import functional as F

from anon.identity.store import nearest as module
from anon.identity.store.nearest import Nearest, has_index
from anon.identity.store.rows import Rows
from anon.identity.store.sketches import BITS, differing, radius, sketch
from tests.identity.store.conftest import DIM, people

indexed = pytest.mark.skipif(not has_index(), reason="needs faiss-cpu (extra index)")


def rows_of(known: Tensor) -> Rows:
    rows = Rows(known.shape[1])
    rows.new(known, -known, range(1, len(known) + 1), 100)
    return rows


def test_by_hand() -> None:
    rows = rows_of(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [-1.0, 0.0]]))
    search = Nearest(rows, 0.5)
    cosine, place = search(torch.tensor([[0.6, 0.8], [-1.0, 0.0]]))
    torch.testing.assert_close(cosine, torch.tensor([0.8, 1.0]))
    assert place.tolist() == [1, 3]  # of two equally near the first
    rows.remove(np.array([1, 3]))
    search.update(1)
    cosine, place = search(torch.tensor([[0.6, 0.8], [-1.0, 0.0]]))
    torch.testing.assert_close(cosine, torch.tensor([0.8, 0.0]))
    assert place.tolist() == [1, 1]
    assert Nearest(Rows(2), 0.5)(torch.eye(2))[0].tolist() == [-math.inf] * 2


def test_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", 3)
    known = people(10)
    search = Nearest(rows_of(known), 0.5)
    cosine, place = search(known)
    assert place.tolist() == list(range(10)) and float(cosine.min()) > 0.99


def near(known: Tensor, cosine: float, seed: int = 9) -> Tensor:
    """Vectors (N, D) at exactly that cosine from the given ones, in directions of chance."""
    noise = torch.randn(known.shape, generator=torch.Generator().manual_seed(seed))
    side = F.normalize(noise - (noise * known).sum(1, keepdim=True) * known)
    return cosine * known + math.sqrt(1 - cosine**2) * side


@indexed
def test_with_an_index_whoever_is_near_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PART", 700)  # threads have four of them
    known = F.normalize(torch.randn(3000, 64, generator=torch.Generator().manual_seed(0))).half().float()
    rows = rows_of(known[:2500])
    search = Nearest(rows, 0.5, large=1000)
    assert search.indexed == 2500
    rows.new(known[2500:], -known[2500:], range(2501, 3001), 100)
    search.update(2500)
    assert search.indexed == 2500  # those behind the index are compared all
    asked = near(known, 0.55)
    cosine, place = search(asked[::7])
    brute = asked[::7] @ known.T
    assert place.tolist() == brute.argmax(1).tolist()
    torch.testing.assert_close(cosine, brute.max(1).values)
    rows.remove(np.arange(14, 21))
    search.update(0)
    cosine, place = search(asked[14:35:7])
    assert float(cosine[0]) < 0.5 and place[1:].tolist() == [14, 21]
    rows.truncate(900)
    search.update(900)
    assert search.indexed == 0 and int(search(asked[:1])[1]) == 0


def test_of_pairs_at_the_threshold_few_are_missed() -> None:
    assert binom.sf(radius(0.4), BITS, math.acos(0.6) / math.pi) <= 2e-4  # acos .6: 53.13 degrees of 180
    known = F.normalize(torch.randn(20_000, DIM, generator=torch.Generator().manual_seed(1)))
    differ = differing(sketch(known), sketch(near(known, 0.6)))
    assert abs(differ.mean() - BITS * 53.13 / 180) < 1
    assert (differ > radius(0.4)).sum() <= 14  # 4 are expected


def test_the_radius_of_other_thresholds() -> None:
    assert radius(0.1) < radius(0.4) < radius(1.0)
    assert radius(1.0, 512) == round(256 + 3.54 * math.sqrt(128))


def test_sketches_mean_the_same_for_ever() -> None:
    """Stores keep them: the planes are the normal quantiles of SHAKE-256's numbers."""
    made = np.frombuffer(hashlib.shake_256(b"planes of 2 numbers").digest(4 * 2 * BITS), "<u4").reshape(2, BITS)
    above = made > 2**31  # where the first number of a plane is above 0
    assert np.array_equal(np.unpackbits(sketch(torch.tensor([[1.0, 0.0]]))[0]), above[0])
    assert np.array_equal(np.unpackbits(sketch(torch.tensor([[0.0, -1.0]]))[0]), ~above[1])


def test_without_the_index_all_are_compared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "has_index", lambda: False)
    known = people(20)
    search = Nearest(rows_of(known), 0.5, large=10)
    assert search.indexed == 0 and search(known)[1].tolist() == list(range(20))
