"""Hours from counted operations, by hand."""

from __future__ import annotations

import pytest

from benchmarks import hours


def test_hours_are_operations_over_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """720 GFLOP a picture, 5 million pictures at 1 PFLOP/s: an hour, of eight GPUs an eighth."""
    monkeypatch.setattr(hours, "operations", lambda way, setting: 720e9)
    assert hours.rows(["fiva"], 1e15, 8) == [["fiva", "720", "500,000 of 10", "5.0", "1.0", "0.1"]]
    assert abs(hours.SEEN / 63.9e12 - 1) < 1e-3
