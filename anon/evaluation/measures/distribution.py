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
from anon.evaluation.figures import Figure
from anon.evaluation.harness.cell import PUBLISHED, TARGET, Cell
from anon.evaluation.harness.store import Tensors
from anon.evaluation.measures.intervals import around, columns, resampled
from anon.evaluation.measures.temporal import no_clips
from anon.evaluation.metric_info import MetricInfo
from anon.metrics.frechet import (
    FrechetDistance,
    KernelDistance,
    frechet_distance,
    frechet_resampled,
    kernel_distance,
    kernel_resampled,
    video_features,
)

NEEDS = "needs protocol.measures.distribution.inception=<pt_inception-2015-12-05-6726825d.pth>"


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
            raise UserError(f"protocol.measures.distribution.inception='{inception}' is no file; see torch-fidelity.")
        if importlib.util.find_spec("torch_fidelity") is None:
            raise UserError("FID by Inception needs torch-fidelity: pip install 'anon-faces[fid]'.")

    def __call__(self, cell: Cell) -> dict[str, Figure]:
        """The figures; none of unchanged faces."""
        if cell.unchanged:
            return {}
        names = {what: f"{what}_judge" for what in ("FID", "KID", "VFID")}
        if len(cell.labels) < 2:
            return dict.fromkeys((*names.values(), "FID"), Figure.absent("n/a (one picture)"))
        changed, target = cell.z(PUBLISHED), cell.z(TARGET)
        return {
            names["FID"]: self._frechet(cell, names["FID"], changed, target, cell.labels, self.resamples),
            names["KID"]: _kernel(cell, changed, target),
            names["VFID"]: self._clips(cell, names["VFID"]),
            "FID": self._inception(cell),
        }

    def _frechet(
        self, cell: Cell, name: str, changed: Tensor, target: Tensor, labels: Tensor, resamples: int
    ) -> Figure:
        people, counts = columns(cell.bootstrap, labels), cell.bootstrap.weights[:resamples]
        changed, target = narrowed(changed, target)

        def make() -> Tensors:
            value = frechet_distance(changed, target)
            return {"value": value[None], "draws": frechet_resampled(changed, target, people, counts)}

        found = cell.kept(name, make, of=(PUBLISHED, TARGET), resamples=resamples)
        value = float(found["value"])
        return resampled(value, around(value, found["draws"]).clamp_min(0.0), labels)

    def _clips(self, cell: Cell, name: str) -> Figure:
        changed, target = cell.clips(PUBLISHED), cell.clips(TARGET)
        if len(changed) < 2:
            return Figure.absent(no_clips(cell) if len(changed) == 0 else "n/a (one clip)")
        moving, still = video_features(changed), video_features(target)
        return self._frechet(cell, name, moving, still, cell.clip_labels, self.resamples)

    def _inception(self, cell: Cell) -> Figure:
        if self.inception is None:
            return Figure.absent(NEEDS)

        def features(images: Tensor) -> Tensor:
            return self._network.to(images.device)(((images + 1.0) * 127.5).round().to(torch.uint8))

        changed, target = (cell.seen("inception", features, of) for of in (PUBLISHED, TARGET))
        return self._frechet(cell, "FID", changed, target, cell.labels, self.inception_resamples)

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


def _kernel(cell: Cell, changed: Tensor, target: Tensor) -> Figure:
    """KID; its resamples are exact and cheap, so there are all of the protocol's."""
    people = columns(cell.bootstrap, cell.labels)
    value = float(kernel_distance(changed, target))
    draws = kernel_resampled(changed, target, people, cell.bootstrap.weights)
    return resampled(value, around(value, draws), cell.labels)
