"""Tracks: whose box is whose, what lies between two detections, and what does not belong together."""

from __future__ import annotations

import torch

from anon.video.tracks import alone, follow
from tests.video.scenes import detections


def box(left: float, top: float, side: float = 20.0) -> torch.Tensor:
    return torch.tensor([left, top, left + side, top + side])


def frames(*rows: list[torch.Tensor]):
    return [detections(boxes, [torch.zeros(5, 2) + each[:2] for each in boxes]) for boxes in rows]


def test_two_who_cross_keep_their_numbers() -> None:
    """One goes right, one left, 30 px apart in height where they pass: 12 px a frame, more than half of a box."""
    rows = [[box(12 * t, 0), box(120 - 12 * t, 30)] for t in range(11)]
    rows = [row if t % 2 else row[::-1] for t, row in enumerate(rows)]  # a detector gives them in any order
    for t, seen in enumerate(follow(frames(*rows))):
        lefts = {face.track: float(face.box[0]) for face in seen}
        assert lefts == {1: 12 * t, 0: 120 - 12 * t}


def test_a_missed_face_is_where_a_line_between_both_sides_has_it() -> None:
    rows = [[box(0, 0)], [box(4, 2)], [], [], [box(16, 8)]]
    seen = follow(frames(*rows))
    assert [len(each) for each in seen] == [1, 1, 1, 1, 1] and {each[0].track for each in seen} == {0}
    assert [each[0].filled for each in seen] == [False, False, True, True, False]
    assert torch.allclose(seen[2][0].box, box(8, 4)) and torch.allclose(seen[3][0].box, box(12, 6))
    assert torch.allclose(seen[3][0].points[0], torch.tensor([12.0, 6.0]))


def test_longer_than_patience_is_another_track() -> None:
    rows = [[box(0, 0)], [], [], [], [box(0, 0)]]
    assert [[face.track for face in each] for each in follow(frames(*rows), patience=3)] == [[0], [], [], [], [1]]
    assert [[face.track for face in each] for each in follow(frames(*rows), patience=4)] == [[0]] * 5


def test_a_face_elsewhere_or_of_another_size_is_another() -> None:
    assert [face.track for face in follow(frames([box(0, 0)], [box(100, 0)]))[1]] == [1]
    assert [face.track for face in follow(frames([box(0, 0)], [box(2, 2, 5)]))[1]] == [1]


def test_a_fast_face_is_followed_by_its_step() -> None:
    """Faster and faster, until boxes of 20 px no longer touch; from nothing, such a step is another face."""
    seen = follow(frames([box(0, 0)], [box(12, 0)], [box(30, 0)], [box(52, 0)], [box(78, 0)]))
    assert [each[0].track for each in seen] == [0] * 5
    assert [each[0].track for each in follow(frames([box(0, 0)], [box(26, 0)]))] == [0, 1]


def test_a_track_lingers_without_points_at_both_ends() -> None:
    rows = [[], [], [box(20, 0)], [box(24, 0)], [box(28, 0)], [], []]
    seen = follow(frames(*rows), linger=1)
    assert [len(each) for each in seen] == [0, 1, 1, 1, 1, 1, 0]
    assert torch.allclose(seen[1][0].box, box(16, 0)) and torch.allclose(seen[5][0].box, box(32, 0))
    assert seen[1][0].filled and bool(seen[1][0].points.isnan().all())
    once = follow(frames([], [box(0, 0)], []), linger=1)
    assert [len(each) for each in once] == [0, 1, 0]  # a detector's mistake stays one frame long


def test_patience_fill_and_linger_go_by_time() -> None:
    """A frame a second, then one in 20 ms: .12 s without a detection is no end, .1 s are five frames."""
    times = [0.0, 1.0, 2.0, *(3 + 0.02 * t for t in range(20))]
    rows = [[], [], [], [], [], [], *([box(0, 0)] for _ in range(3)), *([] for _ in range(6)), [box(0, 0)]]
    rows += [[] for _ in range(23 - len(rows))]
    seen = follow(frames(*rows), patience=0.6, linger=0.1, times=times)
    assert [len(each) for each in seen] == [0] * 3 + [1] * 18 + [0] * 2  # from 3.00 s, .12 before 3.06, to 3.34
    assert {face.track for each in seen for face in each} == {0}
    late = follow(frames([box(0, 0)], [], [box(12, 0)]), patience=1, times=[0.0, 0.1, 0.4])
    assert torch.allclose(late[1][0].box, box(3, 0))  # a quarter of the time, a quarter of the way


def test_frames_that_last_longer_than_patience_are_followed_all_the_same() -> None:
    rows = frames(*[[box(0, 0)]] * 3, [], [box(0, 0)], [])
    seen = follow(rows, patience=0.6, linger=0.1, times=[0.0, 5, 10, 15, 20, 25])
    assert [[face.track for face in each] for each in seen] == [[0]] * 6


def test_nobody_and_photographs() -> None:
    assert list(follow([])) == [] and list(follow(frames([], []))) == [[], []]
    assert [face.track for face in alone(frames([box(0, 0), box(50, 0)])[0])] == [0, 1]
