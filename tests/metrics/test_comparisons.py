from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from anon.metrics.comparisons import PAIRS, FourComparisons, four_comparisons, reference_distances


def drawn(count: int, seed: int) -> torch.Tensor:
    return torch.randn(count, 4, generator=torch.Generator().manual_seed(seed))


def test_four_by_hand():
    """On a line: the original's frames at 0 and 2, the swap's at 9, 10 and 14; the people at 0 and 10."""
    original, swapped = torch.tensor([[0.0], [2.0]]), torch.tensor([[9.0], [10.0], [14.0]])
    found = four_comparisons(original, swapped, torch.tensor([[0.0]]), torch.tensor([[10.0]]), "euclidean")
    expected = {
        "original_original": (1.0, 1.0),  # 0 and 2
        "original_swapped": (9.0, 1.0),  # 10 and 8
        "swapped_original": (11.0, math.sqrt((4 + 1 + 9) / 3)),  # 9, 10 and 14
        "swapped_swapped": (5 / 3, math.sqrt((1 + 0 + 16) / 3 - 25 / 9)),  # 1, 0 and 4
    }
    assert tuple(expected) == PAIRS
    for pair, (mean, deviation) in expected.items():
        assert float(found[f"{pair}_mean"]) == pytest.approx(mean, rel=1e-6)
        assert float(found[f"{pair}_std"]) == pytest.approx(deviation, rel=1e-6)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_several_references_are_averaged(metric):
    frames, references = drawn(7, 0), drawn(3, 1)
    if metric == "cosine":
        frames, references = (torch.nn.functional.normalize(z) for z in (frames, references))
    expected = cdist(frames.numpy(), references.numpy(), metric).mean(1)
    np.testing.assert_allclose(reference_distances(frames, references, metric).numpy(), expected, rtol=1e-4, atol=1e-6)


def test_class_over_videos_of_different_people():
    """Every frame counts once, so a long video counts more."""
    videos = [
        (drawn(5, 2), drawn(4, 3), drawn(2, 4), drawn(1, 5)),
        (drawn(2, 6), drawn(9, 7), drawn(1, 8), drawn(3, 9)),
    ]
    metric = FourComparisons("euclidean")
    for video in videos:
        metric.update(*video)
    found = metric.compute()
    for pair, (at, who) in zip(PAIRS, ((0, 2), (0, 3), (1, 2), (1, 3)), strict=True):
        apart = torch.cat([reference_distances(video[at], video[who], "euclidean") for video in videos])
        assert float(found[f"{pair}_mean"]) == pytest.approx(float(apart.mean()), rel=1e-5)
        assert float(found[f"{pair}_std"]) == pytest.approx(float(apart.std(correction=0)), rel=1e-4)
    assert math.isnan(float(FourComparisons().compute()["original_original_mean"]))
