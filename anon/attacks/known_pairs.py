"""Whoever has pictures of before and after under one key: the rotation of identities estimated from pairs.

    M = argmin over orthogonal matrices of sum_i |w_i - M z_i|²        (Schönemann, Psychometrika 1966)

z_i, w_i are the coordinates, in the space that keys turn, of what the published encoder sees of an original and of its
anonymized picture. It knows the software and no key. With fewer pairs than directions M is known on their span alone.
A matrix is all that there is to find, however long the key: the pictures of one key fall together.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

LEAST = 1e-6  # of the largest singular value: below it a direction is in no pair


def rotation_of(z: Tensor, w: Tensor) -> Tensor:
    """The orthogonal M (n, n), w ≈ M z, of pairs (m, n) each; of rank m where there are fewer pairs than directions.

    >>> quarter = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    >>> rotation_of(torch.eye(2), torch.eye(2) @ quarter.T).round().tolist()
    [[0.0, -1.0], [1.0, 0.0]]
    """
    u, scale, v = torch.linalg.svd(w.double().T @ z.double())
    known = scale > LEAST * scale[0]
    return (u * known) @ v


def undone(w: Tensor, space: Tensor, pairs: tuple[Tensor, Tensor]) -> Tensor:
    """The identities (B, D) of turned ones w (B, D), by pairs (m, D) of original and turned in a space (D, n).

    What lies outside of the space is taken as it is, for keys do not turn it.
    """
    space = space.to(w)
    m = rotation_of(pairs[0].to(w) @ space, pairs[1].to(w) @ space).to(w)
    own = w @ space
    return F.normalize(w + (own @ m - own) @ space.T)
