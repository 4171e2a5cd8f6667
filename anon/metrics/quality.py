"""Does a face look like a photograph at all? A score without a reference, NIQE, lower is better.

Mittal, Soundararajan and Bovik, "Making a Completely Blind Image Quality Analyzer", IEEE SPL 20 (2013). A picture's
local contrasts, normalized (MSCN, eq. 1), are nearly Gaussian where it is natural:

    I^ = (I - mu) / (sigma + 1)        mu, sigma: local mean and deviation under a 7 x 7 Gaussian of deviation 7/6

36 features: at two scales the shape and width of a generalized Gaussian fitted to I^, and for each of four directions
shape, mean and both widths of an asymmetric one fitted to products of neighbours. The score is the distance from a
multivariate Gaussian fitted to the features of pictures known to be good.

What differs from the paper, since faces are small. Each face is one patch, and none is left out for want of sharpness;
so a picture has no covariance of its own, and the distance is Mahalanobis' with the pristine covariance alone, where
the paper takes the mean of both. The pristine pictures are unchanged *training* faces, not 125 photographs of all
things: scores compare methods on one data set at one size, beside the score of its unchanged evaluation faces (near
sqrt(36) = 6 where the training faces are many), never with published ones. Products do not wrap around the picture's
edge, and I^ has one width (as the paper says; the authors' code averages that of both sides). Lightness is the
full-range Y of BT.601 in 0..255, in the 256 levels in which pictures are published.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from anon.errors import UserError
from anon.faces.contract import in_eight_bits
from anon.metrics.states import KnownMean

FEATURES = 36
LEAST_SIDE = 32  # at half of it a 7 x 7 window still sees mostly picture
_SHAPES = torch.arange(0.2, 10.0005, 0.001, dtype=torch.float64)  # the authors' grid
_RATIOS = (2 * torch.lgamma(2 / _SHAPES) - torch.lgamma(1 / _SHAPES) - torch.lgamma(3 / _SHAPES)).exp()  # rises


def generalized_gaussian(x: Tensor) -> tuple[Tensor, Tensor]:
    """Shape and width (B,) of the zero-mean density exp(-(|x| / width)^shape) that fits each row of (B, n) by moments.

    (E|x|)² / E x² = Γ(2/shape)² / (Γ(1/shape) Γ(3/shape)), looked up in a table of shapes from 0.2 to 10 in steps of
    0.001. Shape 2 is Gaussian, 1 Laplace's. NaN for a row of zeros.

    >>> generalized_gaussian(torch.tensor([[0.0, 0.0, 1.0, -1.0]]))  # the ratio is a half: Laplace's
    (tensor([1.], dtype=torch.float64), tensor([0.5000], dtype=torch.float64))
    """
    x = x.double()
    square = x.square().mean(1)
    shape = _shape(x.abs().mean(1).square() / square)
    return shape, square.sqrt() * _narrowing(shape)


def asymmetric_gaussian(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Shape, left and right width (B,) of the density with one width on each side of 0, fitted to rows of (B, n).

    Lasmar et al. (ICIP 2009): with g the left deviation over the right one, the ratio of
    :func:`generalized_gaussian` is taken times (g³ + 1) (g + 1) / (g² + 1)². NaN where a side is empty.

    >>> asymmetric_gaussian(torch.tensor([[0.0, 0.0, 1.0, -1.0]]))[1]
    tensor([0.7071], dtype=torch.float64)
    """
    x = x.double()
    left, right = (_side_deviation(x, side) for side in (x < 0, x > 0))
    g = left / right
    ratio = x.abs().mean(1).square() / x.square().mean(1)
    shape = _shape(ratio * (g**3 + 1) * (g + 1) / (g**2 + 1).square())
    return shape, left * _narrowing(shape), right * _narrowing(shape)


def _side_deviation(x: Tensor, side: Tensor) -> Tensor:
    return ((x.square() * side).sum(1) / side.sum(1)).sqrt()


def _shape(ratio: Tensor) -> Tensor:
    """The shape whose ratio is nearest, (B,); NaN stays."""
    shapes, ratios = _SHAPES.to(ratio.device), _RATIOS.to(ratio.device)
    place = torch.searchsorted((ratios[1:] + ratios[:-1]) / 2, ratio.nan_to_num())
    return torch.where(ratio.isnan(), ratio, shapes[place])


def _narrowing(shape: Tensor) -> Tensor:
    """Width over deviation of a generalized Gaussian: sqrt(Γ(1/shape) / Γ(3/shape))."""
    return ((torch.lgamma(1 / shape) - torch.lgamma(3 / shape)) / 2).exp()


