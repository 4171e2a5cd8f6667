"""What the picture lost: difference, mask area, PSNR, SSIM, LPIPS of the published face against the target.

``defense_ssim`` and ``defense_feature_distance`` are a defense's own costs: the published face against the anonymized
one that it started from. They describe that step alone, so neither way is better by itself. The feature distance has
LPIPS' form on the maps of the generator's encoder.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from torch import Tensor

from anon.errors import UserError
from anon.evaluation.figures import Figure
from anon.evaluation.harness.cell import CHANGED, PUBLISHED, Cell
from anon.evaluation.harness.suite import NONE
from anon.evaluation.metric_info import MetricInfo
from anon.metrics.preservation import (
    Lpips,
    MaskArea,
    MeanDifference,
    Psnr,
    Ssim,
    feature_distance,
    mean_difference,
    psnr,
    ssim,
)

LEAST_SIDE = 64  # AlexNet's strides leave nothing of smaller pictures


class Picture:
    """The measure.

    Args:
        lpips: torchvision's ``alexnet-owt-7be5be79.pth`` as a local file; None: no LPIPS.

    Raises:
        UserError: no such file.
    """

    metrics: ClassVar[Mapping[str, MetricInfo]] = {
        "difference": MetricInfo("difference", "quality", MeanDifference.higher_is_better, low=0.0, high=2.0),
        "mask_area": MetricInfo("mask area", "quality", MaskArea.higher_is_better, low=0.0, high=1.0),
        "psnr": MetricInfo("PSNR", "quality", Psnr.higher_is_better, "dB"),
        "ssim": MetricInfo("SSIM", "quality", Ssim.higher_is_better, low=-1.0, high=1.0),
        "lpips": MetricInfo("LPIPS", "quality", False, low=0.0),
        "defense_ssim": MetricInfo("SSIM of the defense", "cost", None, low=-1.0, high=1.0),
        "defense_feature_distance": MetricInfo("feature distance of the defense", "cost", None, low=0.0),
    }

    def __init__(self, lpips: str | None = None) -> None:
        self.lpips = None if lpips is None else Path(lpips).expanduser()
        if self.lpips is not None and not self.lpips.is_file():
            raise UserError(f"metrics.lpips='{lpips}' is no file; it is torchvision's alexnet-owt-7be5be79.pth.")

    def __call__(self, cell: Cell) -> dict[str, Figure]:
        """The figures; none of unchanged faces."""
        if cell.unchanged:
            return {}
        area = cell.beside("mask_area")
        figures = {
            "difference": cell.mean(cell.compared("difference", mean_difference)),
            "mask_area": Figure.absent("n/a (no mask)") if area is None else cell.mean(area),
            "psnr": _decibels(cell),
            "ssim": cell.mean(cell.compared("ssim", ssim)),
            "lpips": self._perceptual(cell),
        }
        return figures if cell.one.defense == NONE else figures | _costs(cell)

    @functools.cached_property
    def _network(self) -> Lpips:
        assert self.lpips is not None
        return Lpips(self.lpips)

    def _perceptual(self, cell: Cell) -> Figure:
        if self.lpips is None:
            return Figure.absent("needs metrics.lpips=<alexnet-owt-7be5be79.pth>")
        side = min(cell.view(PUBLISHED).eight_bits().shape[1:3])
        if side < LEAST_SIDE:
            return Figure.absent(f"n/a (pictures of {side} pixels; LPIPS needs {LEAST_SIDE})")

        def apart(changed: Tensor, target: Tensor) -> Tensor:
            return self._network.to(changed.device)(changed, target)

        return cell.mean(cell.compared("lpips", apart))


def _decibels(cell: Cell) -> Figure:
    """A mean of dB, which one picture that did not change makes infinite."""
    values = cell.compared("psnr", psnr)
    if not bool(values.isfinite().all()):
        return Figure.absent("n/a (infinite: a picture did not change)")
    return cell.mean(values)


def _costs(cell: Cell) -> dict[str, Figure]:
    figures = {"defense_ssim": cell.mean(cell.compared("ssim", ssim, PUBLISHED, CHANGED))}
    encoder = cell.method.encoder
    if encoder is None or not encoder.layers:
        why = "n/a (no encoder)" if encoder is None else "n/a (the encoder names no layers)"
        return figures | {"defense_feature_distance": Figure.absent(why)}

    def apart(published: Tensor, changed: Tensor) -> Tensor:
        layers = encoder.layers
        return feature_distance(encoder(published, layers).maps, encoder(changed, layers).maps)

    values = cell.compared("feature distance", apart, PUBLISHED, CHANGED)
    return figures | {"defense_feature_distance": cell.mean(values)}
