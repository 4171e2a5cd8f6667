"""95 % intervals by resampling *identities*: a person's faces are alike, so faces are not independent.

Percentile bootstrap (Efron 1979), 2.5 and 97.5 %. One set of resamples serves all figures of a table, so differences
between methods are paired. A share that is 0 (or 1) for everybody has no spread to resample, and [0, 0] would claim
certainty; its open end is then Clopper and Pearson's exact bound with the *identities* as the trials, 1 - 0.025^(1/I).
"""

from __future__ import annotations

import torch
from torch import Tensor

from anon.evaluation.figures import Figure

ALPHA = 0.05


class Bootstrap:
    """Resampled multiplicities of the identities, and the intervals that they give.

    Args:
        labels: the identities of the evaluation, in any order and number.
        resamples: how many.
        seed: of the draws.
    """

    def __init__(self, labels: Tensor, resamples: int = 1000, seed: int = 0) -> None:
        self.people = labels.cpu().unique()
        count = len(self.people)
        rng = torch.Generator().manual_seed(seed)
        drawn = torch.randint(count, (resamples, count), generator=rng)
        ones = torch.ones_like(drawn, dtype=torch.float64)
        self.weights = torch.zeros(resamples, count, dtype=torch.float64).scatter_add_(1, drawn, ones)  # (R, I)

    def mean(self, values: Tensor, labels: Tensor, share: bool = False) -> Figure:
        """The mean of ``values`` (N,) of faces with identities ``labels`` (N,).

        Args:
            share: values are 0 or 1; see the module's words on a share of 0.
        """
        return self.ratio(values, torch.ones_like(values, dtype=torch.float64), labels, share)

    def ratio(self, above: Tensor, below: Tensor, labels: Tensor, share: bool = False) -> Figure:
        """``sum(above) / sum(below)`` over faces (N,), resampled together."""
        if len(labels) == 0:
            return Figure.absent("nothing to measure")
        place = torch.searchsorted(self.people, labels.cpu())
        top = torch.zeros(len(self.people), dtype=torch.float64).index_add_(0, place, above.cpu().double())
        bottom = torch.zeros(len(self.people), dtype=torch.float64).index_add_(0, place, below.cpu().double())
        value = float(top.sum() / bottom.sum())
        people = int((bottom != 0).sum())
        if people < 2:
            return Figure(value, n=len(labels))
        draws = (self.weights @ top) / (self.weights @ bottom)
        low, high = self.interval(draws)
        if share and value in (0.0, 1.0):
            bound = (ALPHA / 2) ** (1 / people)
            low, high = (0.0, 1.0 - bound) if value == 0.0 else (bound, 1.0)
        return Figure(value, low, high, n=len(labels), draws=draws)

    @staticmethod
    def interval(resampled: Tensor) -> tuple[float, float]:
        """The 2.5 and 97.5 percentiles; resamples that hold nobody with a value (NaN) do not count."""
        edges = torch.tensor([ALPHA / 2, 1 - ALPHA / 2], dtype=resampled.dtype)
        low, high = resampled.nanquantile(edges).tolist()
        return low, high
