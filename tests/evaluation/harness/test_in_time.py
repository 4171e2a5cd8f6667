"""Methods that work on clips are told which clip a frame is of, and stand in no table of filters."""

from __future__ import annotations

import torch

from anon.evaluation.harness.context import CHANGED, TARGET, MeasureContext
from anon.evaluation.harness.suite import _SORTS, Combination
from tests.evaluation.harness.tiny_stages import settings, stages

HERE = "tests.evaluation.harness.test_in_time"


class ByClip(torch.nn.Module):
    """Darkens a frame by the number of frames of its clip that it saw before, in eighths; stills stay."""

    temporal = True

    def __init__(self) -> None:
        super().__init__()
        self.counts: dict[int, int] = {}

    def forward(self, images, *, track=None):
        shown = []
        for image, clip in zip(images, track.tolist(), strict=True):
            count = self.counts.get(clip, 0) if clip >= 0 else 0
            self.counts[clip] = count + 1
            shown.append((image - count / 8).clamp(-1, 1))
        return torch.stack(shown)


class Random(ByClip):
    """Noise."""

    def forward(self, images, *, track=None, rng=None):
        return torch.rand(images.shape, generator=rng) * 2 - 1


RANDOM = {"random": {"title": "Random", "temporal": True, "anonymizer": {"_target_": f"{HERE}.Random"}}}
METHODS = {"by_clip": {"title": "By clip", "temporal": True, "anonymizer": {"_target_": f"{HERE}.ByClip"}}}


def test_frames_of_a_clip_come_in_order_and_with_its_number() -> None:
    made = stages(methods=settings()["methods"] | METHODS)
    context = MeasureContext(made, Combination(data="default", method="by_clip")).of_items()
    people = context.people
    before, after = (context.view(of).eight_bits().float() for of in (TARGET, CHANGED))
    stills = people.items.videos < 0
    assert bool(stills.any()) and torch.equal(before[stills], after[stills])
    assert len(people.clips) > 1
    for clip in people.clips:
        for number, place in enumerate(clip.tolist()):
            expected = (before[place] - number / 8 * 127.5).clamp(0, 255)
            assert float((after[place] - expected).abs().max()) <= 1.0


def test_it_is_asked_for_by_name_alone() -> None:
    assert not _SORTS["filters"](METHODS["by_clip"])
    assert _SORTS["filters"]({"title": "x", "anonymizer": {"_target_": "y"}})
    several = {"title": "x", "policies": True, "methods": {"a": {}}, "anonymizer": {"_target_": "y"}}
    assert _SORTS["ensembles"](several) and not _SORTS["ensembles"]({**several, "temporal": True})


def test_what_is_drawn_at_random_goes_by_the_evaluations_seed() -> None:
    made = {seed: stages(methods=settings()["methods"] | RANDOM, seed=seed) for seed in (0, 1)}

    def drawn(seed: int) -> torch.Tensor:
        return MeasureContext(made[seed], Combination(data="default", method="random")).view(CHANGED).eight_bits()

    assert torch.equal(drawn(0), drawn(0)) and not torch.equal(drawn(0), drawn(1))
