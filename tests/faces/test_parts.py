"""The head by itself and where the face is seen, beside the picture that the renderer makes of the same parameters."""

from __future__ import annotations

import torch

from anon.faces.contract import to_float
from anon.faces.synthetic.parameters import OCCLUDERS, people, stills
from anon.faces.synthetic.parts import face_of, head_of
from anon.faces.synthetic.render import render

WHO = list(range(4))
#: Without noise and defocus, which the head alone has not.
CLEAR = {"noise": 0.0, "blur": 0.0, "occluder": 0.0}


def drawn(**changes: float):
    person, mood = people(WHO), stills(WHO, [0] * len(WHO))
    for name, value in {**CLEAR, **changes}.items():
        mood[name] = torch.full_like(mood[name], value)
    return person, mood


def test_the_head_is_the_pictures_inside_the_face():
    person, mood = drawn()
    head, picture = head_of(person, mood, 64), to_float(render(person, mood, 64).images)
    inside = (-torch.nn.functional.max_pool2d(-head.face, 3, 1, 1) > 0.99).expand_as(picture)  # off the rim
    assert 0.1 < float(inside.float().mean()) < 0.6
    apart = (head.image - picture).abs()
    assert float(apart[inside].mean()) < 0.03  # the noise of 1 in 255 and coarser sampling
    assert float(apart[~inside].mean()) > 0.2
    assert head.image.min() >= -1 and head.image.max() <= 1


def test_what_covers_a_face_is_none_of_it():
    bare = face_of(*drawn(), 64)
    torch.testing.assert_close(bare, head_of(*drawn(), 64).face)
    for kind, least, most in (("glasses", 0.01, 0.5), ("sunglasses", 0.1, 0.6), ("mask", 0.2, 0.8)):
        covered = face_of(*drawn(occluder=float(OCCLUDERS.index(kind)), occluder_a=0.5, occluder_b=0.5), 64)
        assert bool((covered <= bare + 1e-5).all())
        lost = (bare - covered).sum((1, 2, 3)) / bare.sum((1, 2, 3))
        assert bool(((lost > least) & (lost < most)).all()), kind


def test_hair_is_none_of_the_face():
    person, mood = drawn()
    low = dict(person, hairline=torch.full_like(person["hairline"], 0.3), bald=torch.ones_like(person["bald"]))
    high = dict(low, hairline=torch.full_like(person["hairline"], 0.75))
    assert bool((face_of(low, mood).sum((1, 2, 3)) < face_of(high, mood).sum((1, 2, 3))).all())
