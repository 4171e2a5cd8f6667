"""The measure of a swap tool of two people, over pictures whose embeddings and expressions are set by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from anon.evaluation.harness.context import PUBLISHED, TARGET
from anon.evaluation.measures import couple as room
from anon.evaluation.measures.couple import Couple, correlations, errors
from anon.faces.couple import TwoPeople

A, B = torch.eye(3)[0], torch.eye(3)[1]  # donor and original


class Stages:
    """A judge who knows a donor at A and an original at B, each by two pictures."""

    def __init__(self, pair: bool) -> None:
        self.suite, self.seed, self.judge = SimpleNamespace(resamples=200), 0, None
        self.pair = pair

    def datasets(self, name: str) -> object:
        return object.__new__(TwoPeople) if self.pair else object()

    def z(self, pictures: Any, judge: Any) -> torch.Tensor:
        return torch.stack([A, A, B, B])


def context(pair: bool = True, unchanged: bool = False, videos: list[int] | None = None) -> Any:
    """Four pictures of the original, at B; three of them are swapped to A, one to where nobody is."""
    read = torch.tensor([[0.0, 0.1, 0.0, 0.5], [1.0, 0.2, 0.0, 0.5], [0.0, 0.3, 1.0, 0.5], [1.0, 0.4, 1.0, 0.5]])
    true = read.clone()
    true[:, 0] = 1 - true[:, 0]  # mouth: opposite
    true[:, 1] += 0.25  # smile: in step, off by a quarter
    found = SimpleNamespace(
        one=SimpleNamespace(data="pair"),
        stages=Stages(pair),
        unchanged=unchanged,
        metric="cosine",
        rows=torch.arange(4),
        people=SimpleNamespace(
            items=SimpleNamespace(videos=torch.tensor(videos or [-1] * 4)),
            enrolled=SimpleNamespace(labels=torch.tensor([0, 0, 1, 1])),
        ),
        z=lambda of: torch.stack([B] * 4) if of == TARGET or unchanged else torch.stack([A, A, A, torch.eye(3)[2]]),
        truth=lambda: {"expression": true},
    )
    found.read = {PUBLISHED: {"expression": read}, TARGET: {"expression": true}}
    return found


@pytest.fixture(autouse=True)
def readings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "read", lambda context, of: context.read[of])
    monkeypatch.setattr(room, "Originals", lambda group: group)


def test_four_comparisons_by_hand() -> None:
    """Cosine distances: B to B 0, B to A 1; A to B 1 and the stranger's 1; A to A 0 three times and 1 once."""
    found = Couple()(context())
    assert {name: round(found[f"pair_{name}"].number, 6) for name in room.PAIRS} == {
        "original_original": 0.0,
        "original_swapped": 1.0,
        "swapped_original": 1.0,
        "swapped_swapped": 0.25,
    }
    assert found["pair_swapped_swapped_std"].number == pytest.approx((3 / 16) ** 0.5)
    assert found["pair_nearer_donor"].number == 0.75
    assert found["pair_nearer_donor"].low < 0.75 < found["pair_nearer_donor"].high


def test_expression_by_hand() -> None:
    found = Couple()(context())
    assert found["pair_PCC_mouth"].number == pytest.approx(-1.0) and found["pair_PCC_smile"].number == pytest.approx(
        1.0
    )
    assert found["pair_PCC_brow"].number == pytest.approx(1.0)
    assert found["pair_PCC_blink"].reason == "n/a (nothing moves)"
    assert found["pair_PCC"].number == pytest.approx(1 / 3)
    assert found["pair_RMSE_mouth"].number == 1.0 and found["pair_RMSE_smile"].number == pytest.approx(0.25)
    assert found["pair_RMSE"].number == pytest.approx((1.0 + 0.25 + 0.0 + 0.0) / 4)


def test_of_the_faces_as_they_are() -> None:
    found = Couple()(context(unchanged=True))
    assert "pair_swapped_original" not in found and found["pair_original_swapped"].number == 1.0
    assert found["pair_nearer_donor"].number == 0.0


def test_clips_are_resampled_as_wholes() -> None:
    """Two clips: the second holds the stranger, so a resample has it not at all, once or twice."""
    found = Couple()(context(videos=[0, 0, 1, 1]))["pair_swapped_swapped"]
    assert found.draws is not None and set(found.draws.tolist()) == {0.0, 0.25, 0.5}


def test_other_data_are_not_measured() -> None:
    assert Couple()(context(pair=False)) == {}


def test_every_figure_is_described() -> None:
    assert set(Couple()(context())) <= set(Couple.metrics)


def test_weights_count_a_picture_so_often() -> None:
    both = torch.tensor([[0.0, 1.0, 2.0, 5.0], [1.0, 0.0, 4.0, 1.0]], dtype=torch.float64)
    often = torch.tensor([[2.0, 0.0, 1.0, 3.0]], dtype=torch.float64)
    written = both[:, [0, 0, 2, 3, 3, 3]]
    assert float(correlations(often, both)) == pytest.approx(float(torch.corrcoef(written)[0, 1]))
    assert float(errors(often, both)) == pytest.approx(float((written[0] - written[1]).square().mean().sqrt()))
