"""The bar ends at its total: the last batch may be smaller than the others."""

from __future__ import annotations

import io
import sys

import pytest

from anon.progress import track


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("batches", "total", "weight"), [(1, 25, 64), (3, 130, 64), (2, 128, 64)])
def test_a_bar_never_passes_its_total(monkeypatch: pytest.MonkeyPatch, batches: int, total: int, weight: int) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    assert list(track(range(batches), "drawing", total, weight)) == list(range(batches))
    assert f"{total}/{total}" in screen.getvalue()
    assert f"{batches * weight}/{total}" not in screen.getvalue() or batches * weight == total
