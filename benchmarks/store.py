"""The identity store of ``anon anonymize`` at scale: ``python benchmarks/store.py [--quick]``.

Look-ups of one face and of 32 together, by :class:`anon.identity.store.nearest.Nearest`, against an exact product over
all embeddings, and, up to :data:`OTHERS` people, against other indices of faiss and hnswlib where they are installed.
Embeddings are unit vectors of 512 numbers that vary in 200 directions: the cosines of strangers deviate by .07, about
what is published of ArcFace's; no million real people are at hand. Recall is the share of people who are asked for at a
cosine within the threshold and are found as the exact search finds them. Then the file: how large, how long it takes to
write, to open, to add a file's people, and to forget one.
"""

from __future__ import annotations

import argparse
import importlib
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from anon.identity.store.file import Store
from anon.identity.store.nearest import Nearest
from anon.identity.store.rows import BLOCK, Rows
from anon.identity.store.sealed import Secret
from benchmarks.machine import description, written

DIM, DIRECTIONS, TOGETHER, ASKED, ALONE = 512, 200, 32, 480, 64
OTHERS = 20_000  # people up to whom other indices are built; graphs of more take long
THRESHOLDS = (0.5, 0.6)
Search = Callable[[Tensor], Tensor]  # z (B, D) -> places (B,)


def embeddings(count: int, seed: int = 0) -> Tensor:
    """(count, DIM) unit vectors, as half precision has them, that vary in DIRECTIONS; blocks bound memory."""
    rng = torch.Generator().manual_seed(seed)
    turn = torch.linalg.qr(torch.randn(DIM, DIM, generator=torch.Generator().manual_seed(99)))[0][:DIRECTIONS]
    found = torch.empty(count, DIM, dtype=torch.half)
    for start in range(0, count, BLOCK):
        part = torch.randn(min(BLOCK, count - start), DIRECTIONS, generator=rng)
        found[start : start + len(part)] = F.normalize(part @ turn).half()
    return found


def asked(known: Tensor, places: Tensor, cosine: float) -> Tensor:
    """(N, DIM) unit vectors at exactly that cosine from the people at ``places``."""
    own = F.normalize(known[places].float())
    noise = embeddings(len(places), seed=1).float()
    side = F.normalize(noise - (noise * own).sum(1, keepdim=True) * own)
    return cosine * own + math.sqrt(1 - cosine**2) * side


def filled(known: Tensor) -> Rows:
    """The table of a store."""
    rows = Rows(DIM, len(known))
    for start in range(0, len(known), BLOCK):
        part = known[start : start + BLOCK]
        rows.new(part, -part, range(start + 1, start + len(part) + 1), 20787)
    return rows


def exactly(known: Tensor) -> Search:
    """One product of float32 over all, a block at a time."""
    whole = known.float()

    def search(z: Tensor) -> Tensor:
        best, place = torch.full((len(z),), -2.0), torch.zeros(len(z), dtype=torch.long)
        for start in range(0, len(whole), BLOCK):
            value, row = (z @ whole[start : start + BLOCK].T).max(1)
            place, best = torch.where(value > best, row + start, place), torch.maximum(value, best)
        return place

    return search


def timed(search: Search, z: Tensor, together: int) -> str:
    """Milliseconds a face: median, the 5th to the 95th percentile of calls, the least, and of the processor."""
    parts = list(z.split(together))
    search(parts[0])
    found, of_processor = list[float](), time.process_time()
    for part in parts:
        began = time.perf_counter()
        search(part)
        found.append(1e3 * (time.perf_counter() - began) / len(part))
    of_processor = 1e3 * (time.process_time() - of_processor) / len(z)
    low, high = np.quantile(found, [0.05, 0.95])
    return f"{statistics.median(found):.2f} ({low:.2f} to {high:.2f}), {min(found):.2f}, {of_processor:.2f}"


def others(known: Tensor) -> Iterator[tuple[str, Callable[[], Search]]]:
    """Indices that walk a graph or cluster, with the name of each and what builds it."""
    whole = known.float().numpy()

    def of_faiss(text: str, **settings: Any) -> Search:
        faiss = importlib.import_module("faiss")
        index = faiss.index_factory(DIM, text, faiss.METRIC_INNER_PRODUCT)
        index.train(whole)
        index.add(whole)
        faiss.ParameterSpace().set_index_parameters(index, ",".join(f"{k}={v}" for k, v in settings.items()))
        return lambda z: torch.from_numpy(index.search(z.numpy(), 1)[1][:, 0])

    def of_hnswlib(ef: int) -> Search:
        index = importlib.import_module("hnswlib").Index("ip", DIM)
        index.init_index(len(whole), ef_construction=200, M=16)
        index.set_num_threads(torch.get_num_threads())
        index.add_items(whole)
        index.set_ef(ef)
        return lambda z: torch.from_numpy(index.knn_query(z.numpy(), 1)[0][:, 0].astype(np.int64))

    yield "faiss HNSW32, efSearch 256", lambda: of_faiss("HNSW32", efSearch=256)
    yield "faiss IVF256, nprobe 32", lambda: of_faiss("IVF256,Flat", nprobe=32)
    yield "hnswlib M 16, ef 256", lambda: of_hnswlib(256)


