from __future__ import annotations

import pytest
import torch

from anon.errors import UserError
from anon.evaluation.harness.suite import Suite
from anon.evaluation.protocol import (
    Protocol,
    anchors,
    calibrate,
    calibrating,
    clip_frames,
    halves,
    position,
    some_of_each,
)
from tests.evaluation.tiny_world import People


def test_position_is_the_documented_hash():
    """First 8 bytes of SHA-256; any change would move every result."""
    import hashlib

    assert position("n1", -1, 0) == int(hashlib.sha256(b"n1/-1/0").hexdigest()[:16], 16)


def test_halves_are_disjoint_cover_everything_and_are_the_same_again():
    faces = People("evaluation", 9, stills=5, clips=3)
    enrol, probe = halves(faces)
    assert not set(enrol.tolist()) & set(probe.tolist())
    assert sorted(enrol.tolist() + probe.tolist()) == list(range(len(faces)))
    again = halves(People("evaluation", 9, stills=5, clips=3))
    assert torch.equal(again.enrol, enrol)
    for label in range(8):  # floor of half: 2 of 5 stills, 1 of 3 clips with its 3 frames
        mine = enrol[faces.labels[enrol] == label]
        assert int((faces.videos[mine] < 0).sum()) == 2
        assert len(faces.videos[mine][faces.videos[mine] >= 0].unique()) == 1
        assert int((faces.videos[mine] >= 0).sum()) == 3


def test_one_picture_is_a_distractor():
    faces = People("evaluation", 3)
    enrol, probe = halves(faces)
    assert 2 in faces.labels[enrol].tolist() and 2 not in faces.labels[probe].tolist()


def test_two_pictures_are_one_and_one():
    faces = People("evaluation", 4, stills=2)
    enrol, probe = halves(faces)
    assert faces.labels[enrol].tolist() == [0, 1, 2, 3] and faces.labels[probe].tolist() == [0, 1, 2]


@pytest.mark.parametrize(("stills", "clips", "enrolled"), [(0, 1, 2), (0, 2, 5), (1, 1, None)])
def test_few_clips(stills, clips, enrolled):
    """One clip alone is halved by frames, two by clip; a still and a clip: one of them is enrolled."""
    faces = People("evaluation", 3, stills=stills, clips=clips, frames=5)
    enrol, probe = halves(faces)
    mine = int((faces.labels[enrol] == 0).sum())
    assert mine in ((1, 5) if enrolled is None else (enrolled,))
    assert int((faces.labels[probe] == 0).sum()) == stills + 5 * clips - mine


def test_clip_frames_are_even_in_order_and_long_enough():
    faces = People("evaluation", 3, stills=1, clips=2, frames=7)
    rows = clip_frames(faces, 4)
    assert faces.frames[rows].tolist() == [[0, 2, 4, 6]] * 4
    assert faces.labels[rows[:, 0]].tolist() == [0, 0, 1, 1]
    assert clip_frames(faces, 8).shape == (0, 8)


def test_some_of_each_prefers_stills():
    faces = People("train", 3, stills=2, clips=1, frames=4)
    chosen = some_of_each(faces, 3)
    assert torch.bincount(faces.labels[chosen]).tolist() == [3, 3, 1]
    assert int((faces.videos[chosen] < 0).sum()) == 5


def test_who_calibrates_is_enrolled_as_everybody_is():
    """All that the evaluation would enrol, and of the probes and pictures ``count`` of each person."""
    faces = People("background", 4, stills=5, clips=3)
    roles, half = calibrating(faces, 2), halves(faces)
    assert torch.equal(roles.enrol, half.enrol) and set(roles.probe.tolist()) < set(half.probe.tolist())
    assert torch.bincount(faces.labels[roles.probe]).max() == 2
    assert torch.equal(roles.pictures, some_of_each(faces, 2))
    every = roles.every
    assert all(torch.equal(every[place], part) for place, part in zip(roles.within(every), roles, strict=True))


def test_threshold_is_refused_without_enough_pairs():
    z = torch.nn.functional.normalize(torch.randn(20, 4, generator=torch.Generator().manual_seed(0)))
    labels = torch.arange(10).repeat(2)  # 180 impostor pairs
    with pytest.raises(UserError, match="180 impostor"):
        calibrate(z, labels, 1e-3, "the judge")
    with pytest.raises(UserError, match="0 genuine"):
        calibrate(z, torch.arange(20), 0.1, "the judge")
    found = calibrate(z, labels, 0.01, "the judge")
    assert found.impostor_pairs == 180 and found.far <= 0.01


def test_anchors_are_as_many_people_as_asked_for_or_as_there_are():
    z = torch.nn.functional.normalize(torch.randn(24, 4, generator=torch.Generator().manual_seed(0)))
    labels = torch.arange(12).repeat(2)
    assert anchors(z, labels, 5, seed=0).shape == (5, 4) and anchors(z, labels, 1024, seed=0).shape == (12, 4)
    assert not torch.equal(anchors(z, labels, 5, seed=0), anchors(z, labels, 5, seed=1))


ODD = [
    *(("far", value) for value in (0, -1, 2, float("nan"), float("inf"), "x", True)),
    *((name, value) for name in ("resamples", "batch_size", "clip_frames", "anchors") for value in (0, -1, 1.5, None)),
    *(("calibration_images", 0), ("grid_faces", -1), ("max_eer", float("nan")), ("max_eer", 1.5)),
    *(("allow_training_encoder", "no"), ("allow_training_people", 1)),
]


@pytest.mark.parametrize(("name", "value"), ODD)
def test_odd_numbers_are_refused_before_anything_is_measured(name, value):
    """The kind: a number of the command line was used as it came; 0 was a division by it, -1 a negative size.

    Instances: all numbers of suite=..., and those that the suite and LFW add.
    """
    with pytest.raises(UserError, match=rf"^suite\.{name} must be "):
        Protocol(**{name: value})


def test_numbers_that_a_suite_adds():
    with pytest.raises(UserError, match=r"^suite\.attacked_probes must be "):
        Suite(attacked_probes=0)
    assert Suite(far=1, attacked_probes=1).far == 1
