"""Identities turned by a key and back, over the angle, without a generator: ``python benchmarks/rotations.py [D ...]``.

Random unit vectors and keys. Of each kind of :class:`anon.identity.rotation.KeyedRotation` the mean cosine of what
comes back to what was turned: ``right`` with the right key, ``noisy`` where an encoder read the turned vector with a
cosine of .9, ``wrong`` with another key; and once for all of them ``none``, of the turned vector itself.

Below that the published formula and ours where the key's reference is correlated with the face, at a cosine of .5, and
the vector comes back with length 1, as an encoder gives it.
"""

from __future__ import annotations

import math
import sys

import torch
from torch import Tensor
from torch.nn import functional as F

from anon.identity.rotation import KeyedRotation, in_plane, published, published_back

ANGLES = (30, 60, 70, 75, 80, 85, 90, 95, 100, 110, 120)
COUNT = 400


def directions(dim: int, seed: int) -> Tensor:
    """Uniform unit vectors (COUNT, dim)."""
    return F.normalize(torch.randn(COUNT, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))


def at_cosine(z: Tensor, other: Tensor, cosine: float) -> Tensor:
    """Unit vectors (B, D) with that cosine to z, towards ``other``."""
    across = F.normalize(other - (z * other).sum(1, keepdim=True) * z)
    return cosine * z + math.sqrt(1 - cosine**2) * across


def mean(a: Tensor, b: Tensor) -> float:
    """Mean cosine of unit vectors."""
    return float((a * b).sum(1).mean())


def of_kind(kind: str, angle: float, z: Tensor) -> tuple[float, float, float, float]:
    """right, noisy, wrong, none."""
    rotation = KeyedRotation(z, kind, angle, rank=None)  # type: ignore[arg-type]
    key = torch.arange(COUNT)
    turned = rotation(z, key=key)
    read = at_cosine(turned, directions(z.shape[1], 2), 0.9)
    back = [rotation.undo(turned, key), rotation.undo(read, key), rotation.undo(turned, key + COUNT)]
    right, noisy, wrong = (mean(each, z) for each in back)
    return right, noisy, wrong, mean(turned, z)


def main() -> None:
    """Two tables for each dimension that is asked for."""
    for dim in [int(word) for word in sys.argv[1:]] or [32]:
        z = directions(dim, 0)
        print(f"\n{dim} dimensions, {COUNT} people: right / noisy / wrong key")
        print(f"{'angle':>6}  {'none':>6}" + "".join(f"  {kind:>22}" for kind in ("published", "plane", "blocks")))
        for angle in ANGLES:
            cells, none = [], 0.0
            for kind in ("published", "plane", "blocks"):
                if kind == "published" and angle == 90:
                    cells.append("not defined")
                    continue
                *found, none = of_kind(kind, angle, z)
                cells.append(" / ".join(f"{value:6.3f}" for value in found))
            print(f"{angle:>6}  {none:6.3f}" + "".join(f"  {cell:>22}" for cell in cells))
        reference = at_cosine(z, directions(dim, 3), 0.5)
        print("reference at a cosine of .5 to the face: right key, published / plane")
        for angle in ANGLES:
            turn = math.radians(angle)
            ours = mean(in_plane(in_plane(z, reference, turn), reference, -turn), z)
            theirs = "not defined"
            if angle != 90:
                theirs = f"{mean(published_back(published(z, reference, turn), reference, turn), z):.3f}"
            print(f"{angle:>6}  {theirs:>11} / {ours:6.3f}")


if __name__ == "__main__":
    main()
