"""The store's benchmark: who is asked for is as near as it says, and a row has every figure."""

from __future__ import annotations

import pytest
import torch

from benchmarks import store as benchmark


def test_who_is_asked_for_is_at_that_cosine() -> None:
    known, places = benchmark.embeddings(50), torch.tensor([3, 49])
    z = benchmark.asked(known, places, 0.6)
    cosine = (z * torch.nn.functional.normalize(known[places].float())).sum(1)
    torch.testing.assert_close(cosine, torch.full((2,), 0.6), atol=1e-4, rtol=0)
    strangers = (known.float() @ known.float().T).triu(1)
    deviation = float(strangers[strangers != 0].std())
    assert deviation == pytest.approx(200**-0.5, rel=0.2)  # of 200 directions


def test_rows_of_small_stores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "others", lambda known: iter([("a guess", lambda: lambda z: torch.zeros(len(z)))]))
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in benchmark.lookups(300, 16)]
    assert [row[0] for row in rows] == ["300"] * 4 and [row[5:] for row in rows[:3]] == [
        ["1.0000", "1.0000", "1.0000"],
        ["1.0000", "", "1.0000"],
        ["", "1.0000", "1.0000"],
    ]
    assert float(rows[3][7]) <= 1 / 16
    people, size, *seconds = (cell.strip() for cell in benchmark.of_files(50).strip("|").split("|"))
    assert people == "50" and float(size) < 0.2 and len(seconds) == 4
    assert all(0 <= float(number) < 5 for each in seconds for number in each.split(", "))
