from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from anon.errors import UserError
from anon.evaluation.harness.inputs import degrade, jpeg, resized
from anon.faces.detection.contract import Detections
from anon.metrics.attributes import AttributeErrors
from anon.metrics.correlation import ImpostorCorrelation, correlation, impostor_correlation, pair_sums
from anon.metrics.preservation import (
    FeatureDistance,
    Lpips,
    MaskArea,
    MeanDifference,
    Ssim,
    detected,
    feature_distance,
    mean_difference,
    ssim,
)


def random_images(count: int, side: int = 32, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_difference_and_mask_area():
    target, changed = torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)
    changed[0] = 0.5
    changed[1, 0] = -0.3
    torch.testing.assert_close(mean_difference(changed, target), torch.tensor([0.5, 0.1]))
    metric = MeanDifference()
    metric.update(changed, target)
    assert float(metric.compute()) == pytest.approx(0.3)
    area = MaskArea()
    area.update(torch.eye(4)[None, None])
    assert float(area.compute()) == 0.25


def test_ssim_of_constant_images_is_its_luminance_term():
    """Without variance SSIM = (2ab + C1) / (a² + b² + C1), C1 = 0.01², a and b in [0, 1] as everybody has them.

    In [-1, 1] two greys around the middle, -.2 and 0, had .005 instead of .976.
    """
    value = ssim(torch.full((1, 3, 16, 16), -0.2), torch.full((1, 3, 16, 16), 0.0))
    assert float(value) == pytest.approx((2 * 0.4 * 0.5 + 1e-4) / (0.16 + 0.25 + 1e-4), abs=1e-4)


def test_ssim_by_its_formula():
    """Wang's formula with scipy's Gaussian window of 11 over the whole picture, mirrored at its borders."""
    rng = np.random.default_rng(0)
    x = rng.random((3, 40, 40))
    y = np.clip(x + 0.2 * rng.standard_normal(x.shape), 0, 1)

    def mean(values: np.ndarray) -> np.ndarray:
        return gaussian_filter(values, (0, 1.5, 1.5), truncate=3.5, mode="mirror")

    mx, my = mean(x), mean(y)
    vx, vy, both = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    known = (2 * mx * my + 1e-4) * (2 * both + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4))
    own = ssim(*(torch.from_numpy(each)[None] * 2 - 1 for each in (y, x)))
    assert float(own) == pytest.approx(float(known.mean()), abs=1e-6)


def test_ssim_keeps_faces_apart():
    a, b = random_images(1), random_images(1, seed=1)
    both = ssim(torch.cat([a, a]), torch.cat([a, b]))
    torch.testing.assert_close(both, torch.cat([ssim(a, a), ssim(a, b)]))
    metric = Ssim()
    metric.update(torch.cat([a, a]), torch.cat([a, b]))
    assert float(metric.compute()) == pytest.approx(float(both.mean()))


def test_feature_distance_by_hand():
    """Two places: unit features (.6, .8) and (1, 0), then equal ones; a second layer of opposite features."""
    changed = [torch.tensor([[[[3.0, 2.0]], [[4.0, 2.0]]]]), torch.ones(1, 1, 2, 2)]
    target = [torch.tensor([[[[7.0, 5.0]], [[0.0, 5.0]]]]), -torch.ones(1, 1, 2, 2)]
    # place 1: (.6 - 1)² + .8² = .8, place 2: 0, so the first layer's mean is .4; the second's is 2² = 4
    torch.testing.assert_close(feature_distance(changed, target), torch.tensor([4.4]))
    metric = FeatureDistance()
    metric.update(changed, target)
    metric.update(target, target)
    assert float(metric.compute()) == pytest.approx(2.2)


def test_feature_distance_is_lpips_without_its_weights():
    import lpips

    reference = lpips.LPIPS(net="alex", pnet_rand=True, lpips=False, verbose=False).eval()
    a, b = random_images(2, 64), random_images(2, 64, seed=1)
    scaled = [reference.net(reference.scaling_layer(images)) for images in (a, b)]
    torch.testing.assert_close(feature_distance(*scaled), reference(a, b).flatten(), rtol=1e-4, atol=1e-6)


