"""Do published faces look like the targets as a set: FID, KID and a FID of clips (:mod:`anon.metrics.frechet`).

FID_judge, KID_judge   on the judge's embeddings: they rank methods within a table
VFID_judge             on the mean of a clip's embeddings and their mean change from frame to frame
FID                    on Inception's features, where its file is given
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from anon.errors import UserError
from anon.evaluation.document.estimates import Estimate
from anon.evaluation.document.metric_info import MetricInfo
from anon.evaluation.harness.context import PUBLISHED, TARGET, MeasureContext
from anon.evaluation.harness.store import Tensors
from anon.evaluation.measures.intervals import around, columns, resampled
from anon.evaluation.measures.temporal import no_clips
from anon.metrics.frechet import (
    FrechetDistance,
    KernelDistance,
    frechet_distance,
    frechet_resampled,
    kernel_distance,
    kernel_resampled,
    video_features,
)

NEEDS = "needs suite.measures.distribution.inception=<pt_inception-2015-12-05-6726825d.pth>"


class Distribution:
    """The measure.

    Args:
        inception: torch-fidelity's ``pt_inception-2015-12-05-6726825d.pth`` as a local file (extra ``fid``); None: FID
            of the judge's features only.
        resamples: of the judge's FID and of the clips', at most the protocol's: roots of matrices take long.
        inception_resamples: of FID, whose matrices have 2048 rows: about ten seconds each on one CPU core.

    Intervals: the resamples' spread around the value (:func:`anon.evaluation.measures.intervals.around`).

    Raises:
        UserError: no such file, or no torch-fidelity.
    """

    metrics: ClassVar[Mapping[str, MetricInfo]] = {
        "FID_judge": MetricInfo("FID by the judge", "quality", FrechetDistance.higher_is_better, low=0.0),
        "KID_judge": MetricInfo("KID by the judge", "quality", KernelDistance.higher_is_better),  # may be below 0
        "VFID_judge": MetricInfo("video FID by the judge", "quality", FrechetDistance.higher_is_better, low=0.0),
        "FID": MetricInfo("FID", "quality", FrechetDistance.higher_is_better, low=0.0),
    }

    def __init__(self, inception: str | None = None, resamples: int = 100, inception_resamples: int = 20) -> None:
        self.inception = None if inception is None else Path(inception).expanduser()
        self.resamples, self.inception_resamples = resamples, inception_resamples
        if self.inception is None:
            return
        if not self.inception.is_file():
            raise UserError(f"suite.measures.distribution.inception='{inception}' is no file; see torch-fidelity.")
        if importlib.util.find_spec("torch_fidelity") is None:
            raise UserError("FID by Inception needs torch-fidelity: pip install 'anon-faces[fid]'.")

    def __call__(self, context: MeasureContext) -> dict[str, Estimate]:
        """The figures; none of unchanged faces."""
        if context.unchanged:
            return {}
        if len(context.labels) < 2:
            return dict.fromkeys(self.metrics, Estimate.absent("n/a (one picture)"))
        changed, target = context.z(PUBLISHED), context.z(TARGET)
        return {
            "FID_judge": self._frechet(context, "FID_judge", changed, target, context.labels, self.resamples),
            "KID_judge": _kernel(context, changed, target),
            "VFID_judge": self._clips(context, "VFID_judge"),
            "FID": self._inception(context),
        }

    def _frechet(
        self, context: MeasureContext, name: str, changed: Tensor, target: Tensor, labels: Tensor, resamples: int
    ) -> Estimate:
        people, counts = columns(context.bootstrap, labels), context.bootstrap.weights[:resamples]
        changed, target = narrowed(changed, target)

        def make() -> Tensors:
            value = frechet_distance(changed, target)
            return {"value": value[None], "draws": frechet_resampled(changed, target, people, counts)}

        found = context.kept(name, make, of=(PUBLISHED, TARGET), resamples=resamples)
        value = float(found["value"])
        return resampled(value, around(value, found["draws"]).clamp_min(0.0), labels)

    def _clips(self, context: MeasureContext, name: str) -> Estimate:
        changed, target = context.clips(PUBLISHED), context.clips(TARGET)
        if len(changed) < 2:
            return Estimate.absent(no_clips(context) if len(changed) == 0 else "n/a (one clip)")
        moving, still = video_features(changed), video_features(target)
        return self._frechet(context, name, moving, still, context.clip_labels, self.resamples)

    def _inception(self, context: MeasureContext) -> Estimate:
        if self.inception is None:
            return Estimate.absent(NEEDS)

        def features(images: Tensor) -> Tensor:
            return self._network.to(images.device)(((images + 1.0) * 127.5).round().to(torch.uint8))

        changed, target = (context.applied("inception", features, of) for of in (PUBLISHED, TARGET))
        return self._frechet(context, "FID", changed, target, context.labels, self.inception_resamples)

    @functools.cached_property
    def _network(self) -> nn.Module:
        from torchmetrics.image.fid import NoTrainInceptionV3

        return NoTrainInceptionV3("inception-v3-compat", ["2048"], str(self.inception))


def narrowed(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Two feature sets (N, D), (M, D) within the space that they span, where that is narrower than D, float64.

    Nothing that depends on their inner products changes, and matrices of few clips' features become small.
    """
    both = torch.cat([a, b]).double()
    if len(both) < both.shape[1]:
        both = both @ torch.linalg.qr(both.T).Q
    return both[: len(a)], both[len(a) :]


def _kernel(context: MeasureContext, changed: Tensor, target: Tensor) -> Estimate:
    """KID; its resamples are exact and cheap, so there are all of the protocol's."""
    people = columns(context.bootstrap, context.labels)
    value = float(kernel_distance(changed, target))
    draws = kernel_resampled(changed, target, people, context.bootstrap.weights)
    return resampled(value, around(value, draws), context.labels)
