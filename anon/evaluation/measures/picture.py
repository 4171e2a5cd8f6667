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
from anon.evaluation.document.estimates import Estimate
from anon.evaluation.document.metric_info import MetricInfo
from anon.evaluation.harness.context import CHANGED, PUBLISHED, MeasureContext
from anon.evaluation.harness.suite import NONE
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
            raise UserError(f"lpips='{lpips}' is no file; it is torchvision's alexnet-owt-7be5be79.pth.")

    def __call__(self, context: MeasureContext) -> dict[str, Estimate]:
        """The figures; none of unchanged faces."""
        if context.unchanged:
            return {}
        area = context.beside("mask_area")
        figures = {
            "difference": context.mean(context.compared("difference", mean_difference)),
            "mask_area": Estimate.absent("n/a (no mask)") if area is None else context.mean(area),
            "psnr": _decibels(context),
            "ssim": context.mean(context.compared("ssim", ssim)),
            "lpips": each if isinstance(each := self.perceptual(context), Estimate) else context.mean(each),
        }
        return figures if context.one.defense == NONE else figures | _costs(context)

    @functools.cached_property
    def _network(self) -> Lpips:
        assert self.lpips is not None
        return Lpips(self.lpips)

    def perceptual(self, context: MeasureContext) -> Tensor | Estimate:
        """LPIPS of every row, (R,), or why there is none."""
        if self.lpips is None:
            return Estimate.absent("needs lpips=<alexnet-owt-7be5be79.pth>")
        side = min(context.view(PUBLISHED).eight_bits().shape[1:3])
        if side < LEAST_SIDE:
            return Estimate.absent(f"n/a (pictures of {side} pixels; LPIPS needs {LEAST_SIDE})")

        def apart(changed: Tensor, target: Tensor) -> Tensor:
            return self._network.to(changed.device)(changed, target)

        return context.compared("lpips", apart)


def _decibels(context: MeasureContext) -> Estimate:
    """A mean of dB, which one picture that did not change makes infinite."""
    values = context.compared("psnr", psnr)
    if not bool(values.isfinite().all()):
        return Estimate.absent("n/a (infinite: a picture did not change)")
    return context.mean(values)


def _costs(context: MeasureContext) -> dict[str, Estimate]:
    figures = {"defense_ssim": context.mean(context.compared("ssim", ssim, PUBLISHED, CHANGED))}
    encoder = context.method.encoder
    if encoder is None or not encoder.layers:
        why = "n/a (no encoder)" if encoder is None else "n/a (the encoder names no layers)"
        return figures | {"defense_feature_distance": Estimate.absent(why)}

    def apart(published: Tensor, changed: Tensor) -> Tensor:
        layers = encoder.layers
        return feature_distance(encoder(published, layers).maps, encoder(changed, layers).maps)

    values = context.compared("feature distance", apart, PUBLISHED, CHANGED)
    return figures | {"defense_feature_distance": context.mean(values)}