class Bright:
    """Finds a face wherever the middle of the frame is bright; keeps the frames."""

    name, has_points = "bright", False

    def __init__(self):
        self.frames = []

    def detect_batch(self, frames):
        self.frames += frames
        return [self.detect(frame) for frame in frames]

    def detect(self, frame):
        height, width = frame.shape[:2]
        count = int(frame[height // 2, width // 2].float().mean() > 127)
        return Detections(torch.zeros(count, 4), torch.zeros(count, 5, 2), torch.ones(count))


def test_detected_asks_the_detector_of_each_face():
    images = torch.full((3, 3, 16, 16), -1.0)
    images[1] = 1.0
    detector = Bright()
    assert detected(detector, images).tolist() == [False, True, False]
    assert {tuple(frame.shape) for frame in detector.frames} == {(256, 256, 3)}  # 128, and half of it on each side
    assert all(frame.dtype == torch.uint8 for frame in detector.frames)
    assert detector.frames[1][[0, 63, 64, 191, 192], 128].float().mean(1).tolist() == [128, 128, 255, 255, 128]


def test_attribute_errors_by_hand():
    truth = {
        "pose": torch.zeros(1, 3),
        "expression": torch.zeros(1, 4),
        "gaze": torch.zeros(1, 2),
        "landmarks": torch.zeros(1, 5, 2),
    }
    read = {**truth, "gaze": torch.tensor([[6.0, 8.0]]), "landmarks": torch.tensor([[[3.0, 4.0], *[[0.0, 0.0]] * 4]])}
    metric = AttributeErrors()
    metric.update(read, truth)
    metric.update(truth, truth)
    assert {name: float(value) for name, value in metric.compute().items()} == {
        "pose": 0.0,
        "expression": 0.0,
        "gaze": 5.0,
        "landmarks": 0.5,
    }


def test_impostor_correlation_is_numpys_over_pairs_of_different_people():
    rng = torch.Generator().manual_seed(0)
    first = torch.nn.functional.normalize(torch.randn(12, 4, generator=rng))
    second = torch.nn.functional.normalize(first + 0.5 * torch.randn(12, 4, generator=rng))
    labels = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 3, 4, 4, 4])
    pairs = [(i, j) for i in range(12) for j in range(i) if labels[i] != labels[j]]
    scores = np.array([[float(z[i] @ z[j]) for i, j in pairs] for z in (first, second)])
    expected = np.corrcoef(scores)[0, 1]
    assert float(impostor_correlation(first, second, labels)) == pytest.approx(expected, abs=1e-5)
    assert float(correlation(pair_sums(first, second, labels, block=5))) == pytest.approx(expected, abs=1e-5)
    metric = ImpostorCorrelation()
    metric.update(first[:5], second[:5], labels[:5] + 100)
    metric.update(first[5:], second[5:], labels[5:] + 100)
    assert float(metric.compute()) == pytest.approx(expected, abs=1e-5)


def test_weights_count_identities():
    """An identity of weight 0 is as if it were not there."""
    z = torch.nn.functional.normalize(torch.randn(8, 3, generator=torch.Generator().manual_seed(1)))
    other = torch.nn.functional.normalize(torch.randn(8, 3, generator=torch.Generator().manual_seed(2)))
    labels = torch.arange(4).repeat(2)
    weighted = correlation(pair_sums(z, other, labels), torch.tensor([[1.0, 1.0, 1.0, 0.0]]))
    keep = labels < 3
    torch.testing.assert_close(weighted[0], correlation(pair_sums(z[keep], other[keep], labels[keep])))


def test_jpeg_is_pillows():
    images = random_images(2)
    buffer = io.BytesIO()
    pixels = ((images[1].permute(1, 2, 0) + 1) * 127.5).round().to(torch.uint8).numpy()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=75)
    expected = torch.from_numpy(np.array(Image.open(buffer))).permute(2, 0, 1) / 127.5 - 1
    torch.testing.assert_close(jpeg(images, 75)[1], expected)


def test_resizing_wipes_a_checkerboard_out():
    board = (torch.arange(16)[:, None] + torch.arange(16)[None]) % 2 * 2.0 - 1.0
    out = resized(board.expand(1, 3, 16, 16), 0.5)
    assert out.shape == (1, 3, 16, 16) and float(out[..., 2:-2, 2:-2].abs().max()) < 0.05


def test_degradations_in_order():
    images = random_images(1)
    torch.testing.assert_close(degrade(images, "resize0.5+jpeg75"), jpeg(resized(images, 0.5), 75))
    with pytest.raises(UserError, match="blur3"):
        degrade(images, "jpeg75+blur3")


def test_lpips_reads_alexnet_by_path(tmp_path):
    import lpips

    reference = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False).eval()
    state = {f"features.{key.split('.', 1)[1]}": value for key, value in reference.net.state_dict().items()}
    torch.save({**state, "classifier.6.bias": torch.zeros(1000)}, tmp_path / "alexnet.pth")
    a, b = random_images(2, 64), random_images(2, 64, seed=1)
    torch.testing.assert_close(Lpips(tmp_path / "alexnet.pth")(a, b), reference(a, b).flatten())
    torch.save({"features.0.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match="AlexNet"):
        Lpips(tmp_path / "other.pth")
