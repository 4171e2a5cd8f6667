"""Distances of sets, swaps and keys, against numbers by hand and against the metrics' classes."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from torch import nn

from anon.errors import UserError
from anon.evaluation.harness.context import PUBLISHED, TARGET, MeasureContext
from anon.evaluation.harness.pictures import Readers
from anon.evaluation.harness.suite import Combination
from anon.evaluation.judges.gallery import Gallery
from anon.evaluation.measures.distribution import Distribution, narrowed
from anon.evaluation.measures.recovery import Recovery
from anon.evaluation.measures.swap import Swap, resampled_areas
from anon.faces.contract import to_float
from anon.metrics.comparisons import FourComparisons
from anon.metrics.distances import DistanceDistributions, intersection_area
from anon.metrics.frechet import frechet_distance, frechet_resampled
from tests.evaluation import tiny_world
from tests.evaluation.harness.tiny_stages import settings, stages
from tests.evaluation.measures.known_context import KnownContext


def features(seed=0, faces=24, dim=4):
    return torch.randn(faces, dim, generator=torch.Generator().manual_seed(seed))


def test_a_shifted_set():
    """One covariance, means (3, 4) apart: FID 25 in every resample, and of clips too, whose changes stay."""
    target = features(dim=2)
    shift = torch.tensor([3.0, 4.0])
    context = KnownContext(
        [label // 4 for label in range(24)],
        z={"target": target, "changed": target + shift},
        clips={"target": target.view(6, 4, 2), "changed": target.view(6, 4, 2) + shift},
        clip_labels=[0, 1, 2, 3, 4, 5],
    )
    found = Distribution(resamples=50)(context)
    for name, n in (("FID_judge", 24), ("VFID_judge", 6)):
        assert found[name].value == pytest.approx(25.0, abs=1e-4) and found[name].n == n
        assert found[name].low == pytest.approx(25.0, abs=1e-4) and found[name].high == pytest.approx(25.0, abs=1e-4)
        assert len(found[name].draws) == 50
    assert len(found["KID_judge"].draws) == 200 and found["KID_judge"].value > 1
    assert found["FID"].reason.startswith("needs suite.measures.distribution.inception=")


def test_kernel_distance_by_hand():
    """k(x, y) = (x y + 1)³ of 0, 1 before and 1, 1 after: 1 + 8 - 2 (1 + 8) / 2 = 0; of 0, 0 after: 1 + 1 - 2 = 0."""
    context = KnownContext([7, 8], z={"target": torch.tensor([[0.0], [1.0]]), "changed": torch.tensor([[1.0], [1.0]])})
    assert Distribution()(context)["KID_judge"].value == pytest.approx(0.0)
    other = KnownContext([7, 8], z={"target": torch.tensor([[1.0], [1.0]]), "changed": torch.tensor([[0.0], [0.0]])})
    assert Distribution()(other)["KID_judge"].value == pytest.approx(8 + 1 - 2)


def test_equal_sets_have_no_distance():
    context = KnownContext([label // 4 for label in range(24)], z={"target": features(), "changed": features()})
    found = Distribution()(context)
    assert found["FID_judge"].value == pytest.approx(0.0, abs=1e-9) and found["FID_judge"].low == 0.0
    assert found["VFID_judge"].reason == "n/a (no clips)"


def test_a_narrower_space_keeps_the_distances():
    a, b = features(0, 5, 64), features(1, 4, 64) + 0.5
    one, other = narrowed(a, b)
    assert one.shape == (5, 9) and other.shape == (4, 9)
    torch.testing.assert_close(frechet_distance(one, other), frechet_distance(a, b))
    assert narrowed(features(), features())[0].shape == (24, 4)  # nothing to gain


def test_intervals_have_the_resamples_spread_around_the_value():
    target, changed = features(), features(1) * 1.5
    context = KnownContext([label // 4 for label in range(24)], z={"target": target, "changed": changed})
    found = Distribution(resamples=40)(context)["FID_judge"]
    people = torch.arange(24) // 4
    raw = frechet_resampled(changed, target, people, context.bootstrap.weights[:40])
    torch.testing.assert_close(found.draws, (raw - raw.mean() + found.value).clamp_min(0))
    assert found.low < found.value < found.high and float(raw.std()) > 0.1


def test_inception_is_a_file_that_is_there(tmp_path):
    with pytest.raises(UserError, match="is no file"):
        Distribution(inception=str(tmp_path / "none.pth"))


def test_fid_is_of_inceptions_features(tmp_path, monkeypatch):
    """A network that gives mean and variance of the eight-bit pictures stands in for Inception."""
    file = tmp_path / "pt_inception.pth"
    file.write_bytes(b"weights")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    measure = Distribution(inception=str(file), inception_resamples=7)
    measure.__dict__["_network"] = Moments()
    context = MeasureContext(stages(), Combination("default", "pixelate"))
    found = measure(context)["FID"]
    sets = [
        Moments()((to_float(context.view(of).eight_bits()) * 127.5 + 127.5).round().byte())
        for of in (TARGET, PUBLISHED)
    ]
    means, covariances = [x.mean(0) for x in sets], [torch.cov(x.T) for x in sets]
    one, other = (torch.linalg.eigh(c) for c in covariances)
    root = one.eigenvectors * one.eigenvalues.sqrt() @ one.eigenvectors.T
    mixed = torch.linalg.eigvalsh(root @ covariances[1] @ root).clamp_min(0).sqrt().sum()
    expected = (means[0] - means[1]).square().sum() + sum(c.trace() for c in covariances) - 2 * mixed
    assert found.value == pytest.approx(float(expected), rel=1e-3) and len(found.draws) == 7
    assert len(other.eigenvalues) == 2


class Moments(nn.Module):
    def forward(self, images):
        assert images.dtype == torch.uint8
        flat = images.float().flatten(1)
        return torch.stack([flat.mean(1), flat.std(1)], 1)


class Expressive(nn.Module):
    """Reads brightness as the expression, and landmarks that depend on it too."""

    name, reads = "expressive", ("expression", "landmarks")

    def forward(self, images, points=None):
        mean = images.mean((2, 3))  # (B, 3)
        square = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
        return {
            "expression": mean,
            "landmarks": square + mean[:, :1, None] * torch.tensor([[0.0, 0.0], [1, 0], [0, 0], [0, 0]]),
        }


@pytest.fixture(scope="module")
def swapped():
    made = stages()
    made.readers = Readers(Expressive(), "expressive")
    context = MeasureContext(made, Combination("default", "other", "source"))
    return context, Swap(bins=8)(context)


def sources_of(context):
    people = context.people
    return people.items.faces.images[people.sources[context.rows]]


def test_the_sources_embeddings_and_cosines(swapped):
    context, found = swapped
    judge = tiny_world.judge(1)
    source = judge.embed(sources_of(context))
    changed = judge.embed(to_float(context.view(PUBLISHED).eight_bits()))
    assert found["cosine_source"].value == pytest.approx(float((source * changed).sum(1).mean()), abs=2e-3)
    gallery = context.gallery
    nearest = gallery.people[(changed @ gallery.averages.T).argmax(1)]
    assert found["swap_ID"].value == pytest.approx(float((nearest == context.source_labels).double().mean()))
    assert found["swap_ID_target"].value == pytest.approx(float((nearest == context.labels).double().mean()))
    assert found["swap_ID_threshold"].value <= found["swap_ID"].value
    assert not bool((context.source_labels == context.labels).any())


def test_the_four_comparisons_are_the_metrics(swapped):
    context, found = swapped
    metric, gallery = FourComparisons(), context.gallery
    original, changed = context.z(TARGET), context.z(PUBLISHED)
    for row in range(len(context.labels)):
        own, other = (gallery.averages[gallery.people == who[row]] for who in (context.labels, context.source_labels))
        metric.update(original[row : row + 1], changed[row : row + 1], own, other)
    for name, value in metric.compute().items():
        figure = found[f"C_{name.removesuffix('_mean')}"]
        assert figure.value == pytest.approx(float(value), abs=1e-5)
        assert figure.low <= figure.value <= figure.high or name.endswith("_std")


def test_the_distributions_are_the_metrics(swapped):
    context, found = swapped
    metric = DistanceDistributions(bins=8)
    metric.update(context.z(TARGET), context.z_of_sources(), context.z(PUBLISHED))
    for distance, figures in metric.compute().items():
        for name, value in figures._asdict().items():
            kind = "area" if name in ("stranger_to_target", "stranger_to_source", "midway") else "mean"
            figure = found[f"{kind}_{distance}_{name}"]
            assert figure.value == pytest.approx(value, abs=1e-5) and figure.low <= figure.value <= figure.high


def test_few_faces_have_no_area(swapped):
    found = Swap(bins=50)(swapped[0])
    assert found["area_l1_midway"].reason == "n/a (35 faces in 50 bins)" and found["mean_l1_target_changed"].value > 0


def test_a_resampled_area_is_that_of_values_written_several_times():
    rng = torch.Generator().manual_seed(0)
    first, second = torch.rand(40, generator=rng), torch.rand(40, generator=rng) + 0.3
    people = torch.arange(40) % 4
    weights = torch.tensor([[1.0, 1.0, 1.0, 1.0], [2.0, 1.0, 0.0, 1.0]], dtype=torch.float64)
    found = resampled_areas(first, second, people, weights, bins=10)
    assert float(found[0]) == pytest.approx(intersection_area(first, second, 10))
    both = torch.cat([first, second]).double()
    place = ((both - both.min()) / ((both.max() - both.min()) / 10)).long().clamp(max=9)
    times = weights[1][people].long()
    shares = [torch.bincount(part.repeat_interleave(times), minlength=10) / times.sum() for part in place.split(40)]
    assert float(found[1]) == pytest.approx(float(torch.minimum(*shares).sum()), abs=1e-6)


def test_the_expression_between_target_and_source(swapped):
    context, found = swapped
    read = [
        image.mean((2, 3))
        for image in (sources_of(context), *(to_float(context.view(of).eight_bits()) for of in (TARGET, PUBLISHED)))
    ]
    source, target, changed = read
    t2c, s2c, t2s = ((a - b).norm(dim=1) for a, b in ((target, changed), (source, changed), (target, source)))
    assert found["swap_expression_t2c"].value == pytest.approx(float(t2c.mean()), abs=3e-3)
    assert found["swap_expression_error"].value == pytest.approx(float((t2s - t2c).square().mean().sqrt()), abs=3e-3)
    assert found["swap_expression_closer"].value == pytest.approx(float((t2c < s2c).double().mean()), abs=0.06)
    assert 0 < found["swap_landmarks_t2c"].value < 1
    error = found["swap_expression_error"]
    assert error.low <= error.value <= error.high and torch.isfinite(error.draws).all()


def test_one_person_cannot_be_swapped():
    context = KnownContext([7, 7])
    context.given_method.source = True
    context.sources = context.source_labels = torch.tensor([7, 7])
    assert Swap()(context)["swap_ID"].reason == "n/a (nobody else to swap in)"


def test_who_is_seen_by_hand():
    """Two swaps: one becomes its source, one stays; the source's axis is the next one."""
    z = torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    gallery = Gallery(torch.eye(2), torch.tensor([7, 8]), torch.eye(2), torch.tensor([7, 8]), 0.3)
    context = KnownContext([7, 8], z={"target": torch.eye(2), "changed": z}, gallery=gallery)
    context.given_method.source = True
    context.sources = context.source_labels = torch.tensor([8, 7])
    context.z_of_sources = lambda: torch.eye(2).flip(0)
    context.stages.gallery = lambda data, by: gallery
    found = {name: figure.value for name, figure in Swap()(context).items()}
    assert (found["swap_ID"], found["swap_ID_target"], found["cosine_source"]) == (0.5, 0.5, 0.5)
    assert (found["C_swapped_swapped"], found["C_swapped_swapped_std"]) == (0.5, 0.5)
    assert (found["C_original_original"], found["C_original_swapped"]) == (0.0, 1.0)


