"""FDeID-Toolbox's definitions on hand-made cases, beside ours: where both say the same, where a name is two figures.

Theirs are written out here as the toolbox's scripts compute them, on similarities and pictures in [0, 1].
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torchmetrics.functional.image import structural_similarity_index_measure

from anon.metrics.frechet import frechet_distance
from anon.metrics.preservation import Lpips, psnr, ssim
from anon.metrics.quality import Pristine, niqe, niqe_features
from anon.metrics.verification import ProtectionSuccess, balanced_accuracy, best_accuracy

BEFORE = torch.tensor([0.9, 0.8, 0.7, 0.3])  # similarities of four genuine pairs, unchanged
AFTER = torch.tensor([0.2, 0.75, 0.1, 0.2])  # the same, changed
IMPOSTOR = torch.tensor([0.1, 0.2, 0.4, 0.5])


def toolbox_threshold(genuine, impostor):
    """The similarity at which most pairs are judged rightly; of equals the highest."""
    scores = torch.cat([genuine, impostor]).sort(descending=True).values
    right = [float((genuine >= each).float().sum() + (impostor < each).float().sum()) for each in scores]
    return float(scores[right.index(max(right))])


def toolbox_psr(before, after, threshold):
    """Of *all* genuine pairs, those that were accepted and are no longer."""
    return float(((before >= threshold) & (after < threshold)).float().mean())


def ours(before, after, threshold):
    """Ours asks for distances below a threshold, so a similarity at the threshold needs the next number above."""
    rate = ProtectionSuccess(math.nextafter(1 - threshold, 2))
    rate.update(1 - before.double(), 1 - after.double())
    return float(rate.compute()), int(rate.faces)


def test_their_threshold_and_accuracy():
    """At .7 three of four genuine pairs are accepted and no impostor: 7 of 8 are right."""
    threshold = toolbox_threshold(BEFORE, IMPOSTOR)
    assert threshold == pytest.approx(0.7)
    accuracy, limit = best_accuracy(1 - BEFORE, 1 - IMPOSTOR)
    assert accuracy == 7 / 8 and limit == pytest.approx(1 - 0.5)  # any distance above .3, up to .5, does the same
    assert balanced_accuracy(1 - BEFORE, 1 - IMPOSTOR, 0.5) == 7 / 8


def test_their_psr_is_of_all_pairs():
    """.9 and .7 are rejected after the change and .8 is not: 2 of 4 by theirs, 2 of the 3 accepted by ours."""
    assert toolbox_psr(BEFORE, AFTER, 0.7) == 0.5
    rate, accepted = ours(BEFORE, AFTER, 0.6999)
    assert (rate, accepted) == (pytest.approx(2 / 3), 3)
    tar_unchanged = accepted / len(BEFORE)
    assert rate * tar_unchanged == pytest.approx(toolbox_psr(BEFORE, AFTER, 0.6999))


def test_a_judge_that_knows_nobody_protects_nobody():
    """Where no unchanged pair is accepted theirs is 0, which reads as no protection; ours has no value."""
    assert toolbox_psr(IMPOSTOR, AFTER, 0.99) == 0.0
    rate, accepted = ours(IMPOSTOR, AFTER, 0.99)
    assert accepted == 0 and math.isnan(rate)


def test_a_threshold_at_the_median_is_always_a_half():
    """``PrivacyMetrics`` takes the median of the very scores: hidden, shown or random, half lies below."""
    rng = torch.Generator().manual_seed(0)
    for scores in (AFTER, BEFORE, torch.rand(1001, generator=rng), 0.01 * torch.rand(1001, generator=rng)):
        psr = 1 - float((scores >= scores.quantile(0.5)).double().mean())
        assert psr == pytest.approx(0.5, abs=1 / len(scores))


def test_psnr_is_the_same_in_either_range():
    """A difference of .1 in [0, 1] is .2 in [-1, 1]: 20 dB in both."""
    picture = torch.full((1, 3, 32, 32), 0.4)
    theirs = 10 * math.log10(1 / float(((picture + 0.1) - picture).square().mean()))
    assert theirs == pytest.approx(20.0, abs=1e-3)
    assert float(psnr((picture + 0.1) * 2 - 1, picture * 2 - 1)) == pytest.approx(theirs, abs=1e-3)


def test_ssim_is_the_same():
    """Theirs is of [0, 1], and so is ours, whatever the range in which pictures are here."""
    rng = torch.Generator().manual_seed(0)
    picture = torch.rand(2, 3, 64, 64, generator=rng)
    worse = (picture + 0.1 * torch.randn(2, 3, 64, 64, generator=rng)).clamp(0, 1)
    theirs = structural_similarity_index_measure(worse, picture, data_range=1.0, reduction="none")
    assert torch.allclose(ssim(worse * 2 - 1, picture * 2 - 1), theirs, atol=1e-5)


def test_lpips_is_another_network(tmp_path: Path):
    """Theirs is of VGG-16 and of pictures in [0, 1], ours of AlexNet in [-1, 1]: the range is no difference."""
    import lpips

    torch.manual_seed(0)
    theirs, alex = (lpips.LPIPS(net=net, pnet_rand=True, verbose=False).eval() for net in ("vgg", "alex"))
    state = {f"features.{key.split('.', 1)[1]}": value for key, value in alex.net.state_dict().items()}
    torch.save(state, tmp_path / "alexnet.pth")
    picture, worse = torch.rand(2, 2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    found = Lpips(tmp_path / "alexnet.pth")(worse * 2 - 1, picture * 2 - 1)
    with torch.no_grad():
        torch.testing.assert_close(found, alex(worse, picture, normalize=True).flatten(), atol=1e-5, rtol=0)
        other = theirs(worse, picture, normalize=True).flatten()
        torch.testing.assert_close(other, theirs(worse * 2 - 1, picture * 2 - 1).flatten(), atol=1e-5, rtol=0)
    assert [each.chns for each in (theirs, alex)] == [[64, 128, 256, 512, 512], [64, 192, 384, 256, 256]]
    assert float((other - found).abs().min()) > 1e-3


def test_fid_is_the_same_distance():
    """One feature, means 0 and 3, variances 1 and 4: 9 + 1 + 4 - 2 sqrt(4) = 10. Theirs asks Inception for features."""

    def theirs(a: np.ndarray, b: np.ndarray) -> float:
        one, other = (np.atleast_2d(np.cov(each, rowvar=False)) for each in (a, b))
        root = np.atleast_2d(sqrtm(one @ other)).real
        gap = a.mean(0) - b.mean(0)
        return float(gap @ gap + np.trace(one) + np.trace(other) - 2 * np.trace(root))

    a = torch.tensor([[-1.0], [0.0], [1.0]])
    b = 2 * a + 3
    assert theirs(a.numpy(), b.numpy()) == pytest.approx(10.0)
    assert float(frechet_distance(a, b)) == pytest.approx(10.0, abs=1e-5)
    rng = torch.Generator().manual_seed(0)
    a, b = torch.randn(60, 5, generator=rng).double(), 1 + torch.randn(50, 5, generator=rng).double()
    assert float(frechet_distance(a, b)) == pytest.approx(theirs(a.numpy(), b.numpy()), rel=1e-5)


def toolbox_niqe(features: torch.Tensor, mean: torch.Tensor, covariance: torch.Tensor) -> float:
    """Of the features (N, 36) of one picture's blocks of 96 x 96: the mean of both covariances is inverted."""
    own = torch.cov(features.T)
    gap = mean - features.mean(0)
    return float((gap @ torch.linalg.pinv((covariance + own) / 2, hermitian=True) @ gap).sqrt())


