"""A figure of a table: its value, its 95 % interval, what it was measured on, or why there is none.

``draws`` and ``each`` are there while figures are compared with each other (paired differences); no file holds them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from torch import Tensor

LARGEST = 1e100  # what no figure exceeds; beyond it sums and axes overflow


@dataclass(frozen=True)
class Estimate:
    """``value`` with the interval ``low`` .. ``high`` over ``n`` faces or clips; None with a ``reason``."""

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str | None = None
    n: int = 0
    draws: Tensor | None = field(default=None, compare=False, repr=False)  # (R,) the value of each resample
    each: Tensor | None = field(default=None, compare=False, repr=False)  # (K, I) of a share: each person's own value

    @staticmethod
    def absent(reason: str) -> Estimate:
        """No value, and why."""
        return Estimate(None, reason=reason)

    def text(self) -> str:
        """``.012 [.004, .020]``, or the reason.

        >>> Estimate(0.012, 0.004, 1.02).text(), Estimate.absent("n/a (no clips)").text()
        ('.012 [.004, 1.020]', 'n/a (no clips)')
        """
        if self.value is None:
            return self.reason or "-"
        return " ".join(filter(None, self.printed))

    @property
    def printed(self) -> tuple[str, str]:
        """A known value and its interval, which is empty where there is none."""
        interval = "" if self.low is None or self.high is None else f"[{short(self.low)}, {short(self.high)}]"
        return short(self.number), interval

    @property
    def number(self) -> float:
        """The value of a figure that is :func:`known`."""
        assert self.value is not None
        return self.value

    @property
    def span(self) -> tuple[float, float]:
        """The ends of the interval of a known figure; an end that is not known is the value."""
        return self.number if self.low is None else self.low, self.number if self.high is None else self.high


def known(figure: Estimate | None) -> TypeGuard[Estimate]:
    """Whether there is a value."""
    return figure is not None and figure.value is not None


def significant(first: Estimate | None, second: Estimate | None) -> bool:
    """Whether two figures differ, by the interval of their difference made of their own intervals.

    ``d - sqrt((b - b_low)² + (a_high - a)²)`` to ``d + sqrt((b_high - b)² + (a - a_low)²)`` with ``d = b - a``, which
    holds for independent samples and is too wide for positively correlated ones, such as two methods on the same faces.
    Zou and Donner, Construction of confidence limits about effect measures, Statistics in Medicine 27, 2008.

    >>> significant(Estimate(0.5, 0.4, 0.6), Estimate(0.65, 0.55, 0.75))  # 0.15 ± 0.141
    True
    >>> significant(Estimate(0.5, 0.4, 0.6), Estimate(0.64, 0.54, 0.74))  # 0.14 ± 0.141
    False
    """
    if not (known(first) and known(second)) or None in (first.low, first.high, second.low, second.high):
        return False
    a, (a_low, a_high) = first.number, first.span
    b, (b_low, b_high) = second.number, second.span
    return b - a - math.hypot(b - b_low, a_high - a) > 0 or b - a + math.hypot(b_high - b, a - a_low) < 0


def finite(figure: dict[str, Any]) -> dict[str, Any]:
    """The plain values of a figure as JSON can hold them: what is not finite, or no sane size, is null with a reason.

    >>> finite(vars(Estimate(float("nan"), 0.5, n=2)))
    {'value': None, 'low': 0.5, 'high': None, 'reason': 'not finite', 'n': 2}
    """
    numbers = {name: figure[name] for name in ("value", "low", "high")}
    clean = {name: value if value is not None and abs(value) <= LARGEST else None for name, value in numbers.items()}
    reason = "not finite" if clean["value"] is None and figure["reason"] is None else figure["reason"]
    return {**clean, "reason": reason, "n": figure["n"]}


def short(value: float) -> str:
    """Three decimals without the leading zero, as the papers print them.

    >>> short(0.5), short(-0.25), short(12.3456), short(-1e-9)
    ('.500', '-.250', '12.346', '.000')
    """
    text = f"{value:.3f}"
    text = text.removeprefix("-") if float(text) == 0.0 else text
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text