class Rolled(nn.Module):
    """Moves the picture's columns by the key; the right key moves them back."""

    def forward(self, images, *, source=None, key=None, track=None, rng=None):
        shift = torch.zeros(len(images), dtype=torch.long) if key is None else key
        columns = (torch.arange(16) - shift[:, None]) % 16
        return images.gather(3, columns[:, None, None].expand_as(images))

    def recover(self, images, key):
        return self(images, key=-key)


def test_keys():
    methods = {**settings()["methods"], "rolled": {"title": "Rolled", "anonymizer": {"_target_": f"{__name__}.Rolled"}}}
    made = stages(methods=methods, attacked_probes=2)
    context = MeasureContext(made, Combination("default", "rolled"))
    found = Recovery(keys=16)(context)
    assert {name: found[name].value for name in ("recovery_right_mae", "recovery_right_verified")} == {
        "recovery_right_mae": 0.0,
        "recovery_right_verified": 1.0,
    }
    assert found["recovery_right_ssim"].value == pytest.approx(1.0)
    assert found["recovery_right_psnr"].reason == "n/a (infinite)"
    assert found["recovery_wrong_mae"].value > 0.3 and found["recovery_wrong_verified"].value < 0.3
    assert found["recovery_wrong_psnr"].value < 20 and found["recovery_wrong_mae"].n == 14  # two of seven people each
    assert Recovery()(MeasureContext(made, Combination("default", "rolled", defense="half"))) == {}
