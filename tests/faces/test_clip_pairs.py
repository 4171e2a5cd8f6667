"""Pairs of frames: of one clip, never the frame itself, in whatever order the set has them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from anon.errors import UserError
from anon.faces.clip_pairs import ClipPairs

#: Person, clip (-1: a still), frame. Frames are out of order, one clip has a single frame.
ROWS = torch.tensor(
    [(0, -1, 0), (0, 0, 4), (0, 0, 2), (0, 0, 0), (1, 0, 0), (1, 0, 1), (1, -1, 7), (1, 2, 5), (0, 1, 0), (0, 1, 3)]
)


def faces(rows: torch.Tensor = ROWS) -> Any:
    return SimpleNamespace(labels=rows[:, 0], videos=rows[:, 1], frames=rows[:, 2])


def test_another_frame_is_one_of_the_same_clip_and_each_comes_up() -> None:
    pairs, rng = ClipPairs(faces(), "somebody"), torch.Generator().manual_seed(0)
    own = ROWS[ROWS[:, 1] >= 0]
    seen: dict[int, set[int]] = {row: set() for row in range(len(own))}
    for _ in range(60):
        for row, found in enumerate(pairs.another(*own.T, rng).tolist()):
            seen[row].add(found)
    places = (ROWS[:, 1] >= 0).nonzero()[:, 0].tolist()
    expected = [{2, 3}, {1, 3}, {1, 2}, {5}, {4}, {7}, {9}, {8}]  # the clip of one frame has but itself
    assert [seen[row] for row in range(len(own))] == expected and places[5] == 7


def test_ends_are_the_first_and_the_last_by_their_numbers() -> None:
    own = ROWS[ROWS[:, 1] >= 0]
    last, first = ClipPairs(faces(), "somebody").ends(*own.T)
    assert last.tolist() == [True, False, False, False, True, False, False, True]
    assert first.tolist() == [3, 3, 3, 4, 4, 7, 8, 8]


@pytest.mark.parametrize("rows", [ROWS[:1], ROWS[7:8]], ids=["a still", "a clip of one frame"])
def test_data_without_clips_are_refused(rows: torch.Tensor) -> None:
    with pytest.raises(UserError, match="somebody learns from clips of two frames or more"):
        ClipPairs(faces(rows), "somebody")