def normalized_contrast(lightness: Tensor) -> Tensor:
    """MSCN coefficients (eq. 1) of (B, H, W) in 0..255, the same form; the border is continued."""
    reach = torch.arange(-3, 4, dtype=lightness.dtype, device=lightness.device)
    window = (-(reach**2) / (2 * (7 / 6) ** 2)).exp()
    window = window / window.sum()

    def local_mean(values: Tensor) -> Tensor:
        padded = F.pad(values[:, None], (3, 3, 3, 3), mode="replicate")
        return F.conv2d(F.conv2d(padded, window[None, None, :, None]), window[None, None, None])[:, 0]

    mean = local_mean(lightness)
    deviation = (local_mean(lightness.square()) - mean.square()).clamp_min(0).sqrt()
    return (lightness - mean) / (deviation + 1)


@torch.no_grad()
def niqe_features(images: Tensor) -> Tensor:
    """The 36 statistics of each face, (B, 36) float64; NaN for a picture of a single colour.

    At full and at half size each: shape and width of the contrasts; then shape, mean, left and right width of the
    products with the neighbour to the right, below, below right and below left.

    Args:
        images: (B, 3, H, W) in [-1, 1].

    Raises:
        UserError: a side below 32 pixels.
    """
    if min(images.shape[-2:]) < LEAST_SIDE:
        raise UserError(f"NIQE needs faces of at least {LEAST_SIDE} pixels a side, got {tuple(images.shape[-2:])}.")
    colours = (in_eight_bits(images).double() + 1) * 127.5
    lightness = torch.einsum("bchw,c->bhw", colours, colours.new_tensor([0.299, 0.587, 0.114]))
    half = F.interpolate(lightness[:, None], scale_factor=0.5, mode="bicubic", align_corners=False, antialias=True)
    return torch.cat([_statistics(normalized_contrast(scale)) for scale in (lightness, half[:, 0])], 1)


def _statistics(x: Tensor) -> Tensor:
    """(B, H, W) -> (B, 18)."""
    found = list(generalized_gaussian(x.flatten(1)))
    right, below = x[:, :, :-1] * x[:, :, 1:], x[:, :-1] * x[:, 1:]
    below_right, below_left = x[:, :-1, :-1] * x[:, 1:, 1:], x[:, :-1, 1:] * x[:, 1:, :-1]
    for product in (right, below, below_right, below_left):
        shape, minus, plus = asymmetric_gaussian(product.flatten(1))
        mean = (plus - minus) * (torch.lgamma(2 / shape) - torch.lgamma(1 / shape)).exp()
        found += [shape, mean, minus, plus]
    return torch.stack(found, 1)


class Pristine(NamedTuple):
    """The Gaussian of good pictures: mean (36,) and inverse covariance (36, 36), float64."""

    mean: Tensor
    precision: Tensor

    @classmethod
    def fit(cls, features: Tensor) -> Pristine:
        """From :func:`niqe_features` (N, 36) of unchanged *training* faces of the size that is judged.

        Raises:
            UserError: no more pictures than features (those of a single colour do not count).
        """
        features = features[features.isfinite().all(1)].double()
        count, width = features.shape
        if count <= width:
            raise UserError(f"{count} pristine faces cannot span {width} features; take several hundred.")
        # a pseudo-inverse, as in the authors' code: a feature that never varies says nothing
        return cls(features.mean(0), torch.linalg.pinv(torch.cov(features.T), hermitian=True))


def niqe(features: Tensor, pristine: Pristine) -> Tensor:
    """Distance of each picture from the good ones, (B,) float64: sqrt((f - mean)ᵀ precision (f - mean)).

    Args:
        features: (B, 36), of :func:`niqe_features`.
        pristine: of the same size of picture.

    >>> niqe(torch.tensor([[3.0, 2.0]]), Pristine(torch.zeros(2), torch.diag(torch.tensor([1.0, 4.0]))))
    tensor([5.], dtype=torch.float64)
    """
    apart = features.double() - pristine.mean.to(features.device).double()
    precision = pristine.precision.to(features.device).double()
    return ((apart @ precision) * apart).sum(1).clamp_min(0).sqrt()


class Niqe(KnownMean):
    """Mean of :func:`niqe` over faces (B, 3, H, W) in [-1, 1]; pictures of a single colour do not count."""

    higher_is_better = False

    def __init__(self, pristine: Pristine) -> None:
        super().__init__()
        self.pristine = pristine

    def each(self, *inputs: Tensor) -> Tensor:
        """images -> (B,)."""
        return niqe(niqe_features(inputs[0]), self.pristine)
