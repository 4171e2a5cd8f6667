from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize
from torchmetrics.functional.retrieval import retrieval_hit_rate, retrieval_reciprocal_rank

from anon.errors import UserError
from anon.metrics import retrieval as module
from anon.metrics.retrieval import NOT_ENROLLED, RankRates, mean_reciprocal_rank, rank_rates, ranks, retrieval_hits


def on_a_grid(count: int, seed: int) -> torch.Tensor:
    """Multiples of 1/4: every product is exact, and many are equal."""
    return torch.randint(-4, 5, (count, 6), generator=torch.Generator().manual_seed(seed)) / 4


def by_sorting(probes, labels, gallery, gallery_labels) -> list[int]:
    """Python's stable sort of every probe's distances."""
    found = []
    for probe, label in zip(probes, labels.tolist(), strict=True):
        order = sorted(range(len(gallery)), key=lambda entry, probe=probe: -float(probe @ gallery[entry]))
        places = [place for place, entry in enumerate(order, 1) if int(gallery_labels[entry]) == label]
        found.append(places[0] if places else NOT_ENROLLED)
    return found


@pytest.mark.parametrize("rows", [512, 7, 1])
def test_ranks_are_those_of_a_stable_sort_ties_included(rows, monkeypatch):
    monkeypatch.setattr(module, "TILE", 1)  # with the 1,024 columns that a tile has at least: two tiles
    gallery, people = on_a_grid(1300, 0), torch.randint(0, 300, (1300,), generator=torch.Generator().manual_seed(1))
    probes, labels = on_a_grid(40, 2), torch.arange(40) * 8
    labels[3] = 1000  # whom nobody enrolled
    expected = by_sorting(probes, labels, gallery, people)
    assert expected[3] == NOT_ENROLLED and len(set(expected)) > 20
    assert ranks(probes, labels, gallery, people, rows=rows).tolist() == expected


def test_of_equals_the_first_comes_first():
    gallery, probe = torch.tensor([[0.0, 1.0]] * 4), torch.tensor([[0.0, 1.0]])
    people = torch.tensor([5, 6, 5, 7])
    found = [int(ranks(probe, torch.tensor([who]), gallery, people)) for who in (5, 6, 7)]
    assert found == [1, 2, 4]


def test_euclidean_ranks_of_raw_vectors():
    """A long vector has the larger cosine product, a near one the smaller distance."""
    gallery, people = torch.tensor([[10.0, 0.0], [1.0, 1.0]]), torch.tensor([0, 1])
    probes, labels = torch.tensor([[1.0, 0.0]]), torch.tensor([1])
    assert ranks(probes, labels, gallery, people).tolist() == [2]
    assert ranks(probes, labels, gallery, people, metric="euclidean").tolist() == [1]


def test_rank_one_is_a_hit_without_threshold():
    gallery, people = on_a_grid(50, 3), torch.arange(50) % 20
    probes, labels = on_a_grid(200, 4), torch.arange(200) % 25
    hits = retrieval_hits(probes, labels, gallery, people)
    assert 0 < int(hits.sum()) < 200
    assert (ranks(probes, labels, gallery, people) == 1).tolist() == hits.tolist()


def test_rates_are_torchmetrics_of_each_query():
    rng = torch.Generator().manual_seed(5)
    gallery, people = normalize(torch.randn(60, 16, generator=rng)), torch.arange(60) % 25
    probes, labels = normalize(gallery[:30] + 0.4 * torch.randn(30, 16, generator=rng)), people[:30].clone()
    labels[0] = 99
    cosines, own = probes @ gallery.T, labels[:, None] == people
    metric = RankRates(gallery, people, ks=(1, 5, 10))
    metric.update(probes[:11], labels[:11])
    metric.update(probes[11:], labels[11:])
    found = {name: float(value) for name, value in metric.compute().items()}
    queries = list(zip(cosines, own, strict=True))
    for k in (1, 5, 10):
        each = [float(retrieval_hit_rate(*query, top_k=k)) for query in queries]
        assert found[f"rank{k}"] == pytest.approx(sum(each) / 30)
    each = [float(retrieval_reciprocal_rank(*query)) for query in queries]
    assert found["mrr"] == pytest.approx(sum(each) / 30)
    assert 0.1 < found["rank1"] < found["rank10"] < 1


def test_rates_by_hand():
    found = torch.tensor([1, 2, 10, 11, NOT_ENROLLED])
    assert rank_rates(found, (1, 2, 10)).tolist() == pytest.approx([0.2, 0.4, 0.6])
    assert float(mean_reciprocal_rank(found)) == pytest.approx((1 + 1 / 2 + 1 / 10 + 1 / 11) / 5)


def test_memory_bounds_the_rows(monkeypatch):
    """Each row of scores takes 4 bytes an entry, and the caller's."""
    monkeypatch.setattr(module, "BUDGET", 1000)
    sizes = [len(scores) for _, scores in module.closeness_blocks(torch.ones(9, 2), torch.ones(50, 2), row_bytes=50)]
    assert sizes == [4, 4, 1]
    assert [len(scores) for _, scores in module.closeness_blocks(torch.ones(2, 2), torch.ones(5000, 2))] == [1, 1]


def test_what_has_no_rank_is_refused():
    people = torch.tensor([0])
    with pytest.raises(UserError, match="gallery is empty"):
        ranks(torch.ones(1, 2), people, torch.empty(0, 2), people[:0])
    for probe, entry in ((float("nan"), 1.0), (1.0, float("inf"))):
        with pytest.raises(UserError, match="NaN or infinity"):
            ranks(torch.full((1, 2), probe), people, torch.full((1, 2), entry), people)
    assert ranks(torch.empty(0, 2), people[:0], torch.ones(1, 2), people).tolist() == []
