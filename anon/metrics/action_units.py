"""Action units before and after: RMSE averaged over the units, and Pearson's correlation over time."""

from __future__ import annotations

import torch
from torch import Tensor

from anon.metrics.states import Kept


def action_unit_rmse(changed: Tensor, target: Tensor) -> Tensor:
    """Root mean square error of every unit over the frames, then the mean over units, ().

    Args:
        changed, target: (N, A) intensities in [0, 5]; frames with NaN on either side do not count.

    >>> action_unit_rmse(torch.tensor([[3.0, 0.0], [3.0, 0.0]]), torch.zeros(2, 2))
    tensor(1.5000)
    """
    changed, target = _both(changed, target)
    return (changed - target).square().mean(0).sqrt().mean()


def action_unit_correlation(changed: Tensor, target: Tensor) -> Tensor:
    """Pearson's correlation of every unit over the frames (A,); NaN for a unit that never moves.

    >>> changed, target = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[1.0], [3.0], [5.0]])
    >>> action_unit_correlation(changed, target).round(decimals=3)
    tensor([1.])
    """
    changed, target = _both(changed, target)
    a, b = changed - changed.mean(0), target - target.mean(0)
    spread = a.square().sum(0).sqrt() * b.square().sum(0).sqrt()
    return torch.where(spread > 0, (a * b).sum(0) / spread, float("nan"))


def _both(changed: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    known = (changed.isfinite() & target.isfinite()).all(-1)
    return changed[known], target[known]


class ActionUnits(Kept):
    """:func:`action_unit_rmse` and :func:`action_unit_correlation` over the frames of all batches; it keeps them.

    Neither depends on the frames' order; one video each, for the mean intensity differs from person to person.

    >>> units = ActionUnits()
    >>> units.update(torch.tensor([[0.0, 1.0], [1.0, 2.0]]), torch.tensor([[1.0, 3.0], [3.0, 2.0]]))
    >>> units.update(torch.tensor([[2.0, 3.0]]), torch.tensor([[5.0, 1.0]]))
    >>> {name: value.round(decimals=3) for name, value in units.compute().items()}
    {'rmse': tensor(1.8970), 'correlation': tensor([ 1., -1.])}
    """

    parts = ("changed", "target")  # intensities (B, A) in [0, 5]
    empty = "Action units are compared over frames, and there are none."

    def compute(self) -> dict[str, Tensor]:
        """rmse (), correlation (A,).

        Raises:
            UserError: no frames.
        """
        changed, target = self.kept()
        return {"rmse": action_unit_rmse(changed, target), "correlation": action_unit_correlation(changed, target)}
