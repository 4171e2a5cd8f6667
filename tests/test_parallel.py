"""Parts of a batch side by side: the same numbers in the same order, and nothing of it is left behind."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import nn

from anon.anonymizers.composed import Anonymizer
from anon.generators.fiva import FIVA
from anon.identity.encoder import Encoder
from anon.identity.networks.iresnet import iresnet_small
from anon.identity.policies import Negation
from anon.metrics.preservation import ssim
from anon.parallel import has_cores, in_parts, remembers_nothing, side_by_side

ROWS = [(torch.full((2,), float(number)),) for number in range(5)]


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def told(rows):
    return float(rows[0]), threading.current_thread() is threading.main_thread(), torch.get_num_threads()


def test_order_threads_and_what_is_left(two_threads):
    with torch.no_grad():
        found = side_by_side(told, ROWS)
    assert found == [(float(number), False, 1) for number in range(5)]
    assert torch.get_num_threads() == 2
    after = []
    thread = threading.Thread(target=lambda: after.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert after == [2]


def test_gradients_and_single_parts_stay_where_they_are(two_threads):
    x = torch.ones(3, requires_grad=True)
    sum(side_by_side(lambda part: part.sum(), [(x,), (x,)])).backward()
    assert x.grad.tolist() == [2.0] * 3
    with torch.no_grad():
        assert side_by_side(told, ROWS[:1]) == [(0.0, True, 2)]


def test_an_error_of_a_part_is_raised_and_the_threads_are_put_back(two_threads):
    def fails(rows):
        if rows[0] == 3:
            raise ValueError("the third")
        return rows

    with torch.no_grad(), pytest.raises(ValueError, match="the third"):
        side_by_side(fails, ROWS)
    assert torch.get_num_threads() == 2


class Counts(nn.Module):
    """Remembers how many pictures it saw before."""

    def forward(self, x):
        self.seen = getattr(self, "seen", 0) + len(x)
        return torch.full((len(x),), float(self.seen))


def test_what_remembers_is_asked_once(two_threads):
    counts = Counts()
    assert (
        not remembers_nothing(counts) and not remembers_nothing(nn.Sequential(counts)) and not remembers_nothing(told)
    )
    assert in_parts(counts, torch.zeros(40), by=counts).tolist() == [40.0] * 40


@pytest.mark.parametrize("count", [33, 64])
def test_faces_are_the_same_to_the_last_bit(two_threads, count):
    """Of a generator, of its recognizer and of a metric, beside one core that does everything."""
    rng = torch.Generator().manual_seed(0)
    images = torch.rand(count, 3, 64, 64, generator=rng) * 2 - 1
    network = Encoder(iresnet_small(), 64, weights="shipped:synthetic_a")
    made = Anonymizer(network, Negation(), FIVA(widths=(16, 32), z_dim=network.dim)).eval()
    found = []
    for threads in (2, 1):
        torch.set_num_threads(threads)
        with torch.no_grad():
            drawn = made(images)
            found.append((drawn, made.identify(images), in_parts(ssim, drawn, images, by=ssim)))
    torch.set_num_threads(1)
    with torch.no_grad():
        whole = (found[1][0], network(images).z, ssim(found[1][0], images))
    for parts in zip(*found, whole, strict=True):
        assert torch.equal(parts[0], parts[1]) and torch.equal(parts[1], parts[2])


@pytest.mark.parametrize("threads, gradients, parts", [(2, False, [20, 20]), (1, False, [40]), (2, True, [40])])
def test_a_batch_is_cut_for_several_cores_alone(two_threads, threads, gradients, parts):
    """Neither for one core nor where gradients are recorded, and so on no GPU, whose batches are not on a CPU."""
    torch.set_num_threads(threads)
    seen = []

    class Spy(nn.Linear):
        __module__ = "anon.tests"

        def forward(self, x):
            seen.append(len(x))
            return x

    spy = Spy(1, 1)
    with torch.set_grad_enabled(gradients):
        rows = torch.arange(40.0)
        assert torch.equal(in_parts(spy, rows, by=spy), rows) and sorted(seen) == parts
    assert not has_cores(torch.zeros(2, device="meta"))
