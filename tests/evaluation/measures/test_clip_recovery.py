"""The measure of recovered clips, of a method that knows its key."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from anon.evaluation.harness.context import TARGET, MeasureContext
from anon.evaluation.harness.suite import Combination
from anon.evaluation.measures.clip_recovery import ClipRecovery
from anon.evaluation.measures.recovery import Recovery
from anon.metrics.temporal import temporal_consistency
from tests.evaluation.harness.tiny_stages import settings, stages

HERE = "tests.evaluation.measures.test_clip_recovery"


class Negated(nn.Module):
    """Negatives, and back with the key that was given; ``partly``: two frames of three alone."""

    temporal = reversible = True
    seen: ClassVar[list[tuple[Tensor, Tensor]]] = []

    def __init__(self, partly: bool = False) -> None:
        super().__init__()
        self.partly = partly
        self.key: Any = None

    def forward(self, images: Tensor, *, source=None, key=None, track=None, rng=None) -> Tensor:
        self.key = key
        if key is not None:
            self.seen.append((key, track))
        return -images

    def recover(self, images: Tensor, key: Tensor, track: Tensor) -> Tensor:
        right = torch.equal(key, self.key)
        back = torch.full((len(images),), right)
        if self.partly:
            back[::3] = False
        return torch.where(back[:, None, None, None], -images, images)

    def reset(self) -> None:
        """It remembers its key."""


def context(partly: bool = False, **what: Any) -> MeasureContext:
    given = {"_target_": f"{HERE}.Negated", "partly": partly}
    methods = settings()["methods"] | {"clips": {"title": "Clips", "temporal": True, "anonymizer": given}}
    return MeasureContext(stages(methods=methods), Combination(data="default", **{"method": "clips", **what}))


def test_figures_of_a_clip_that_comes_back() -> None:
    Negated.seen.clear()
    here = context()
    found = ClipRecovery()(here)
    z = here.clips(TARGET)
    assert found["clip_right_verified"].value == found["clip_right_match"].value == 1.0
    assert found["clip_right_CSIM"].value == pytest.approx(1.0, abs=1e-3)
    assert found["clip_wrong_verified"].value == found["clip_wrong_match"].value == found["clip_verified"].value == 0.0
    assert found["clip_wrong_CSIM"].value == found["clip_CSIM"].value == pytest.approx(-1.0, abs=1e-3)
    assert found["clip_right_M_tc"].value == pytest.approx(float(temporal_consistency(z)[0].mean()), abs=1e-3)
    assert found["clip_right_MAE"].value < 0.01 and found["clip_right_verified"].n == z[..., 0].numel()
    assert found["clip_right_match"].n == len(z) == found["clip_right_M_tc"].n


def test_every_clip_has_a_key_of_its_own() -> None:
    Negated.seen.clear()
    count = len(context().people.clips)
    ClipRecovery()(context())
    rows = [row for key, track in Negated.seen for row in zip(key.tolist(), track.tolist(), strict=True)]
    assert len(rows) == 3 * count and len({tuple(key) for key, _ in rows}) == count  # three frames each


def test_two_frames_of_three_recover_a_clip() -> None:
    found = ClipRecovery()(context(partly=True))
    assert found["clip_right_verified"].value == pytest.approx(2 / 3) and found["clip_right_match"].value == 1.0


def test_where_there_are_no_clips_or_no_key_it_says_so() -> None:
    few = context()
    few.rows = few.rows[:1]
    assert list(ClipRecovery()(few)) == ["clip_recovery"] and ClipRecovery()(few)["clip_recovery"].reason is not None
    assert ClipRecovery()(context(method="pixelate"))["clip_recovery"].reason == "n/a (no key of clips)"
    assert ClipRecovery()(context(method="real")) == ClipRecovery()(context(defense="half")) == {}
    assert Recovery()(context())["recovery"].reason == "n/a (of clips: clip_recovery)"