def lookups(count: int, many: int) -> list[str]:
    """Rows of the table: all ways, at one number of people."""
    known = embeddings(count)
    places = torch.randperm(count, generator=torch.Generator().manual_seed(2))[:many]
    cosines = [1 - threshold + 0.001 for threshold in THRESHOLDS] + [0.8]
    z = [asked(known, places, cosine) for cosine in cosines]
    strangers = embeddings(many, seed=3).float()
    exact = exactly(known)
    truth = [torch.cat([exact(part) for part in each.split(TOGETHER)]) for each in z]

    def row(name: str, made: float, search: Search, thresholds: tuple[float, ...] = THRESHOLDS) -> str:
        at = [THRESHOLDS.index(each) for each in thresholds] + [len(THRESHOLDS)]
        recall = {}
        for i in at:
            found = torch.cat([search(part) for part in z[i].split(TOGETHER)])
            recall[i] = f"{float((found == truth[i]).double().mean()):.4f}"
        mixed = torch.stack((z[at[0]], strangers), 1).flatten(0, 1)[:many]
        alone, several = timed(search, mixed[:ALONE], 1), timed(search, mixed, TOGETHER)
        print(f"{count:,} people, {name}: {alone}", file=sys.stderr)
        cells = [f"{count:,}", name, f"{made:.1f}", alone, several, *(recall.get(i, "") for i in range(len(cosines)))]
        return f"| {' | '.join(cells)} |"

    lines, rows = [row("all, one product", 0.0, exact)], filled(known)
    for threshold in THRESHOLDS:
        began = time.perf_counter()
        search = Nearest(rows, threshold)
        made = time.perf_counter() - began
        name = f"**the store**, threshold {threshold:g}, {'sketches' if search.indexed else 'one product'}"
        lines.append(row(name, made, lambda part, search=search: search(part)[1], (threshold,)))
    if count <= OTHERS:
        for name, build in others(known):
            began = time.perf_counter()
            try:
                other = build()
            except ImportError:
                continue
            lines.append(row(name, time.perf_counter() - began, other))
    return lines


def of_files(count: int) -> str:
    """A row: what a store of so many people takes on disk and to handle."""
    known, seconds = embeddings(count), dict[str, str]()

    def noted(name: str, task: Callable[[], Any]) -> Any:
        began, of_processor = time.perf_counter(), time.process_time()
        result = task()
        took = time.perf_counter() - began
        seconds[name] = f"{took:.2f}, {time.process_time() - of_processor:.2f}"
        return result

    with tempfile.TemporaryDirectory() as folder:
        path, secret = Path(folder) / "people.store", Secret(b"correct horse battery staple")
        store = Store(path, secret)
        store.begin("e" * 64, DIM, 0.5)
        store.rows = filled(known)
        assert store.about is not None
        store.about = store.about._replace(next=count + 1)
        store.__enter__()
        noted("write", store.create)
        store.__exit__(None, None, None)
        size = path.stat().st_size
        del store
        store = Store(path, Secret(b"correct horse battery staple"))
        noted("open", store.__enter__)
        assert store.about is not None
        store.rows.new(embeddings(3, seed=7), -known[:3], range(store.about.next, store.about.next + 3), 20787)
        store.nearest.update(store.kept)
        noted("commit", lambda: store.commit(np.arange(3), 20787))
        noted("forget", lambda: store.forget([count // 2]))
        store.__exit__(None, None, None)
    taken = [seconds[name] for name in ("write", "open", "commit", "forget")]
    cells = [f"{count:,}", f"{size / 2**20:,.1f}", *taken]
    return f"| {' | '.join(cells)} |"


def report(quick: bool, people: Sequence[int] | None = None) -> list[str]:
    """The whole report, or of so many people."""
    sizes = people or ((2_000, 120_000) if quick else (20_000, 100_000, 1_000_000))
    many = ASKED // 8 if quick else ASKED
    lines = [
        "# The identity store",
        "",
        f"    python benchmarks/store.py{' --quick' if quick else ''}{_words(people)}",
        "",
        *description(),
    ]
    lines += [
        f"- faiss {_version('faiss-cpu')}, hnswlib {_version('hnswlib')}, cryptography {_version('cryptography')}",
        "",
        f"Embeddings have {DIM} numbers. Milliseconds a face: median, the 5th to the 95th percentile of calls, least,",
        "and the processor's, of all threads, which other work on the machine lengthens less. Half of the faces",
        "that are timed are strangers. Recall of people at a cosine .001 within each threshold, and at .8.",
        "",
        "| people | way | ready in s | ms a face, alone | 32 together | recall at .501 | at .401 | at .8 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for count in sizes:
        lines += lookups(count, many)
    lines += [
        "",
        "The file, in seconds, and those of the processor; opening includes making the key (scrypt) and the index.",
        "",
    ]
    lines += ["| people | MiB | write | open | add a file's people | forget one |", "|---|---|---|---|---|---|"]
    lines += [of_files(count) for count in sizes]
    return lines


def _words(people: Sequence[int] | None) -> str:
    return f" --people {' '.join(map(str, people))}" if people else ""


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "is not installed"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--people", type=int, nargs="+", help="numbers of people in the place of the usual ones")
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/store.md"))
    given = parser.parse_args()
    torch.set_num_threads(os.cpu_count() or 1)
    print(written(given.out, report(given.quick, given.people)))
