from __future__ import annotations

import math

import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio
from torchmetrics.functional.image import structural_similarity_index_measure

from anon.metrics.recovery import NAMES, KeyRecovery, key_recovery


def at(*degrees: float) -> torch.Tensor:
    angle = torch.deg2rad(torch.tensor(degrees))
    return torch.stack([angle.cos(), angle.sin()], 1)


def world() -> dict[str, torch.Tensor]:
    """Two faces. The first comes back by its key; a wrong key gives a third person. The second's key is of no use: the
    right one gives somebody else, a wrong one the anonymized face as it is."""
    rng = torch.Generator().manual_seed(0)
    target = torch.rand(2, 3, 16, 16, generator=rng) - 0.5
    return {
        "target": target,
        "right": target + torch.tensor([0.1, 0.4])[:, None, None, None],
        "wrong": target - 0.2,
        "z_target": at(0, 0),
        "z_changed": at(90, 90),
        "z_right": at(20, 60),
        "z_wrong": at(180, 90),
    }


def test_figures_by_hand():
    found = key_recovery(**world(), threshold=0.3)
    assert tuple(found) == NAMES
    assert found["right_psnr"].tolist() == pytest.approx([10 * math.log10(4 / e**2) for e in (0.1, 0.4)], rel=1e-5)
    assert found["right_mae"].tolist() == pytest.approx([0.1, 0.4])
    assert found["wrong_mae"].tolist() == pytest.approx([0.2, 0.2])
    assert found["right_distance"].tolist() == pytest.approx([1 - math.cos(math.radians(20)), 0.5], abs=1e-6)
    assert found["right_verified"].tolist() == [1.0, 0.0]
    assert found["wrong_distance"].tolist() == pytest.approx([2.0, 1.0], abs=1e-6)
    assert found["wrong_verified"].tolist() == [0.0, 0.0]
    assert found["changed_distance"].tolist() == pytest.approx([1.0, 0.0], abs=1e-6)
    assert found["changed_match"].tolist() == [0.0, 1.0]


def test_pictures_are_compared_as_scikit_image_and_torchmetrics_do():
    given = world()
    found = key_recovery(**given, threshold=0.3)
    for key in ("right", "wrong"):
        pairs = list(zip(given["target"], given[key], strict=True))
        expected = [peak_signal_noise_ratio(a.numpy(), b.numpy(), data_range=2) for a, b in pairs]
        assert found[f"{key}_psnr"].tolist() == pytest.approx(expected, rel=1e-5)
        halves = [((b[None] + 1) / 2, (a[None] + 1) / 2) for a, b in pairs]
        expected = [float(structural_similarity_index_measure(*half, data_range=1.0)) for half in halves]
        assert found[f"{key}_ssim"].tolist() == pytest.approx(expected, rel=1e-5)


def test_euclidean_judge():
    """Raw vectors, lengths 1 and 2: distance 1 along one direction; a threshold of 0.6 tells them apart."""
    given = world() | {"z_right": 2 * at(0, 0), "z_wrong": 1.5 * at(0, 0)}
    found = key_recovery(**given, threshold=0.6, metric="euclidean")
    assert found["right_distance"].tolist() == pytest.approx([1.0, 1.0])
    assert found["right_verified"].tolist() == [0.0, 0.0]
    assert found["wrong_verified"].tolist() == [1.0, 1.0]


def test_class_over_batches():
    given = world()
    metric = KeyRecovery(threshold=0.3)
    for row in (0, 1):
        metric.update(**{name: value[row : row + 1] for name, value in given.items()})
    found = metric.compute()
    assert tuple(found) == NAMES
    assert float(found["right_verified"]) == 0.5
    assert float(found["changed_match"]) == 0.5
    assert float(found["right_mae"]) == pytest.approx(0.25)
    assert float(found["wrong_distance"]) == pytest.approx(1.5, abs=1e-6)
