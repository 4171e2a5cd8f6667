"""What a budget leaves of an identity, the cosine of private to clean vectors: ``python benchmarks/mechanisms.py``.

No generator, no pictures: random unit vectors, whose noisy versions depend on nothing but the dimension and the scale.
``bounded``: IdentityDP for all faces; ``28``: with that L1 distance as its sensitivity, which is about what strangers'
embeddings have in 512 dimensions; ``sphere``: von Mises-Fisher. Beside each mean the cosine that averages of 16
releases have.
"""

from __future__ import annotations

import sys

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anon.identity.mechanisms import IdentityDP, VonMisesFisher

EPSILONS = (0.1, 1.0, 6.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
PEOPLE, RELEASES = 400, 16


def kept(mechanism: nn.Module, z: Tensor) -> tuple[float, float]:
    """The mean cosine of one release, and of the average of :data:`RELEASES` of each."""
    rng = torch.Generator().manual_seed(1)
    released = torch.stack([mechanism(z, rng=rng) for _ in range(RELEASES)])  # (R, N, D)
    average = F.normalize(released.mean(0), dim=-1)
    return float((released * z).sum(-1).mean()), float((average * z).sum(-1).mean())


def apart(distance: float, dim: int) -> Tensor:
    """Two vectors that far apart in L1, to measure."""
    return torch.stack([torch.zeros(dim), torch.full((dim,), distance / dim)])


def main() -> None:
    """A table for each dimension that is asked for."""
    for dim in [int(word) for word in sys.argv[1:]] or [128, 512]:
        z = F.normalize(torch.randn(PEOPLE, dim, generator=torch.Generator().manual_seed(0)))
        measured = 28.0 * (dim / 512) ** 0.5  # strangers are as far apart in every direction
        print(f"\n{dim} dimensions, {PEOPLE} people, one release / the average of {RELEASES}")
        print(f"{'epsilon':>8}  {'bounded':>13}  {f'{measured:.0f}':>13}  {'sphere':>13}")
        for epsilon in EPSILONS:
            ways = (
                IdentityDP(epsilon, "bounded"),
                IdentityDP(epsilon, strangers=lambda: apart(measured, dim)),  # noqa: B023
                VonMisesFisher(epsilon),
            )
            cells = ["{:.3f} / {:.3f}".format(*kept(way, z)) for way in ways]
            print(f"{epsilon:>8g}  " + "  ".join(f"{cell:>13}" for cell in cells))


if __name__ == "__main__":
    main()
