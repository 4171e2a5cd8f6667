"""Which attributes a released set shall show, so that its classes are k-anonymous, l-diverse and t-close.

    k   every code of attributes is that of k people or more           (Sweeney, IJUFKS 2002)
    l   with l different sensitive values among its pictures or more   (Machanavajjhala et al., ICDE 2006, distinct)
    t   whose shares are within t of those of the whole set            (Li, Li & Venkatasubramanian, ICDE 2007: the
        earth mover's distance of equally unlike values is half the sum of differences; of a bit it is |p - p'|)

AnonymousNet (Li & Lin, CVPRW 2019) selects attributes under the three, and we know of no algorithm that it states. In
ours, codes that satisfy all three as the set stands are kept, everybody takes the nearest of them (those who have one
keep it), and codes that no longer satisfy t are dropped until none is. Where none is left all get the set's most
frequent code, whose class is the whole set.

The bound is of somebody who knows a person's attributes before the release and sees only those after it: he names one
of k. It is of one release; a person with several pictures may be in several classes, which can be intersected.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from anon.errors import UserError


class Anonymity(NamedTuple):
    """The worst class of a set: fewest people, fewest different sensitive values, largest distance of their shares."""

    k: int
    l: int  # noqa: E741, the field's letter
    t: float


def classes_of(codes: Tensor) -> Tensor:
    """The number of each picture's class (N,), of codes (N, m) of 0 and 1."""
    return codes.unique(dim=0, return_inverse=True)[1]


def anonymities(of: Tensor, sensitive: Tensor, people: Tensor) -> list[Anonymity]:
    """Of each class, in the order of their numbers.

    Args:
        of: (N,) the class of each picture.
        sensitive: (N,) its sensitive value, int64 from 0.
        people: (N,) whose it is.
    """
    values = int(sensitive.max()) + 1
    whole = torch.bincount(sensitive, minlength=values).double() / len(sensitive)
    found = []
    for number in range(int(of.max()) + 1):
        inside = of == number
        shares = torch.bincount(sensitive[inside], minlength=values).double() / inside.sum().clamp(min=1)
        distance = 0.5 * (shares - whole).abs().sum()
        found.append(Anonymity(len(people[inside].unique()), int((shares > 0).sum()), float(distance)))
    return found


def anonymity(codes: Tensor, sensitive: Tensor, people: Tensor) -> Anonymity:
    """Of a set as it is, the worst of each over its classes.

    >>> codes = torch.tensor([[0], [0], [1], [1]])
    >>> anonymity(codes, torch.tensor([0, 1, 1, 1]), torch.tensor([7, 8, 9, 9]))
    Anonymity(k=1, l=1, t=0.25)
    """
    each = anonymities(classes_of(codes), sensitive, people)
    return Anonymity(min(one.k for one in each), min(one.l for one in each), max(one.t for one in each))


def select(
    codes: Tensor,
    sensitive: Tensor,
    people: Tensor,
    k: int,
    l: int = 1,  # noqa: E741
    t: float = 1.0,
    weights: Tensor | None = None,
) -> Tensor:
    """The codes (N, m) that pictures with ``codes`` (N, m) shall show; see the module.

    Args:
        sensitive, people: see :func:`anonymities`; the sensitive values stay as they are.
        weights: (m,) how much it costs to change each attribute; None: 1. Of codes equally near the first one, in the
            order of binary numbers, is taken.

    Raises:
        UserError: fewer than k people, or fewer than l sensitive values, in the whole set.
    """
    have = len(people.unique()), len(sensitive.unique())
    if have[0] < k or have[1] < l:
        raise UserError(
            f"no class can have k={k} people and l={l} sensitive values: the set has {have[0]:,} people and {have[1]} "
            "values; take smaller ones, or more sensitive attributes."
        )
    kinds, of = codes.unique(dim=0, return_inverse=True)
    cost = torch.ones(codes.shape[1]) if weights is None else weights
    distance = (kinds[:, None] != kinds[None]).double() @ cost.double()  # (C, C)
    fits = [_satisfies(one, k, l, t) for one in anonymities(of, sensitive, people)]
    while any(fits):
        allowed = torch.tensor(fits)
        chosen = distance.masked_fill(~allowed[None], torch.inf).argmin(1)[of]  # (N,) a kind each
        shown, place = chosen.unique(return_inverse=True)
        broken = [not _satisfies(one, k, l, t) for one in anonymities(place, sensitive, people)]
        if not any(broken):
            return kinds[chosen]
        for number in shown[torch.tensor(broken)].tolist():
            fits[number] = False
    return kinds[torch.bincount(of).argmax()].expand_as(codes).clone()


def joint(columns: Tensor) -> Tensor:
    """One value (N,) int64 for each combination of the bits (N, s).

    >>> joint(torch.tensor([[0, 1], [1, 1], [0, 0]]))
    tensor([2, 3, 0])
    """
    return (columns.long() << torch.arange(columns.shape[1])).sum(1)


def _satisfies(one: Anonymity, k: int, l: int, t: float) -> bool:  # noqa: E741
    return one.k >= k and one.l >= l and one.t <= t + 1e-9
