"""Crowds: whose face is where, who is before whom, and nothing else of the frame."""

from __future__ import annotations

import torch
from torch import Tensor

from anon.faces.synthetic.crowds import Crowd, Walk, background, crowd_of, story

HEIGHT, WIDTH, FACE = 96, 160, 44.0


def at(*places: tuple[float, float]) -> Tensor:
    return torch.tensor(places)


def one_frame(*people: tuple[int, float, float], pillar: tuple[int, int] | None = None) -> Crowd:
    """People at (number, height of the face, x), at half height."""
    return crowd_of([Walk(n, face, at((x, 44.0))) for n, face, x in people], HEIGHT, WIDTH, pillar)


def test_a_face_is_where_the_truth_says() -> None:
    crowd = one_frame((3, FACE, 80.0))
    left, top, right, bottom = crowd.faces[0, 0].tolist()
    assert 0.6 * FACE < right - left < 1.2 * FACE and 0.85 * FACE < bottom - top < 1.2 * FACE
    assert left < 80 < right and float(crowd.shown[0, 0]) == 1.0
    x, y = crowd.points[0, 0].T
    assert bool(((x > left) & (x < right) & (y > top) & (y < bottom)).all())
    assert x[0] < x[2] < x[1] and y[0] < y[2] < y[3]  # left eye, nose, right eye; eyes above the nose above the mouth
    inside = (crowd.owners[0] == 0).nonzero()  # rows and columns of the face's pixels
    around = torch.cat((inside.amin(0).flip(0), inside.amax(0).flip(0) + 1)).float()
    assert float((around - crowd.faces[0, 0]).abs().max()) <= 1.5  # half of a pixel and of a finer one


def test_the_wall_is_as_it_was_where_nobody_is() -> None:
    crowd, wall = one_frame((3, FACE, 50.0)), background(HEIGHT, WIDTH)
    left, top, right, _ = crowd.people[0, 0].long().tolist()
    other = (crowd.frames[0] != wall).any(-1)
    assert not bool(other[:, :left].any() or other[:, right:].any() or other[: top - 2].any())
    assert float(other[top + 20 :, left + 30 : right - 30].float().mean()) > 0.9


def test_who_is_nearer_hides_who_is_farther() -> None:
    alone, behind = one_frame((3, FACE, 70.0)), one_frame((3, FACE, 70.0), (8, 1.2 * FACE, 74.0))
    assert float(behind.shown[0, 0]) < 0.1 and float(behind.shown[0, 1]) == 1.0
    assert torch.equal(behind.faces[0, 0], alone.faces[0, 0])  # where it is, whether seen or not
    assert torch.equal(one_frame((8, 1.2 * FACE, 74.0), (3, FACE, 70.0)).frames[0], behind.frames[0])


def test_borders_and_pillars_hide_faces() -> None:
    middle = round(float(one_frame((3, FACE, 80.0)).faces[0, 0, [0, 2]].mean()))
    assert 0.3 < float(one_frame((3, FACE, 80.0), pillar=(0, middle)).shown[0, 0]) < 0.7
    assert float(one_frame((3, FACE, 80.0), pillar=(40, 120)).shown[0, 0]) == 0.0
    for x in (-90.0, 250.0):
        gone = one_frame((3, FACE, x))
        assert float(gone.shown[0, 0]) == 0.0 and torch.equal(gone.frames[0], background(HEIGHT, WIDTH))


def test_the_story_crosses_leaves_and_returns_and_is_the_same_again() -> None:
    walks = story([3, 8, 12, 20], 5, HEIGHT, WIDTH, 24.0)
    x = torch.stack([walk.middle[:, 0] for walk in walks], 1)  # (T, P)
    assert x[0, 0] < x[0, 1] and x[-1, 0] > x[-1, 1]
    assert x[0, 2] < WIDTH and x[2, 2] > WIDTH + 24 and x[-1, 2] < WIDTH
    crowd = crowd_of(walks, HEIGHT, WIDTH)
    assert float(crowd.shown[2, 2]) == 0.0 and float(crowd.shown[-1, 2]) > 0.9
    assert all(torch.equal(a, b) for a, b in zip(crowd.frames, crowd_of(walks, HEIGHT, WIDTH).frames, strict=True))
