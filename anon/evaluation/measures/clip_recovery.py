"""What do the right and a wrong key give back of clips, by methods that work on clips?

(Wen et al., *IdentityMask*, IEEE TCSVT 2022; tables 8.4, 8.6 and 8.7 of the book.) Every clip has a key of its own, and
so has its wrong recovery. Clips are anonymized, published in eight bits, and recovered; a recovered frame is compared
with the same frame of the original clip.

clip_CSIM, clip_verified         the anonymized frame: cosine to the original, and whether it is taken for the person
clip_<key>_CSIM, _verified       the same of the recovered frame, ``right`` and ``wrong``
clip_<key>_match                 half of the frames of a clip, or more, are verified: the clip is recovered
clip_right_PSNR, _SSIM, _MAE     of the recovered picture; MAE of pictures in [0, 1], as the book's
clip_right_M_tc                  M_tc mu of the recovered clip
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from anon.evaluation.document.estimates import Estimate
from anon.evaluation.document.metric_info import MetricInfo, share
from anon.evaluation.embeddings import embedded
from anon.evaluation.harness.attackers import NO_DIRECTION
from anon.evaluation.harness.context import TARGET, MeasureContext
from anon.evaluation.harness.pictures import IMAGES, READING, drawn, failing
from anon.evaluation.harness.store import Tensors, key_of
from anon.evaluation.harness.suite import NONE
from anon.evaluation.measures.temporal import no_clips
from anon.faces.contract import to_float
from anon.identity.rotation import WORDS
from anon.identity.verification import distance
from anon.metrics.preservation import MeanDifference, Psnr, Ssim, mean_difference, psnr, ssim
from anon.metrics.temporal import TemporalConsistency, temporal_consistency
from anon.provenance import code

_STATES = ("changed", "right", "wrong")


class ClipRecovery:
    """The measure."""

    metrics: ClassVar[Mapping[str, MetricInfo]] = {
        "clip_recovery": MetricInfo("recovery of clips", "utility"),  # only ever absent: there is no key of clips
        "clip_CSIM": MetricInfo("CSIM of clips", "privacy", False, low=-1.0, high=1.0),
        "clip_verified": share("frames verified", "privacy", False),
        "clip_right_CSIM": MetricInfo("right key, CSIM", "utility", True, low=-1.0, high=1.0, judged=True),
        "clip_right_verified": MetricInfo("right key, frames", "utility", True, low=0.0, high=1.0, judged=True),
        "clip_right_match": MetricInfo("right key, clips", "utility", True, low=0.0, high=1.0, judged=True),
        "clip_wrong_CSIM": MetricInfo("wrong key, CSIM", "privacy", False, low=-1.0, high=1.0),
        "clip_wrong_verified": share("wrong key, frames", "privacy", False),
        "clip_wrong_match": share("wrong key, clips", "privacy", False),
        "clip_right_PSNR": MetricInfo("right key, PSNR", "utility", Psnr.higher_is_better, "dB"),
        "clip_right_SSIM": MetricInfo("right key, SSIM", "utility", Ssim.higher_is_better, low=-1.0, high=1.0),
        "clip_right_MAE": MetricInfo("right key, MAE", "utility", MeanDifference.higher_is_better, low=0.0, high=1.0),
        "clip_right_M_tc": MetricInfo(
            "right key, M_tc mu", "utility", TemporalConsistency.higher_is_better, low=0.0, judged=True
        ),
    }

    def __call__(self, context: MeasureContext) -> dict[str, Estimate]:
        """The figures; none of unchanged faces, and none with a defense or an attack, which keys do not meet."""
        if context.unchanged or context.one.defense != NONE or context.one.attack != NONE:
            return {}
        method = context.method.pristine
        if not getattr(method, "temporal", False) or not getattr(method, "reversible", False):
            return {"clip_recovery": Estimate.absent("n/a (no key of clips)")}
        z = context.clips(TARGET)
        if len(z) == 0:
            return {"clip_recovery": Estimate.absent(no_clips(context))}
        found = context.kept("clip recovery", lambda: self._judged(context, z), of=(TARGET,), method=context.method.key)
        frames, clips = context.clip_labels.repeat_interleave(z.shape[1]), context.clip_labels
        figures: dict[str, Estimate] = {}
        for name, values in found.items():
            own = clips if len(values) == len(clips) and values.ndim == 1 else frames
            flat = values.flatten().double()
            whole = bool(flat.isfinite().all())  # a frame that comes back exactly has no PSNR
            shown = context.bootstrap.mean(flat, own, name.endswith(("verified", "match")))
            figures[f"clip_{name}"] = shown if whole else Estimate.absent("n/a (infinite)")
        if context.metric != "cosine":
            figures |= {name: Estimate.absent(NO_DIRECTION) for name in figures if name.endswith("CSIM")}
        return figures

    def _judged(self, context: MeasureContext, z: Tensor) -> Tensors:
        """(M, n) of frames and (M,) of clips, by the figures' names; ``z`` (M, n, D) of the originals."""
        stages, kept = context.stages, self._pictures(context)
        size, device, judge = stages.suite.batch_size, stages.device, stages.judge.recognizer
        found: Tensors = {}
        for state in _STATES:
            name = "" if state == "changed" else f"{state}_"
            flat = kept[state].flatten(0, 1)
            seen = torch.cat([embedded(judge, to_float(part).to(device)).cpu() for part in flat.split(size)])
            apart = distance(seen, z.flatten(0, 1), context.metric).unflatten(0, z.shape[:2])
            same = apart < context.threshold
            found |= {f"{name}CSIM": 1.0 - apart, f"{name}verified": same}
            if state != "changed":
                found[f"{name}match"] = same.float().mean(1) >= 0.5
            if state == "right":
                found["right_M_tc"] = temporal_consistency(seen.unflatten(0, z.shape[:2]), context.metric)[0]
        pairs = zip(kept["right"].flatten(0, 1).split(size), kept["target"].flatten(0, 1).split(size), strict=True)
        parts = []
        for right, target in pairs:
            a, b = to_float(right), to_float(target)
            parts.append((psnr(a, b), ssim(a, b), mean_difference(a, b) / 2))
        for name, each in zip(("PSNR", "SSIM", "MAE"), zip(*parts, strict=True), strict=True):
            found[f"right_{name}"] = torch.cat(each).unflatten(0, z.shape[:2])
        return found

    def _pictures(self, context: MeasureContext) -> Tensors:
        """``target`` and :data:`_STATES`, uint8 (M, n, H, W, 3) each; drawn once for all judges."""
        stages, method, target = context.stages, context.method, context.view(TARGET).pictures
        clips = context.people.clips

        @torch.no_grad()
        def make() -> Tensors:
            shown, rng = target.tensors()[IMAGES], torch.Generator().manual_seed(stages.seed)
            parts: list[Tensors] = []
            for rows in clips.split(max(1, stages.suite.batch_size // clips.shape[1])):
                anonymizer = cast(Any, method.fresh())
                own = shown[rows.flatten()]
                faces = to_float(own).to(stages.device)
                track = torch.arange(len(rows)).repeat_interleave(rows.shape[1])
                right, wrong = torch.randint(-(2**63), 2**63 - 1, (2, len(rows), WORDS), generator=rng)[..., track, :]
                part = {"target": own}
                with failing(method.title):
                    part["changed"] = drawn(anonymizer(faces, key=right, track=track), faces, method.title)
                    published = to_float(part["changed"]).to(stages.device)
                    for name, key in (("right", right), ("wrong", wrong)):
                        anonymizer.reset()
                        part[name] = drawn(anonymizer.recover(published, key, track), faces, method.title)
                parts.append({name: each.unflatten(0, rows.shape) for name, each in part.items()})
            return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

        key = key_of(
            of=target.key,
            clips=clips.tolist(),
            method=method.key,
            seed=stages.seed,
            batch=stages.suite.batch_size,
            device=stages.device.type,
            code=code(ClipRecovery._pictures, *READING),
        )
        return stages.store.get("recovered clips", key, make)
