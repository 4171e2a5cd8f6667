"""Spearman's correlation of distance and degree of a method whose degree is its own, in the tiny world."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from anon.evaluation.harness.context import MeasureContext
from anon.evaluation.harness.suite import Combination
from anon.evaluation.measures.monotone import Monotone
from tests.evaluation.harness.tiny_stages import settings, stages

DEGREES = (0.0, 0.5, 1.0, 1.5)


class Turned(nn.Module):
    """A face on its way to its negative: the further, the less a projection finds its person."""

    def __init__(self, degree: float, falls: bool = False) -> None:
        super().__init__()
        self.degree = 1.5 - degree if falls else degree

    def forward(self, images: Tensor) -> Tensor:
        other = torch.rand(images.shape, generator=torch.Generator().manual_seed(5)) * 1.6 - 0.8
        return torch.lerp(images, other, self.degree / 2)


@pytest.mark.parametrize(("falls", "wanted"), [(False, 1.0), (True, -1.0)])
def test_a_methods_own_degree_is_a_degree(falls: bool, wanted: float) -> None:
    built = {"_target_": f"{__name__}.Turned", "degree": 0.0, "falls": falls}
    made = stages(methods=settings()["methods"] | {"turned": {"title": "Turned", "anonymizer": built}})

    def figures(dial: float, turns: str) -> dict:
        one = Combination("default", "turned", dial=dial, turns=turns)
        return Monotone(DEGREES)(MeasureContext(made, one))

    found = figures(1.5, "anonymizer.degree")["distance_spearman"]
    assert found.value == pytest.approx(wanted) and found.n == 7
    assert figures(0.5, "anonymizer.degree") == {}  # it stands on the last degree's line
    assert figures(1.5, "anonymizer.falls") == {}