def test_niqe_takes_one_covariance_less():
    """Blocks that spread like the pristine pictures: both agree; blocks that do not: theirs is sqrt(2) times ours."""
    rng = torch.Generator().manual_seed(0)
    pristine = torch.randn(200, 36, generator=rng).double() @ torch.randn(36, 36, generator=rng).double()
    model = Pristine.fit(pristine)
    covariance = torch.cov(pristine.T)
    shifted = pristine + 2.0
    ours = float(niqe(shifted.mean(0, keepdim=True), model))
    assert toolbox_niqe(shifted, pristine.mean(0), covariance) == pytest.approx(ours, rel=1e-6)
    still = shifted.mean(0, keepdim=True).expand(4, -1)
    assert toolbox_niqe(still, pristine.mean(0), covariance) == pytest.approx(math.sqrt(2) * ours, rel=1e-6)


def test_niqe_has_no_blocks_in_a_face():
    """A crop of 112 pixels is one block, whose covariance is 0 / 0, and one of 64 is none; ours scores both."""
    faces = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert (64 // 96) ** 2 == 0 and (112 // 96) ** 2 == 1
    one_block = niqe_features(faces)
    with pytest.warns(UserWarning, match="degrees of freedom"):
        assert not math.isfinite(toolbox_niqe(one_block, torch.zeros(36).double(), torch.eye(36).double()))
    model = Pristine.fit(torch.randn(100, 36, generator=torch.Generator().manual_seed(1)))
    assert bool(niqe(one_block, model).isfinite().all())
