"""Ranks at scale: ``python benchmarks/retrieval.py [small]``.

:func:`anon.metrics.retrieval.ranks` against sorting each query's gallery in Python, on the same embeddings in one run:

    sorted, cosine a pair   ``sorted(gallery, key=lambda entry: distance(query, entry))`` with a cosine distance that
                            divides by both norms: FaceAnonEval's rank-k and its embedding_distance
    sorted, dot a pair      the same with the cheapest distance of unit vectors
    sorted, a product       one NumPy product for all of the query's distances, then ``sorted``

The ways take turns on the same queries, window by window. The embeddings are unit vectors in multiples of 1 / 256, so
every distance is exact in float32 in whatever order it is summed: the ranks must be equal, ties (there are many)
included. Before and after, all 10,000 x 10,000 and 1,000 probes x 1,000,000 entries at D = 512, with the growth of the
process' memory above the inputs (``small``: a tenth of the sizes).
"""

from __future__ import annotations

import ctypes
import os
import platform
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from anon.metrics.retrieval import mean_reciprocal_rank, rank_rates, ranks

DIM, STEPS, WINDOWS, QUERIES = 512, 256, 3, 200

Distance = Callable[[np.ndarray, np.ndarray], float]


def exact_units(vectors: Tensor) -> Tensor:
    """Unit vectors (N, DIM) near the given ones, in place: multiples of 1 / STEPS whose squares sum to exactly 1.

    All but four coordinates are rounded; the last four hold what is left, by Lagrange's four-square theorem.
    """
    left = 1460  # on average, of STEPS²; about 10 deviations from 0
    head = vectors[:, :-4]
    head.div_(torch.linalg.vector_norm(head, dim=1, keepdim=True)).mul_((STEPS**2 - left) ** 0.5).round_()
    rest = STEPS**2 - torch.linalg.vector_norm(head, dim=1).double().square().round().long()
    pairs = {a * a + b * b: (a, b) for a in range(64) for b in range(64)}
    fours = [next(pairs[part] + pairs[sum_ - part] for part in pairs if sum_ - part in pairs) for sum_ in range(3000)]
    vectors[:, -4:] = torch.tensor(fours, dtype=torch.float32)[rest]
    return vectors.div_(STEPS)


def enrolled(count: int, seed: int = 0) -> Tensor:
    """(count, DIM) embeddings."""
    return exact_units(torch.randn(count, DIM, generator=torch.Generator().manual_seed(seed)))


def probed(gallery: Tensor, owners: Tensor, seed: int = 1) -> Tensor:
    """The owners' entries under so much noise that ranks spread from 1 into the thousands."""
    noise = torch.randn(len(owners), DIM, generator=torch.Generator().manual_seed(seed))
    return exact_units(noise.mul_(0.3).add_(gallery[owners]))


def place(query_label: int, labels: list[int], nearest_first: list[int]) -> int:
    """Place of the first entry of the query's person, from 1 on."""
    return 1 + next(at for at, entry in enumerate(nearest_first) if labels[entry] == query_label)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """As FaceAnonEval's embedding_distance has it."""
    return 1 - np.dot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b))


def dot(a: np.ndarray, b: np.ndarray) -> float:
    """The cheapest call that gives the distance of unit vectors."""
    return 1.0 - float(a @ b)


def by_pairs(
    queries: np.ndarray, owners: list[int], gallery: list[np.ndarray], labels: list[int], distance: Distance
) -> list[int]:
    """A Python call for each distance, then a sort."""
    entries = range(len(gallery))
    return [
        place(owner, labels, sorted(entries, key=lambda entry, query=query: distance(query, gallery[entry])))
        for query, owner in zip(queries, owners, strict=True)
    ]


