"""Whom an average shows."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from anon.evaluation.judges.gallery import Gallery, templates
from anon.evaluation.protocol import Calibration
from anon.identity.policies import average


def at(*degrees: float) -> torch.Tensor:
    angles = torch.deg2rad(torch.tensor(degrees))
    return torch.stack([angles.cos(), angles.sin()], 1)


def test_a_clip_weighs_as_one_picture() -> None:
    """Kind: near copies that count as independent. Ten frames at 60 degrees and stills at 0 and 30: at 30, not 53."""
    z = torch.cat([at(0, 30), at(60).expand(10, 2)])
    owners, videos = torch.zeros(12, dtype=torch.long), torch.tensor([-1, -1] + [4] * 10)
    averages, people = templates(z, owners, videos)
    torch.testing.assert_close(averages, at(30))
    assert people.tolist() == [0]
    torch.testing.assert_close(average(z, owners)[0], at(53.146), atol=1e-4, rtol=0)  # as it was


def test_clips_and_people_are_told_apart() -> None:
    """Clip 0 of person 3 is not clip 0 of person 5; two clips of one person are two."""
    z = at(0, 0, 0, 90, 40, 80, 80)
    owners = torch.tensor([3, 3, 3, 3, 5, 5, 5])
    videos = torch.tensor([0, 0, 0, 1, -1, 0, 0])
    gallery = Gallery.of(z, owners, videos, Calibration(0.4, 0.01, 0.1, 100, 0.3, 0.5, (0.35, 0.45)))
    torch.testing.assert_close(gallery.averages, at(45, 60))
    assert gallery.people.tolist() == [3, 5] and torch.equal(gallery.pictures, z)
    torch.testing.assert_close(gallery.levels, torch.tensor([0.35, 0.45]))
    assert Gallery.of(z, owners, videos, Calibration(0.4, 0.01, 0.1, 100)).levels is None


def test_stills_alone_are_averaged_as_ever() -> None:
    z = F.normalize(torch.randn(9, 4, generator=torch.Generator().manual_seed(0)))
    owners = torch.arange(3).repeat(3)
    assert torch.equal(templates(z, owners, torch.full((9,), -1))[0], average(z, owners)[0])
