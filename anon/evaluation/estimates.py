"""A figure of a table: its value, its 95 % interval, what it was measured on, or why there is none.

``draws`` and ``each`` are there while figures are compared with each other (paired differences); no file holds them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

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

        >>> Estimate(0.012, 0.004, 1.02).text(), Figure.absent("n/a (no clips)").text()
        ('.012 [.004, 1.020]', 'n/a (no clips)')
        """
        if self.value is None:
            return self.reason or "-"
        if self.low is None or self.high is None:
            return short(self.value)
        return f"{short(self.value)} [{short(self.low)}, {short(self.high)}]"


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
