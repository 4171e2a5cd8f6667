"""Training first-order motion on clips: one frame, moved by the keypoints of another, shall be that other frame.

    loss = 10 sum over sizes |X - D| + w sum over maps |f(X) - f(D)| + equivariance of keypoints and Jacobians

(Siarohin et al., NeurIPS 2019, section 3.3, where f is VGG-19 and stands alone; here a shipped recognizer's maps stand
beside pixels.) ``landmarks`` supervises: where the five points are known in both frames, as the renderer knows them,
the flow shall take one to the other.

    python train.py experiment=identity_mask
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import pytorch_lightning as pl
import torch
from torch import Tensor

from anon.errors import UserError
from anon.faces.clip_pairs import ClipPairs
from anon.faces.contract import FaceSet, batch_of
from anon.generators.first_order.keypoints import grid_of, relative
from anon.generators.first_order.network import FirstOrderMotion, Moved
from anon.identity.encoder import Encoder
from anon.losses.features import feature_matching
from anon.losses.motion import equivariance, jacobian_equivariance, landmark_flow, pyramid
from anon.training.augment import step_rng
from anon.training.deformations import Deformation
from anon.training.gradients import mean_over_processes
from anon.training.grids import SampleGrids
from anon.training.schedule import warm_cosine

WHO = "experiment=identity_mask"


@dataclass(frozen=True)
class MotionWeights:
    """Weights of the terms; of 0: it is logged where that costs nothing, and not trained.

    Args:
        reconstruction: of the pixels at :func:`pyramid`'s sizes.
        features: of the recognizer's maps; 0: no recognizer looks.
        equivariance, jacobian: of keypoints and their Jacobians.
        landmarks: of known points; 0: no label is used.
    """

    reconstruction: float = 10.0
    features: float = 2.0
    equivariance: float = 5.0
    jacobian: float = 2.0
    landmarks: float = 5.0


class FirstOrderTraining(pl.LightningModule):
    """Adam whose rate rises and falls along a cosine. A batch's frames drive others that are drawn from their clips.

    Args:
        network: what is trained.
        encoder: the recognizer whose maps are compared; no judge.
        steps: of the training, for the rate.
        loss: weights.
        affine, spline: deviations of the deformations that keypoints are to be equivariant to.
        lr, betas, warmup: Adam's peak rate, its momenta, and the share of steps that rise to the peak.
        clip: largest norm of the gradient.
        seed: of pairs and deformations.
    """

    def __init__(
        self,
        network: FirstOrderMotion,
        encoder: Encoder,
        steps: int,
        loss: MotionWeights,
        affine: float = 0.05,
        spline: float = 0.005,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.5, 0.999),
        warmup: float = 0.05,
        clip: float = 10.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.network, self.encoder = network.to(memory_format=torch.channels_last), encoder  # type: ignore[call-overload]
        self.steps, self.loss, self.affine, self.spline = steps, loss, affine, spline
        self.lr, self.betas, self.warmup, self.clip, self.seed = lr, betas, warmup, clip, seed
        self._pairs: dict[str, ClipPairs] = {}

    def on_fit_start(self) -> None:
        """The training data are clips, with the landmarks that the loss asks for.

        Raises:
            UserError: they are not.
        """
        faces = self._faces("train")
        self._pairs["train"] = ClipPairs(faces, WHO)
        if bool((faces.videos < 0).any()):
            raise UserError(f"{WHO} learns from frames of clips alone, and these data have stills, too: data.images=0.")
        if self.loss.landmarks and "landmarks" not in faces[0]:
            raise UserError(f"{WHO} is supervised by landmarks, which these data have not: model.loss.landmarks=0.")

    def _faces(self, split: str) -> FaceSet:
        return self.trainer.datamodule.faces(split)  # type: ignore[attr-defined]

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.network.parameters(), lr=self.lr, betas=self.betas)
        rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warm_cosine(step, self.steps, self.warmup))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": rate, "interval": "step"}}

    def configure_gradient_clipping(self, optimizer: Any, *_: Any, **__: Any) -> None:
        """By norm."""
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.clip)

    def training_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> Tensor:
        drawn = step_rng("cpu", self.seed, self.global_step, self.global_rank)
        labels, videos, frames = (batch[key].cpu() for key in ("identity", "video", "frame"))
        chosen = self._pairs["train"].another(labels, videos, frames, drawn)
        source = self._shown("train", chosen, batch)
        terms = self.terms(source, batch, step_rng(self.device, self.seed, self.global_step, self.global_rank, 1))
        weights = vars(self.loss)
        loss = torch.stack([weights[name] * value for name, value in terms.items()]).sum()
        self.log_dict(mean_over_processes({f"train/{name}": value for name, value in terms.items()}))
        self.log("train/loss", mean_over_processes({"loss": loss})["loss"], prog_bar=True)
        return loss

    def _shown(self, split: str, rows: Tensor, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """``image`` and, where ``like`` has them, ``landmarks`` of rows (B,) of a split, on the device."""
        found = cast("dict[str, Tensor]", batch_of(self._faces(split), rows.tolist()))
        return {key: found[key].to(self.device) for key in ("image", "landmarks") if key in like}

    def terms(
        self, source: Mapping[str, Tensor], driving: Mapping[str, Tensor], rng: torch.Generator
    ) -> dict[str, Tensor]:
        """The terms that have a weight, by the names of :class:`MotionWeights`.

        Args:
            source, driving: ``image`` (B, 3, H, W) and, where they supervise, ``landmarks`` (B, 5, 2) in pixels.
        """
        image, truth = (each["image"].contiguous(memory_format=torch.channels_last) for each in (source, driving))
        deformation = Deformation.drawn(len(truth), rng, self.affine, self.spline)
        found = self.network.keypoints(torch.cat((image, truth, deformation.picture(truth))))
        rows = torch.arange(len(found.value), device=truth.device).chunk(3)
        at, to, deformed = (found.of(part) for part in rows)
        moved = self.network(image, at, to)
        terms = {"reconstruction": pyramid(moved.image, truth)}
        if self.loss.features:
            wanted, drawn = (self.encoder.maps(each, self.encoder.layers) for each in (truth, moved.image))
            terms["features"] = feature_matching([each.detach() for each in wanted], drawn)
        if self.loss.equivariance:
            terms["equivariance"] = equivariance(to.value, deformation.at(deformed.value))
        if self.loss.jacobian:
            terms["jacobian"] = jacobian_equivariance(to, deformed, deformation.turn(deformed.value))
        if self.loss.landmarks:
            terms["landmarks"] = self._missed(moved.flow, source, driving).mean()
        return terms

    def _missed(self, flow: Tensor, source: Mapping[str, Tensor], driving: Mapping[str, Tensor]) -> Tensor:
        """(B, 5) of :func:`landmark_flow`; points that are outside of the picture count as at its border."""
        before, after = (to_unit(each["landmarks"], flow.shape[1]) for each in (source, driving))
        return landmark_flow(flow, before.clamp(-1, 1), after.clamp(-1, 1))

    @torch.no_grad()
    def validation_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> None:
        """Last frames of background clips drawn from first ones: errors of pixels and flow, beside no motion at all."""
        clips = batch["video"] >= 0
        if not bool(clips.any()):
            return
        if "background" not in self._pairs:
            self._pairs["background"] = ClipPairs(self._faces("background"), WHO)
        which = [batch[key][clips].cpu() for key in ("identity", "video", "frame")]
        last, first = self._pairs["background"].ends(*which)
        if not bool(last.any()):
            return
        driving = {key: batch[key][clips][last.to(clips.device)] for key in ("image", "landmarks") if key in batch}
        source = self._shown("background", first[last], driving)
        moved = self.moved(source["image"], driving["image"])
        figures = {"l1": (moved.image - driving["image"]), "l1_still": source["image"] - driving["image"]}
        report = {name: value.abs().mean() for name, value in figures.items()}
        if "landmarks" in driving:
            half = (moved.flow.shape[1] - 1) / 2  # pixels of a unit
            height, width = moved.flow.shape[1:3]
            still = grid_of(height, width, moved.flow).expand_as(moved.flow)
            report["flow"] = half * self._missed(moved.flow, source, driving).mean()
            report["flow_still"] = half * self._missed(still, source, driving).mean()
        named = {f"val/{name}": value for name, value in report.items()}
        self.log_dict(named, on_epoch=True, sync_dist=True, batch_size=len(source["image"]))

    def moved(self, source: Tensor, driving: Tensor) -> Moved:
        """The source (B, 3, H, W) with the keypoints of the driving picture."""
        return self.network(source, self.network.keypoints(source), self.network.keypoints(driving))


def to_unit(points: Tensor, side: int) -> Tensor:
    """Pixels (..., 2) of a square picture -> x, y in [-1, 1], of which ±1 are the centres of the outer pixels.

    >>> to_unit(torch.tensor([0.0, 63.0]), 64).tolist()
    [-1.0, 1.0]
    """
    return 2.0 * points / (side - 1) - 1.0


class MotionGrids(SampleGrids):
    """A row a person: a clip's first and last frame, the first one moved to be the last, what of it is seen (white) or
    painted (black), the next row's first frame, and that one moved as this clip moves.
    """

    def pick(self, faces: FaceSet) -> Tensor:
        """(n, 2, 3, H, W): the first clip's ends of people spread over the set; nobody where there are no clips."""
        rows = (faces.videos == 0).nonzero()[:, 0]
        if not len(rows):
            return torch.empty(0)
        _, counts = torch.unique_consecutive(faces.labels[rows], return_counts=True)
        starts = counts.cumsum(0) - counts
        chosen = torch.linspace(0, len(starts) - 1, min(self.faces, len(starts))).long()
        ends = torch.stack((rows[starts[chosen]], rows[starts[chosen] + counts[chosen] - 1]), 1)
        images = batch_of(faces, ends.flatten().tolist())["image"]
        return images.unflatten(0, (-1, 2))

    def columns(self, pl_module: pl.LightningModule, target: Tensor) -> list[Tensor]:
        network: Any = pl_module.network
        first, last = target.unbind(1)
        before, after = network.keypoints(first), network.keypoints(last)
        moved, other, theirs = network(first, before, after), first.roll(-1, 0), network.keypoints(first.roll(-1, 0))
        shown = moved.visible.expand_as(first) * 2 - 1
        return [first, last, moved.image, shown, other, network(other, theirs, relative(theirs, after, before)).image]