def by_product(queries: np.ndarray, owners: list[int], gallery: np.ndarray, labels: list[int]) -> list[int]:
    """One product for a query's distances, then a sort."""
    entries, found = range(len(gallery)), []
    for query, owner in zip(queries, owners, strict=True):
        found.append(place(owner, labels, sorted(entries, key=(1.0 - gallery @ query).tolist().__getitem__)))
    return found


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measured(probes: Tensor, owners: Tensor, gallery: Tensor, labels: Tensor) -> tuple[Tensor, float, float]:
    """Ranks, seconds, and the most MiB that the process grew by, looked at every 2 ms."""
    ctypes.CDLL(None).malloc_trim(0)  # what earlier work freed shall not be counted as there already
    over, most, start = threading.Event(), [0], resident()

    def watch() -> None:
        while not over.wait(0.002):
            most[0] = max(most[0], resident() - start)

    watcher = threading.Thread(target=watch)
    watcher.start()
    begin = time.perf_counter()
    found = ranks(probes, owners, gallery, labels)
    seconds = time.perf_counter() - begin
    over.set()
    watcher.join()
    return found, seconds, most[0] / 2**20


def report(name: str, probes: Tensor, owners: Tensor, gallery: Tensor, labels: Tensor) -> None:
    found, seconds, grown = measured(probes, owners, gallery, labels)
    rate = 2 * len(probes) * gallery.numel() / seconds / 1e9
    first, fifth, tenth = rank_rates(found).tolist()
    print(f"{name}: {seconds:.2f} s ({rate:.0f} GFLOP/s), {grown:.0f} MiB above the inputs")
    print(
        f"  rank-1 {first:.3f}, rank-5 {fifth:.3f}, rank-10 {tenth:.3f}, MRR {float(mean_reciprocal_rank(found)):.3f}"
    )


if __name__ == "__main__":
    scale = 10 if sys.argv[1:] == ["small"] else 1
    people, crowd = 10_000 // scale, 1_000_000 // scale
    machine = platform.processor() or platform.machine()
    print(f"{machine}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {torch.get_num_threads()} threads")
    print(f"torch {torch.__version__}, numpy {np.__version__}, D = {DIM}, float32")
    labels = torch.arange(people)
    gallery = enrolled(people)
    probes = probed(gallery, labels)
    ranks(probes[:600], labels[:600], gallery, labels)  # a warm-up of both block sizes
    report(f"ours, {people:,} x {people:,}", probes, labels, gallery, labels)

    names, table, rows = labels.tolist(), gallery.numpy(), list(gallery.numpy())
    seconds: dict[str, list[float]] = {
        "ours": [],
        "sorted, a product": [],
        "sorted, dot a pair": [],
        "sorted, cosine a pair": [],
    }
    chosen = torch.randperm(people, generator=torch.Generator().manual_seed(2))[: WINDOWS * QUERIES]
    for owners in chosen.split(QUERIES):
        batch, wanted = probes[owners], owners.tolist()
        ways = {
            "ours": lambda batch=batch, owners=owners: ranks(batch, owners, gallery, labels).tolist(),
            "sorted, a product": lambda b=batch, w=wanted: by_product(b.numpy(), w, table, names),
            "sorted, dot a pair": lambda b=batch, w=wanted: by_pairs(b.numpy(), w, rows, names, dot),
            "sorted, cosine a pair": lambda b=batch, w=wanted: by_pairs(b.numpy(), w, rows, names, cosine),
        }
        results = []
        for name, way in ways.items():
            start = time.perf_counter()
            results.append(way())
            seconds[name].append((time.perf_counter() - start) / len(owners))
        if any(result != results[0] for result in results):
            raise SystemExit("The ranks differ.")
    print(f"{len(chosen)} queries in {WINDOWS} windows, {people:,} entries, equal ranks; milliseconds a query")
    ours = statistics.median(seconds["ours"])
    for name, values in seconds.items():
        middle = statistics.median(values)
        print(
            f"  {name:22} median {1e3 * middle:8.3f}, from {1e3 * min(values):.3f} to {1e3 * max(values):.3f}, "
            f"{middle / ours:.0f} x ours"
        )

    del gallery, probes, table, rows
    gallery, owners = enrolled(crowd), torch.arange(0, crowd, 1000)
    probes = probed(gallery, owners)
    report(f"ours, {len(owners):,} x {crowd:,}", probes, owners, gallery, torch.arange(crowd))
