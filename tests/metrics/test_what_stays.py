"""PSNR, points and boxes, age and gender, action units, identity invariance: by hand and against reference packages."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import pearsonr
from skimage.metrics import peak_signal_noise_ratio

from anon.errors import UserError
from anon.metrics.action_units import ActionUnits
from anon.metrics.attributes import AgeAgreement, BoxDistance, GenderAgreement, KeypointDistance
from anon.metrics.preservation import Psnr, psnr
from anon.metrics.temporal import IdentityInvariance, identity_invariance


def drawn(*shape: int, seed: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_psnr_is_scikit_images_face_by_face():
    a, b = drawn(3, 3, 16, 16, seed=0) * 2 - 1, drawn(3, 3, 16, 16, seed=1) * 2 - 1
    b[2] = 0.9 * a[2]
    expected = [peak_signal_noise_ratio(y.numpy(), x.numpy(), data_range=2) for x, y in zip(a, b, strict=True)]
    assert psnr(a, b).tolist() == pytest.approx(expected, rel=1e-5)
    metric = Psnr()
    metric.update(a[:1], b[:1])
    metric.update(a[1:], b[1:])
    assert float(metric.compute()) == pytest.approx(sum(expected) / 3, rel=1e-5)
    assert float(psnr(a[:1], a[:1])) == math.inf


def test_points_and_boxes_by_hand():
    """Points 5 and 0 px away, then 1 and 2; a face without points does not count, nor one without a box."""
    points = torch.tensor([[[3.0, 4.0], [0.0, 0.0]], [[1.0, 0.0], [0.0, 2.0]], [[math.nan, 0.0], [0.0, 0.0]]])
    metric = KeypointDistance()
    metric.update(points, torch.zeros(3, 2, 2))
    assert float(metric.compute()) == pytest.approx((2.5 + 1.5) / 2)
    boxes = BoxDistance()
    boxes.update(torch.tensor([[1.0, -2.0, 13.0, 10.0], [math.nan] * 4]), torch.tensor([[0.0, 0.0, 10.0, 10.0]] * 2))
    assert float(boxes.compute()) == pytest.approx((1 + 2 + 3 + 0) / 4)
    assert int(boxes.faces) == 1


def test_age_and_gender_agreement_by_hand():
    nan = math.nan
    age = AgeAgreement(years=3)
    age.update(torch.tensor([20.0, 23.0, 24.0, nan]), torch.tensor([20.0, 20.0, 20.0, 20.0]))
    assert float(age.compute()) == pytest.approx(2 / 3)
    gender = GenderAgreement()
    gender.update(torch.tensor([0.9, 0.1, 0.4, 0.6, 0.2]), torch.tensor([0.6, 0.2, 0.6, 0.4, nan]))
    assert float(gender.compute()) == pytest.approx(2 / 4)
    assert math.isnan(float(AgeAgreement().compute()))


def test_action_units_are_scipys_over_all_known_frames():
    changed, target = 5 * drawn(30, 3, seed=2), 5 * drawn(30, 3, seed=3)
    changed[:, 0] = 0.5 * target[:, 0] + 0.1 * changed[:, 0]
    changed[4, 1] = math.nan
    units = ActionUnits()
    for rows in torch.arange(30).split(13):
        units.update(changed[rows], target[rows])
    found = units.compute()
    known = [row for row in range(30) if row != 4]
    expected = [pearsonr(changed[known, unit].numpy(), target[known, unit].numpy())[0] for unit in range(3)]
    assert found["correlation"].tolist() == pytest.approx(expected, abs=1e-5) and expected[0] > 0.9
    rmse = [math.sqrt(sum(float(changed[r, u] - target[r, u]) ** 2 for r in known) / 29) for u in range(3)]
    assert float(found["rmse"]) == pytest.approx(sum(rmse) / 3, rel=1e-5)
    with pytest.raises(UserError, match="there are none"):
        ActionUnits().compute()


def test_identity_invariance_sees_successive_frames_only():
    """0°, 60°, 0°: distances .5 and .5 in a row; 0°, 60°, 120° the same, though its ends are farther apart."""
    angles = torch.deg2rad(torch.tensor([[0.0, 60.0, 0.0], [0.0, 60.0, 120.0], [0.0, 0.0, 90.0]]))
    z = torch.stack([angles.cos(), angles.sin()], -1)
    torch.testing.assert_close(identity_invariance(z), torch.tensor([0.5, 0.5, 0.5]))
    torch.testing.assert_close(identity_invariance(z[2:], "euclidean"), torch.tensor([math.sqrt(2) / 2]))
    metric = IdentityInvariance()
    metric.update(z[:1])
    metric.update(z[1:, :2])
    assert float(metric.compute()) == pytest.approx((0.5 + 0.5 + 0.0) / 3, abs=1e-6)
    with pytest.raises(UserError, match="have 1"):
        identity_invariance(z[:, :1])
