"""How a changed face is defended: the form of every defense on images, and the row without one.

Every ε is in units of the [-1, 1] range, so 0.15 is 7.5 % of the way from black to white. The paper stops at an
attacker that has never seen the defense; one that is retrained on defended images is the honest second column.

Noise on the generator's parameters is no function of an image: :class:`anon.defenses.parameters.ParameterNoise`.
"""

from __future__ import annotations

import math
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from anon.errors import UserError
from anon.faces.contract import check_images


@runtime_checkable
class DefenseLike(Protocol):
    """Changed faces (B, 3, H, W) in [-1, 1] -> defended faces, the same form.

    ``target`` (B, 3, H, W) are the undistorted faces X_t, which the defender owns; gradient defenses ascend away from
    them. Random draws come only from ``rng`` and are moved to the images' device. A defense that does not use an
    argument ignores it; one that needs it raises ``UserError`` when it is None. One that draws nothing may say so by an
    attribute ``draws = False``; then an attacker who learns from defended faces sees each of them once (:func:`draws`).
    """

    def __call__(
        self, changed: Tensor, *, target: Tensor | None = None, rng: torch.Generator | None = None
    ) -> Tensor: ...


class NoDefense(nn.Module):
    """The changed faces as they are."""

    draws = False

    def forward(self, changed: Tensor, *, target: Tensor | None = None, rng: torch.Generator | None = None) -> Tensor:
        """Returns ``changed``, checked."""
        return check_images(changed, "changed")


def draws(defense: object) -> bool:
    """Whether the same face is defended differently each time."""
    return bool(getattr(defense, "draws", True))


def within(owner: object, name: str, value: float, low: float, high: float = math.inf) -> float:
    """The number, if it is finite and in [low, high].

    Raises:
        UserError: naming the class of ``owner`` and the argument.
    """
    if not (math.isfinite(value) and low <= value <= high):
        limits = f"at least {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
        raise UserError(f"{type(owner).__name__} needs a finite {name} of {limits}, got {value}.")
    return value


def whole_within(owner: object, name: str, value: float, low: int, high: float = math.inf) -> int:
    """:func:`within` for whole numbers."""
    if within(owner, name, value, low, high) != int(value):
        raise UserError(f"{type(owner).__name__} needs a whole number as {name}, got {value}.")
    return int(value)


def drawing(owner: object, rng: torch.Generator | None) -> torch.Generator:
    """The generator, if there is one.

    Raises:
        UserError: there is none.
    """
    if rng is None:
        raise UserError(f"{type(owner).__name__} draws at random and needs a torch.Generator: rng=...")
    return rng
