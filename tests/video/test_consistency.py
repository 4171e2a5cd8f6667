"""M_tc of tracks by hand: (FIVA, eq. 7) two faces at distance 1 have mu = sigma = 1 / 2."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from anon.anonymizers.plugged import Plugged
from anon.video.changer import FaceChanger
from anon.video.consistency import KEPT, Consistency, _Kept
from anon.video.gate import Gate, Judging
from anon.video.jobs import jobs_of, run
from anon.video.pipeline import Anonymizing
from tests.video.scenes import Fixed, frame_of, masking, write_clip

EAST, NORTH = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])


def test_tracks_of_one_face_say_nothing() -> None:
    found = Consistency("cosine")
    found.add(1, EAST, NORTH)
    assert found.plain() == {}
    found.add(2, EAST, EAST)
    found.keep({2})
    assert found.plain() == {}


def test_the_mean_is_over_tracks_whether_they_last_or_are_over() -> None:
    found = Consistency("cosine")
    for changed in (EAST, NORTH):  # another person in each of two frames, from one original
        found.add(1, EAST, changed)
    flickers = {"tracks": 1, "unchanged_mu": 0.0, "mu": 0.5, "unchanged_sigma": 0.0, "sigma": 0.5}
    assert found.plain() == flickers
    for original in (EAST, NORTH):  # one person, whatever the original looks like
        found.add(2, original, EAST)
    found.keep({2})
    both = {"tracks": 2, "unchanged_mu": 0.25, "mu": 0.25, "unchanged_sigma": 0.25, "sigma": 0.25}
    assert found.plain() == found.plain() == both
    found.keep(set())
    assert found.plain() == both
    found.add(1, EAST, EAST)  # the same number in a later track: nothing of the first one is left
    assert found.plain() == both


def test_a_judge_that_measures_straight_lines() -> None:
    found = Consistency("euclidean")
    for changed in (torch.tensor([0.0, 0.0]), torch.tensor([3.0, 4.0])):  # distances 0, 5, 5, 0
        found.add(1, EAST, changed)
    assert found.plain()["mu"] == 2.5 and found.plain()["sigma"] == 2.5


def test_of_a_long_track_few_faces_are_kept_evenly() -> None:
    for count in (1, KEPT, KEPT + 1, 1000):
        kept = _Kept()
        for i in range(count):
            kept.add(torch.tensor([[float(i)], [0.0]]))
        numbers = [int(face[0, 0]) for face in kept.faces]
        step = numbers[1] if len(numbers) > 1 else 1
        assert numbers == list(range(0, count, step)) and len(numbers) <= KEPT
        assert len(numbers) >= min(count, KEPT // 2)


class ByColour:
    """Red, green and everything else are three people."""

    name, metric, threshold, fingerprint = "colour", "cosine", 0.5, "3" * 64

    def embed(self, images: Tensor) -> Tensor:
        red, green, _ = images[..., 40:70, 40:70].mean((2, 3)).unbind(1)
        who = torch.where(red > green + 0.5, 1, torch.where(green > red + 0.5, 2, 0))
        return torch.eye(3)[who]


def test_a_face_that_flickers_is_told_in_the_report(tmp_path: Path) -> None:
    """Red, green, red, green: of the sixteen distances of four frames, eight are 1."""
    shown = list[int]()

    def flickers(images: Tensor) -> Tensor:
        shown.append(len(shown) % 2)
        colour = torch.tensor([[1.0, -1.0, -1.0], [-1.0, 1.0, -1.0]][shown[-1]])
        return colour.view(1, 3, 1, 1).expand_as(images).clone()

    write_clip(tmp_path / "a.mp4", [frame_of([(3, 20, 20)])[0]] * 4)
    gate = Gate([Judging(ByColour(), 0.5)])
    change = FaceChanger(Plugged(flickers), masking(Fixed()).change.fallback, gate, 112)
    by = Anonymizing(Fixed(), change, gate, {}, batch=1)  # type: ignore[arg-type]
    ((_, report),) = run(jobs_of(str(tmp_path / "a.mp4"), str(tmp_path / "b.mp4")), by)
    assert report["verified"] == 4 and shown == [0, 1, 0, 1]
    steady = {"tracks": 1, "unchanged_mu": 0.0, "mu": 0.5, "unchanged_sigma": 0.0, "sigma": 0.5}
    assert report["judges"]["colour"]["M_tc"] == steady
    ((_, report),) = run(jobs_of(str(tmp_path / "a.mp4"), str(tmp_path / "c.mp4")), masking(Fixed()))
    assert report["judges"] == {}
