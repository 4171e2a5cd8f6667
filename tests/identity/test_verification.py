"""Verification figures against numbers worked out by hand on a tiny set."""

from __future__ import annotations

import math

import pytest
import torch

from anon.errors import UserError
from anon.identity.verification import (
    distance,
    distances,
    embed_faces,
    equal_error_rate,
    kfold_accuracy,
    pair_distances,
    rank1,
    roc,
    summarize,
    tar_at_far,
    threshold_at_far,
)

GENUINE = torch.tensor([0.6, 0.1, 0.2])
IMPOSTOR = torch.tensor([0.5, 0.3, 0.9, 0.7])


def test_equal_error_rate_by_hand():
    # th in (.3, .5]: FAR 1/4 (.3), FRR 1/3 (.6), the least difference, 1/12; their mean is 7/24.
    eer, threshold = equal_error_rate(GENUINE, IMPOSTOR)
    assert eer == pytest.approx(7 / 24)
    assert threshold == pytest.approx(0.5)


def test_equal_error_rate_of_separable_and_of_identical_sets():
    assert equal_error_rate(torch.tensor([0.1, 0.2]), torch.tensor([0.3, 0.4]))[0] == 0.0
    # All at one distance: th <= .5 gives FAR 0, FRR 1; above, FAR 1, FRR 0. Either way the mean is 1/2.
    assert equal_error_rate(torch.full((3,), 0.5), torch.full((5,), 0.5))[0] == 0.5
    assert equal_error_rate(torch.tensor([0.9]), torch.tensor([0.1]))[0] == 1.0  # upside down


def test_roc_by_hand():
    thresholds, far, tar = roc(GENUINE, IMPOSTOR)
    torch.testing.assert_close(thresholds[:-1].float(), torch.tensor([0.1, 0.2, 0.3, 0.5, 0.6, 0.7, 0.9]))
    assert math.isinf(thresholds[-1])
    torch.testing.assert_close(far.float(), torch.tensor([0, 0, 0, 0.25, 0.5, 0.5, 0.75, 1]))
    torch.testing.assert_close(tar.float(), torch.tensor([0, 1 / 3, 2 / 3, 2 / 3, 2 / 3, 1, 1, 1]))


@pytest.mark.parametrize(("far", "threshold"), [(0.25, 0.5), (0.5, 0.7), (0.74, 0.7), (0.75, 0.9)])
def test_threshold_at_far_by_hand(far, threshold):
    found, achieved = threshold_at_far(IMPOSTOR, far)
    assert found == pytest.approx(threshold)
    assert achieved == math.floor(far * 4) / 4


def test_threshold_at_far_is_the_largest_that_may_be():
    impostor = torch.rand(5000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    threshold, achieved = threshold_at_far(impostor, 0.001)
    assert achieved == pytest.approx(0.001)
    assert float((impostor < threshold).double().mean()) <= 0.001
    assert float((impostor < math.nextafter(threshold, 2)).double().mean()) > 0.001


def test_ties_at_the_threshold_are_all_refused():
    # Two of four may not be exceeded, but .3 comes three times: all three stay out, and the FAR is 0.
    assert threshold_at_far(torch.tensor([0.3, 0.3, 0.3, 0.9]), 0.5) == (pytest.approx(0.3), 0.0)


def test_too_few_impostors_are_refused():
    with pytest.raises(UserError, match="at least 1000 impostor pairs, got 999"):
        threshold_at_far(torch.rand(999), 0.001)
    assert threshold_at_far(torch.rand(1000), 0.001)[1] == 0.001
    with pytest.raises(UserError, match="between 0 and 1"):
        threshold_at_far(torch.rand(10), 0.0)


def test_no_pairs_are_refused():
    with pytest.raises(UserError, match="genuine and impostor"):
        equal_error_rate(torch.empty(0), IMPOSTOR)


def test_tar_at_far_by_hand():
    assert tar_at_far(GENUINE, IMPOSTOR, 0.25) == pytest.approx(2 / 3)  # below .5: .1 and .2
    assert tar_at_far(GENUINE, IMPOSTOR, 0.5) == 1.0  # below .7: all


@pytest.mark.parametrize("block", [1, 3, 1024])
def test_pair_distances_counts_each_pair_once(block):
    z = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.6, 0.8]])
    genuine, impostor = pair_distances(z, torch.tensor([0, 1, 0, 1]), block)
    torch.testing.assert_close(genuine.sort().values, torch.tensor([0.2, 2.0]))
    torch.testing.assert_close(impostor.sort().values, torch.tensor([0.4, 1.0, 1.0, 1.6]))


