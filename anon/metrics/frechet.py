"""Do changed faces, as a set, look like real ones? Fréchet and kernel distance of two sets of features (FID, KID).

    FID = |mu_a - mu_b|² + tr(C_a) + tr(C_b) - 2 tr((C_a C_b)^(1/2))             (Heusel et al., NeurIPS 2017, eq. 6)
    KID = mean of k(a, a') over a ≠ a' + mean of k(b, b') over b ≠ b' - 2 mean of k(a, b)
          k(x, y) = (x·y / D + 1)³                                        (Binkowski et al., ICLR 2018, section 4)

They are FID and KID proper on Inception's features only; on a judge's embeddings they rank methods within one table.

FID of N faces is too large by a term of order D / N, and with N <= D the covariances are singular: it stays finite, but
compares sets of one size only. KID has no such bias and may be slightly negative. Resampled people come with copies of
themselves, so a resample holds fewer different faces than the set: the resamples of both lie too high, those of FID by
as much as its bias. They tell the spread, and which of two methods is better on the same resamples; they do not tell
where the value is.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from anon.errors import UserError
from anon.metrics.states import Kept
from anon.parallel import side_by_side

BLOCK = 1 << 22  # entries of covariances, or of one person's sums, at a time


def frechet_distance(a: Tensor, b: Tensor) -> Tensor:
    """Fréchet distance of the Gaussians that fit two feature sets, () float64 (the squared distance, as FID is).

    Args:
        a, b: (N, D) and (M, D); the covariances are the unbiased ones.

    >>> a = torch.tensor([[0.0, 0.0], [2.0, 0.0]])
    >>> frechet_distance(a, a + torch.tensor([3.0, 4.0])).round(decimals=6)  # one covariance, means 5 apart
    tensor(25., dtype=torch.float64)

    Raises:
        UserError: fewer than two faces on a side, or a feature that is not finite.
    """
    sets = [_fit(x) for x in (a, b)]
    one = [torch.zeros(len(x), dtype=torch.long, device=x.device) for x in sets]  # all are one person's
    moments = (_moments(x, people, x.new_ones(1, 1)) for x, people in zip(sets, one, strict=True))
    means, covariances = zip(*moments, strict=True)
    return _frechet(means, covariances)[0]


def frechet_resampled(a: Tensor, b: Tensor, people: Tensor, weights: Tensor) -> Tensor:
    """:func:`frechet_distance` with the faces of person i counted ``weights[r, i]`` times, (R,) float64.

    Args:
        a, b: (N, D) features of the same faces, before and after.
        people: (N,) whose they are, columns of ``weights``.
        weights: (R, I) whole numbers, as :class:`anon.evaluation.intervals.bootstrap.Bootstrap` has them.

    >>> a, people = torch.tensor([[0.0], [2.0], [7.0]]), torch.tensor([0, 0, 1])
    >>> frechet_resampled(a, a + 3.0, people, torch.tensor([[1.0, 0.0], [1.0, 2.0]])).round(decimals=6)
    tensor([9., 9.], dtype=torch.float64)

    Raises:
        UserError: as there. A resample with fewer than two faces gives NaN.
    """
    weights, sets = weights.double(), [_fit(x) for x in (a, b)]

    def resampled(part: Tensor) -> Tensor:
        means, covariances = zip(*(_moments(x, people, part) for x in sets), strict=True)
        return _frechet(means, covariances)

    with torch.no_grad():
        found = side_by_side(resampled, [(part,) for part in weights.split(max(1, BLOCK // a.shape[1] ** 2))])
    return torch.where(weights[:, people].sum(1) > 1, torch.cat(found), torch.nan)


def _fit(x: Tensor) -> Tensor:
    if x.ndim != 2 or len(x) < 2:
        raise UserError(f"A distance of feature sets needs (N, D) with at least two faces, got {tuple(x.shape)}.")
    if not bool(x.isfinite().all()):
        raise UserError("A feature is NaN or infinite; leave such faces out of both sets.")
    return x.double()


def _moments(x: Tensor, people: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Means (R, D) and covariances (R, D, D) of x (N, D) with the rows of person i counted ``weights[r, i]`` times.

    The products of a person's rows are summed first, once for all resamples.
    """
    shift, dim = x.mean(0), x.shape[1]
    x = x - shift  # about 0, so that no digits are lost in the products
    counts = weights[:, people]  # (R, N)
    number = counts.sum(1)
    mean = counts @ x / number.clamp_min(1)[:, None]
    products = x.new_zeros(len(weights), dim * dim)
    for some in torch.arange(weights.shape[1], device=x.device).split(max(1, BLOCK // dim**2)):
        own = torch.stack([rows.T @ rows for rows in (x[people == one] for one in some)])  # (i, D, D)
        products += weights[:, some] @ own.flatten(1)
    return mean + shift, _covariance(products.view(-1, dim, dim), mean, number)


def _covariance(products: Tensor, mean: Tensor, number: Tensor) -> Tensor:
    """From Σ x xᵀ (..., D, D), the mean (..., D) and how many (...)."""
    number = number[..., None, None]
    return (products - number * mean[..., :, None] * mean[..., None, :]) / (number - 1).clamp_min(1)


def _frechet(means: tuple[Tensor, ...], covariances: tuple[Tensor, ...]) -> Tensor:
    """(R,) from pairs of (R, D) and (R, D, D). C_a C_b has the eigenvalues of the symmetric Rᵀ C_b R, R Rᵀ = C_a."""
    one, other = covariances
    root, singular = torch.linalg.cholesky_ex(one)  # root @ rootᵀ = C_a
    if bool(singular.any()):
        values, vectors = torch.linalg.eigh(one)
        root = vectors * values.clamp_min(0).sqrt()[:, None]
    mixed = torch.linalg.eigvalsh(root.mT @ other @ root).clamp_min(0).sqrt().sum(1)
    traces = sum(matrix.diagonal(dim1=1, dim2=2).sum(1) for matrix in covariances)
    return ((means[0] - means[1]).square().sum(1) + traces - 2 * mixed).clamp_min(0)


def kernel_distance(a: Tensor, b: Tensor, block: int = 1024) -> Tensor:
    """Unbiased squared maximum mean discrepancy under the cubic kernel, () float64; of all faces, not of subsets.

    Args:
        a, b: (N, D) and (M, D).
        block: rows of the kernel's matrix in memory at a time.

    >>> kernel_distance(torch.tensor([[0.0], [1.0]]), torch.tensor([[1.0], [1.0]]))  # 1 + 8 - 2 (1 + 8) / 2
    tensor(0., dtype=torch.float64)

    Raises:
        UserError: fewer than two faces on a side, or a feature that is not finite.
    """
    a, b = _fit(a), _fit(b)
    one, other = (torch.zeros(len(x), dtype=torch.long, device=x.device) for x in (a, b))  # all one person
    return _discrepancy(a, b, one, other, a.new_ones(1, 1), block)[0]


def kernel_resampled(a: Tensor, b: Tensor, people: Tensor, weights: Tensor, block: int = 1024) -> Tensor:
    """:func:`kernel_distance` with the faces of person i counted ``weights[r, i]`` times, (R,) float64.

    Exact, from sums of the kernel by pair of people: the matrices of all faces are walked through once. The arguments
    are those of :func:`frechet_resampled`, but ``block`` is rows at a time.

    >>> a, b, people = torch.tensor([[0.0], [1.0]]), torch.tensor([[1.0], [1.0]]), torch.tensor([0, 1])
    >>> kernel_resampled(a, b, people, torch.tensor([[1.0, 1.0], [0.0, 2.0]]))  # then twice 1 before and after
    tensor([0., 0.], dtype=torch.float64)

    Raises:
        UserError: as there. A resample with fewer than two faces gives NaN.
    """
    return _discrepancy(_fit(a), _fit(b), people, people, weights.double(), block)


def _discrepancy(a: Tensor, b: Tensor, people_a: Tensor, people_b: Tensor, weights: Tensor, block: int) -> Tensor:
    """(R,) from features (N, D), (M, D), columns (N,), (M,) of the weights (R, I)."""
    within = []
    for x, people in ((a, people_a), (b, people_b)):
        number = weights[:, people].sum(1)
        itself = _kernel(x.square().sum(1), x.shape[1])  # (N,): a face with itself is no pair
        pairs = _weighted(_sums(x, x, people, people, weights.shape[1], block), weights) - weights[:, people] @ itself
        within.append(pairs / (number * (number - 1)))
    across = _weighted(_sums(a, b, people_a, people_b, weights.shape[1], block), weights)
    across = across / (weights[:, people_a].sum(1) * weights[:, people_b].sum(1))
    enough = (weights[:, people_a].sum(1) > 1) & (weights[:, people_b].sum(1) > 1)
    return torch.where(enough, within[0] + within[1] - 2 * across, torch.nan)


def _kernel(products: Tensor, dim: int) -> Tensor:
    return (products / dim + 1.0) ** 3


def _sums(x: Tensor, y: Tensor, people_x: Tensor, people_y: Tensor, people: int, block: int) -> Tensor:
    """Sums of the kernel over the faces of each pair of people, (I, I) float64."""
    groups = []
    for whose in (people_x, people_y):
        group = torch.zeros(len(whose), people, dtype=torch.float64, device=x.device)
        groups.append(group.scatter_(1, whose[:, None], 1.0))
    total = torch.zeros(people, people, dtype=torch.float64, device=x.device)
    for start in range(0, len(x), block):
        rows = slice(start, start + block)
        total += groups[0][rows].T @ (_kernel(x[rows] @ y.T, x.shape[1]) @ groups[1])
    return total


def _weighted(sums: Tensor, weights: Tensor) -> Tensor:
    return ((weights @ sums) * weights).sum(1)


def video_features(z: Tensor) -> Tensor:
    """One spatio-temporal feature for each clip, for a distance of clips, (M, 2D).

    The mean of the frames' features, and their mean absolute difference from frame to frame. The video FID of Wang et
    al. (vid2vid, NeurIPS 2018, section 4) takes a video recognition network's features instead, which do not come with
    this package; figures are comparable within a table, not with theirs.

    Args:
        z: (M, F, D) features of the F frames of M clips, in order.

    >>> video_features(torch.tensor([[[0.0], [1.0], [5.0]]]))
    tensor([[2.0000, 2.5000]])

    Raises:
        UserError: clips of one frame.
    """
    if z.ndim != 3 or z.shape[1] < 2:
        raise UserError(f"Features of clips need (M, F, D) with at least two frames, got {tuple(z.shape)}.")
    return torch.cat([z.mean(1), z.diff(dim=1).abs().mean(1)], 1)


class FrechetDistance(Metric):
    """:func:`frechet_distance` over batches, from sums: the memory does not grow with the faces.

    Args:
        dim: D.

    >>> metric = FrechetDistance(dim=1)
    >>> for shift in (0.0, 1.0):
    ...     metric.update(torch.tensor([[0.0], [2.0]]) + shift, real=True)
    ...     metric.update(torch.tensor([[3.0], [5.0]]) + shift, real=False)
    >>> metric.compute().round(decimals=6)
    tensor(9., dtype=torch.float64)
    """

    full_state_update = False
    higher_is_better = False
    number: Tensor
    total: Tensor
    products: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        for name, shape in (("number", (2,)), ("total", (2, dim)), ("products", (2, dim, dim))):  # real, then changed
            self.add_state(name, torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, features: Tensor, real: bool) -> None:
        """(B, D) of real or of changed faces."""
        features = features.double()
        self.number[int(not real)] += len(features)
        self.total[int(not real)] += features.sum(0)
        self.products[int(not real)] += features.T @ features

    def compute(self) -> Tensor:
        """() float64.

        Raises:
            UserError: fewer than two faces of a kind, or a feature that is not finite.
        """
        real, changed = (int(count) for count in self.number)
        if min(real, changed) < 2:
            raise UserError(f"A Fréchet distance needs two faces of each kind, got {real} real and {changed} changed.")
        if not bool(self.products.isfinite().all()):
            raise UserError("A feature is NaN or infinite; leave such faces out of both sets.")
        mean = self.total / self.number[:, None]
        covariance = _covariance(self.products, mean, self.number)
        return _frechet((mean[:1], mean[1:]), (covariance[:1], covariance[1:]))[0]


class KernelDistance(Kept):
    """:func:`kernel_distance` over batches; it keeps the features."""

    higher_is_better = False
    parts = ("real", "changed")
    empty = "A kernel distance needs two faces of each kind, and there are no {name} ones."
    real: list[Tensor]
    changed: list[Tensor]

    def update(self, features: Tensor, real: bool) -> None:  # type: ignore[override]
        """(B, D) of real or of changed faces."""
        (self.real if real else self.changed).append(features)

    def compute(self) -> Tensor:
        """() float64.

        Raises:
            UserError: fewer than two faces of a kind, or a feature that is not finite.
        """
        real, changed = self.kept()
        return kernel_distance(real, changed)
