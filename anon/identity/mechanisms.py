"""Differentially private identities: a random z_a of which the identity z of a face can hardly be told.

    IdentityDP        z + Laplace noise on every coordinate, of scale sensitivity / epsilon, brought back to length 1
                      (Wen, Liu, Ding, Xie & Song, *IdentityDP*, Neurocomputing 501, 2022; eqs. 5.11 and 5.12 of their
                      book *Face De-identification*, Springer 2024)
    VonMisesFisher    a draw from the sphere itself, with density proportional to exp(kappa <z, z_a>)
                      (Weggenmann & Kerschbaum, *Differential privacy for directional data*, CCS 2021)

Both are local: for any two faces z, z' (that the sensitivity covers) and any set S of identities,

    Pr[z_a in S | z] <= exp(epsilon) Pr[z_a in S | z']

**of the vector z_a, and not of the picture.** A generator sees the target too: pose, outline, hair, skin and background
are released as they are, and no epsilon says what they tell. The published theorem covers the vector alone, whatever
its name. It is of one release: n independent ones of a person cost n epsilon, and their average finds the person again
(conf/measure/averaged.yaml); frames of a video are releases unless a tracker gives a person one draw
(``policy=identity_dp_itm``).

    python evaluate.py suite=epsilon          # both over epsilon, from .1 to 1000
    python benchmarks/mechanisms.py           # the cosine that is left, without a generator
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anon.errors import UserError
from anon.identity.contract import Draws, Given

BLOCK = 1024  # rows compared at a time


class IdentityDP(nn.Module):
    """``z_a = normalize(z + Lap(sensitivity / epsilon)^D)``: the Laplace mechanism (Dwork et al. 2006).

    The length of the noisy vector is thrown away, which is post-processing and costs nothing; a generator that is fed
    vectors of length 1 would not know what to do with one of 100.

    sensitivity is the largest L1 distance of two identities:

    - ``bounded``: 2 sqrt(D), for |z - z'|_1 <= sqrt(D) |z - z'|_2 <= 2 sqrt(D) on the unit sphere; opposite vectors
      with all coordinates alike reach it. The guarantee is of all faces.
    - ``measured``: the largest among background people, about the published choice (which measures it on the faces that
      it protects). Smaller, so less noise at the same epsilon, but the guarantee is of pairs no further apart than that
      alone: two faces that are d apart have exp(epsilon d / sensitivity).

    Args:
        epsilon: above 0.
        sensitivity: "measured" or "bounded".
        strangers: gives embeddings (N, D) of background people, to measure.

    Raises:
        UserError: an epsilon that is none, another sensitivity, or nothing to measure it on.
    """

    def __init__(
        self,
        epsilon: float,
        sensitivity: Literal["measured", "bounded"] = "measured",
        strangers: Callable[[], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.epsilon = _checked(epsilon)
        if sensitivity not in ("measured", "bounded"):
            raise UserError(f"The sensitivity of IdentityDP is measured or bounded, not '{sensitivity}'.")
        self.sensitivity = sensitivity
        self._measured: float | None = None
        if sensitivity == "measured":
            people = None if strangers is None else strangers()
            if people is None or len(people) < 2:
                raise UserError("IdentityDP measures its sensitivity on two background faces or more; bounded on none.")
            self._measured = largest_distance(people)

    def scale(self, dim: int) -> float:
        """Of the Laplace noise of each of ``dim`` coordinates."""
        return (2.0 * math.sqrt(dim) if self._measured is None else self._measured) / self.epsilon

    def noisy(self, z: Tensor, rng: Draws) -> Tensor:
        """z (B, D) -> the private vectors (B, D), before their length is made 1.

        Raises:
            UserError: no ``rng``.
        """
        waits = torch.empty((2, *z.shape), dtype=z.dtype, device=z.device).exponential_(generator=_drawn(rng, z))
        return z + self.scale(z.shape[1]) * (waits[0] - waits[1])  # the difference of two exponentials is Laplace

    def forward(
        self, z: Tensor, *, source: Given = None, key: Given = None, track: Given = None, rng: Draws = None
    ) -> Tensor:
        """z (B, D) unit norm -> (B, D) unit norm, drawn anew for every face."""
        return F.normalize(self.noisy(z, rng))


class VonMisesFisher(nn.Module):
    """z_a drawn from the von Mises-Fisher distribution about z, with concentration ``kappa = epsilon / 2``.

    Theorem (Weggenmann & Kerschbaum 2021, the VMF mechanism): with concentration kappa it is kappa-private in the
    Euclidean distance. For the densities have the same constant, which depends on kappa alone, and

        f(x | z) / f(x | z') = exp(kappa <x, z - z'>) <= exp(kappa |z - z'|_2) <= exp(2 kappa)

    for every x of length 1. So kappa = epsilon / 2 is epsilon for any two faces whatever (equality at opposite ones),
    and for two that are near each other as much less: exp(epsilon |z - z'| / 2). Nothing is measured.

    Sampling: Wood, *Simulation of the von Mises Fisher distribution*, Communications in Statistics 1994.

    Args:
        epsilon: above 0.

    Raises:
        UserError: an epsilon that is none.
    """

    def __init__(self, epsilon: float) -> None:
        super().__init__()
        self.epsilon = _checked(epsilon)

    def forward(
        self, z: Tensor, *, source: Given = None, key: Given = None, track: Given = None, rng: Draws = None
    ) -> Tensor:
        """z (B, D) unit norm -> (B, D) unit norm, drawn anew for every face.

        Raises:
            UserError: no ``rng``.
        """
        rng, mean = _drawn(rng, z), z.double()
        cosine = cosines(self.epsilon / 2.0, len(z), z.shape[1], rng, z.device)[:, None]
        side = torch.randn(mean.shape, generator=rng, dtype=torch.float64, device=z.device)
        side = F.normalize(side - (side * mean).sum(1, keepdim=True) * mean)
        return F.normalize(cosine * mean + (1.0 - cosine.square()).clamp_min(0.0).sqrt() * side).to(z)


def cosines(kappa: float, count: int, dim: int, rng: torch.Generator, device: torch.device | str = "cpu") -> Tensor:
    """Cosines (count,) float64 to the mean of draws of a von Mises-Fisher distribution on the sphere in ``dim`` >= 2.

    Wood's rejection of an envelope, all draws at once, until each has been accepted.
    """
    double = {"dtype": torch.float64, "device": device}
    rest = float(dim - 1)
    b = rest / (2.0 * kappa + math.sqrt(4.0 * kappa**2 + rest**2))
    x = (1.0 - b) / (1.0 + b)
    c = kappa * x + rest * math.log(1.0 - x * x)
    found, waiting = torch.empty(count, **double), torch.arange(count, device=device)  # type: ignore[call-overload]
    while len(waiting):
        # a coordinate of a uniform direction is 2 Z - 1, Z of Beta((dim - 1) / 2, (dim - 1) / 2)
        uniform = F.normalize(torch.randn(len(waiting), dim, generator=rng, **double))[:, 0]  # type: ignore[call-overload]
        z = (1.0 + uniform) / 2.0
        w = (1.0 - (1.0 + b) * z) / (1.0 - (1.0 - b) * z)
        chance = torch.rand(len(waiting), generator=rng, **double).clamp_min(1e-300).log()  # type: ignore[call-overload]
        accepted = kappa * w + rest * (1.0 - x * w).log() - c >= chance
        found[waiting[accepted]] = w[accepted]
        waiting = waiting[~accepted]
    return found


def largest_distance(z: Tensor) -> float:
    """The largest L1 distance of two of the vectors (N, D)."""
    return max(float(torch.cdist(block, z, p=1).max()) for block in z.float().split(BLOCK))


def _checked(epsilon: float) -> float:
    if isinstance(epsilon, bool) or not isinstance(epsilon, int | float) or not 0 < epsilon < math.inf:
        raise UserError(f"The privacy budget epsilon is a number above 0, not {epsilon!r}.")
    return float(epsilon)


def _drawn(rng: Draws, z: Tensor) -> torch.Generator:
    if rng is None:
        raise UserError("A private identity is drawn, and needs rng, a torch.Generator on the device of the faces.")
    if rng.device.type != z.device.type:
        raise UserError(f"The faces are on {z.device.type} and rng on {rng.device.type}: make rng there, too.")
    return rng