def test_rank1_by_hand():
    gallery, names = torch.eye(3), torch.tensor([7, 8, 9])
    probes = torch.tensor([[0.9, 0.1, 0.0], [0.8, 0.6, 0.0], [0.0, 0.0, 1.0]])
    assert rank1(gallery, names, probes, torch.tensor([7, 8, 9])) == pytest.approx(2 / 3)


def test_kfold_takes_the_threshold_from_the_other_folds():
    # Fold 1 alone is separated by any threshold in (.2, .3], fold 2 alone in (2.0, 3.0]. With the first best of the
    # other fold (2.01 and .21), fold 1 accepts everything and fold 2 refuses everything: one half right in each.
    squared = torch.tensor([0.2, 0.3, 2.0, 3.0], dtype=torch.float64)
    result = kfold_accuracy(squared, torch.tensor([True, False, True, False]), folds=2)
    assert result.accuracy == 0.5
    assert result.deviation == 0.0
    assert result.thresholds == [pytest.approx(2.01), pytest.approx(0.21)]


def test_kfold_on_separable_pairs_is_one():
    squared = torch.tensor([0.5, 1.5] * 10)
    assert kfold_accuracy(squared, torch.tensor([True, False] * 10), folds=5).accuracy == 1.0


def test_summary_of_a_perfect_and_of_a_confused_recognizer():
    labels = torch.arange(30).repeat_interleave(4)
    perfect = summarize(torch.eye(30)[labels], labels)
    assert (perfect["eer"], perfect["tar"], perfect["top1"]) == (0.0, 1.0, 1.0)
    assert (perfect["genuine_pairs"], perfect["impostor_pairs"]) == (30 * 6, 120 * 119 / 2 - 30 * 6)
    confused = labels.clone()
    confused[2::4] = (labels[2::4] + 1) % 30  # one of each person's two probes looks like the next person
    assert summarize(torch.eye(30)[confused], labels)["top1"] == 0.5


def test_embed_faces_keeps_the_order():
    class Faces:
        names: list[str] = ["a"]  # noqa: RUF012
        labels = videos = frames = torch.zeros(5, dtype=torch.int64)
        synthetic = True

        def __len__(self) -> int:
            return 5

        def __getitem__(self, index: int):
            return {"image": torch.full((3, 2, 2), float(index))}

    z = embed_faces(lambda images: images.mean((1, 2, 3))[:, None], Faces(), batch_size=2)
    assert z[:, 0].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_distance_by_hand():
    a, b = torch.tensor([[1.0, 0.0], [0.6, 0.8]]), torch.tensor([[0.0, 1.0], [0.6, -0.8]])
    torch.testing.assert_close(distance(a, b), torch.tensor([1.0, 1.28]))  # 1 - (.36 - .64)
    torch.testing.assert_close(distance(a, b, "euclidean"), torch.tensor([2**0.5, 1.6]))
    torch.testing.assert_close(distances(a, b), torch.tensor([[1.0, 0.4], [0.2, 1.28]]))
    rows = torch.tensor([[2**0.5, 0.8**0.5], [0.4**0.5, 1.6]])
    torch.testing.assert_close(distances(a, b, "euclidean"), rows)
    with pytest.raises(UserError, match="metric 'manhattan'; known are cosine and euclidean"):
        distance(a, b, "manhattan")


def test_a_euclidean_recognizer_is_judged_by_its_lengths():
    """People at 1, 5 and 9 on one ray: cosine cannot tell them, Euclidean distance does."""
    labels = torch.arange(3).repeat_interleave(4)
    z = torch.tensor([1.0, 5.0, 9.0])[labels, None] + torch.tensor([-0.2, -0.1, 0.1, 0.2]).repeat(3)[:, None]
    genuine, impostor = pair_distances(z, labels, metric="euclidean")
    assert len(genuine) == 18 and len(impostor) == 48
    assert float(genuine.max()) == pytest.approx(0.4) and float(impostor.min()) == pytest.approx(3.6)
    assert rank1(z[::4], labels[::4], z, labels, metric="euclidean") == 1.0
    found = summarize(z, labels, far=0.05, metric="euclidean")
    assert (found["eer"], found["tar"], found["top1"]) == (0.0, 1.0, 1.0)
    assert found["threshold"] == pytest.approx(3.6, abs=0.2)
