"""Two gloo processes with unequal shares of the faces give the value of one process with all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import normalize

from anon.metrics.action_units import ActionUnits
from anon.metrics.attributes import KeypointDistance, ShapeDistance
from anon.metrics.comparisons import FourComparisons
from anon.metrics.detection_confidence import ConfidenceDrop
from anon.metrics.distances import DistanceDistributions, IdentityDistances
from anon.metrics.frechet import FrechetDistance, KernelDistance
from anon.metrics.look import LookMoved
from anon.metrics.quality import Niqe, Pristine
from anon.metrics.recovery import KeyRecovery
from anon.metrics.retrieval import RankRates
from anon.metrics.spectrum import HighFrequencyShare
from anon.metrics.verification import VerificationRates

#: Batches of each process: two and one, of different sizes.
SHARES = ((slice(0, 7), slice(7, 16)), (slice(16, 30),))


def measured(batches: tuple[slice, ...]) -> dict[str, Any]:
    """One metric of each kind of state: sums of numbers and of vectors, sums over what is known, kept rows."""
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(30) % 6
    people = torch.randn(6, 5, generator=rng)
    target, changed, source = (normalize(people[labels] + torch.randn(30, 5, generator=rng)) for _ in range(3))
    points = torch.randn(30, 4, 2, generator=rng)
    points[[3, 20], 0, 0] = torch.nan
    scores = torch.rand(2, 30, generator=rng)
    images = torch.rand(3, 30, 3, 32, 32, generator=rng) * 2 - 1
    metrics: dict[str, tuple[Any, tuple[torch.Tensor, ...]]] = {
        "ranks": (RankRates(normalize(people), torch.arange(6), ks=(1, 3)), (changed, labels)),
        "distances": (IdentityDistances(), (changed, target)),
        "points": (KeypointDistance(), (points, torch.zeros(30, 4, 2))),
        "verification": (VerificationRates(far=0.05), (target, labels)),
        "distributions": (DistanceDistributions(bins=5), (target, source, changed)),
        "units": (ActionUnits(), (changed, target)),
        "comparisons": (FourComparisons(), (target, changed, target, source)),
        "confidence": (ConfidenceDrop(), (*scores,)),
        "shape": (ShapeDistance(), (points, points.roll(1, 0))),
        "look": (LookMoved(), (changed, target, labels)),
        "spectrum": (HighFrequencyShare(), (images[0], images[1])),
        "niqe": (Niqe(Pristine(torch.zeros(36), torch.eye(36))), (images[0],)),
    }
    found: dict[str, Any] = {}
    for name, (metric, inputs) in metrics.items():
        for batch in batches:
            metric.update(*(values[batch] for values in inputs))
        found[name] = metric.compute()
    recovery = KeyRecovery(threshold=0.9)
    z = {"z_target": target, "z_changed": changed, "z_right": source, "z_wrong": -source}
    pictures = dict(zip(("target", "right", "wrong"), images, strict=True))
    for batch in batches:
        recovery.update(**{name: values[batch] for name, values in (pictures | z).items()})
    found["recovery"] = recovery.compute()
    for name, sets in (("frechet", FrechetDistance(dim=5)), ("kernel", KernelDistance())):
        for batch in batches:
            sets.update(target[batch], real=True)
            sets.update(changed[batch], real=False)
        found[name] = sets.compute()
    found["distributions"] = {key: tuple(value) for key, value in found["distributions"].items()}
    return found


@pytest.mark.slow
def test_two_processes_give_the_value_of_one(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_share, (str(tmp_path),), nprocs=2)
    whole, alone = measured(SHARES[0] + SHARES[1]), measured(SHARES[0])
    for rank in (0, 1):
        shared = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for name, value in whole.items():
            torch.testing.assert_close(
                shared[name], value, rtol=1e-5, atol=1e-6, msg=lambda text, n=name: f"{n}: {text}"
            )
            assert str(alone[name]) != str(value), name  # a share alone has another value


def _share(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    torch.save(measured(SHARES[rank]), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()
