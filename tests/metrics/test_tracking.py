"""CLEAR MOT by hand: who is kept, who is swapped, who is lost."""

from __future__ import annotations

import math

import torch

from anon.metrics.tracking import ClearMot, Labelled, clear_mot


def row(*places: tuple[int, float]) -> Labelled:
    """Boxes of 10 x 10 pixels: whose, and where the left side is."""
    boxes = torch.tensor([[left, 0.0, left + 10.0, 10.0] for _, left in places]).view(-1, 4)
    return Labelled([number for number, _ in places], boxes)


def test_a_switch_is_counted_once_and_also_after_a_pause() -> None:
    here = row((1, 0.0))
    frames = [(here, row((7, 0.0))), (here, row((8, 0.0))), (here, row((8, 0.0))), (here, row()), (here, row((7, 1.0)))]
    found = clear_mot(frames)
    assert found == ClearMot(people=5, misses=1, false_positives=0, switches=2) and math.isclose(found.mota, 1 - 3 / 5)


def test_a_pair_stays_while_it_overlaps_though_another_overlaps_more() -> None:
    """IoU of boxes a pixel apart is 9 / 11; three apart 7 / 13, above a half; four apart 6 / 14, below."""
    kept = [(row((1, 0.0)), row((7, 0.0))), (row((1, 0.0)), row((7, 3.0), (8, 0.0)))]
    assert clear_mot(kept) == ClearMot(2, 0, 1, 0)
    assert clear_mot([kept[0], (row((1, 0.0)), row((7, 4.0), (8, 0.0)))]) == ClearMot(2, 0, 1, 1)


def test_as_many_pairs_as_there_can_be() -> None:
    """Alone, 1 overlaps 7 most; but then 2 would have none: 1 with 8 (three apart), 2 with 7 (two apart)."""
    assert clear_mot([(row((1, 0.0), (2, 3.0)), row((7, 1.0), (8, -3.0)))]) == ClearMot(2, 0, 0, 0)


def test_nobody_and_nothing() -> None:
    assert clear_mot([(row(), row((7, 0.0))), (row((1, 0.0)), row())]) == ClearMot(1, 1, 1, 0)
    assert math.isnan(clear_mot([(row(), row())]).mota)
