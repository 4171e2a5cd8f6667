"""The gate: thresholds of several judges, faces that are not tried, and judges of another domain."""

from __future__ import annotations

import pytest
import torch
from hydra.utils import instantiate
from torch import Tensor

from anon.apps.config import composed
from anon.errors import UserError
from anon.faces.alignment import template
from anon.video.gate import Gate, Judging, check_domain
from anon.video.tracks import Seen


class Angle:
    """A judge whose distances are 0, .5, 1, ... of rows 0, 1, 2, ... of what is changed."""

    metric, threshold, fingerprint = "cosine", None, "2" * 64

    def __init__(self, name: str, wrong: float = 0.0) -> None:
        self.name, self.wrong = name, wrong

    def embed(self, images: Tensor) -> Tensor:
        half = len(images) // 2
        cosine = torch.cat((torch.ones(half), 1 - 0.5 * torch.arange(half)))
        return torch.stack((cosine, (1 - cosine**2).clamp_min(0).sqrt()), 1) + self.wrong


def test_every_judge_must_be_deceived() -> None:
    gate = Gate([Judging(Angle("a"), 0.5), Judging(Angle("b"), 0.7)])
    found, z = gate.compared(torch.zeros(3, 3, 8, 8), torch.zeros(3, 3, 8, 8))
    assert [tuple(each.shape) for each in z] == [(3, 2, 2)] * 2 and z[0][2].tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert torch.allclose(found, torch.tensor([[0.0, 0.0], [0.5, 0.5], [1.0, 1.0]]), atol=1e-6)
    assert gate.passes(found).tolist() == [False, False, True]
    assert Gate([Judging(Angle("a"), 0.5)]).passes(found[:, :1]).tolist() == [False, True, True]


def test_embeddings_that_are_none_pass_nowhere() -> None:
    gate = Gate([Judging(Angle("a"), 0.1), Judging(Angle("b", wrong=3.0), 0.1)])  # lengths that are not 1
    found, _ = gate.compared(torch.zeros(2, 3, 8, 8), torch.zeros(2, 3, 8, 8))
    assert bool(found[:, 1].isnan().all()) and gate.passes(found).tolist() == [False, False]


def test_small_turned_and_pointless_faces() -> None:
    frontal = template(112)
    turned = frontal * torch.tensor([0.15, 1.0])  # a profile: all points in a narrow strip
    box = torch.tensor([0.0, 0.0, 60.0, 80.0])
    gate = Gate(min_size=50, max_turn=0.5)
    assert gate.unfit(Seen(0, box, frontal, False)) is None
    assert gate.unfit(Seen(0, box / 2, frontal, False)) == "too small"
    assert gate.unfit(Seen(0, box, turned, False)) == "too turned"
    assert gate.unfit(Seen(0, box, torch.zeros(5, 2), False)) == "too turned"
    assert gate.unfit(Seen(0, box, frontal * torch.nan, False)) == "without points"


def test_a_judge_never_verifies_what_it_never_saw() -> None:
    judge = instantiate(composed("anonymize", ["judge=synthetic_b"]).judge)
    check_domain(judge, "synthetic")
    with pytest.raises(
        UserError, match=r"synthetic_b learned from rendered faces alone and never verifies photographs"
    ):
        check_domain(judge, "photographs")
    check_domain(Angle("nobody knows"), "photographs")
