"""What do the right and a wrong key give back, where an anonymizer is reversible (Wen et al., Springer 2024, ch. 6, 8).

A reversible anonymizer has ``recover(images, key)``, with keys (B,) int64 as in its ``forward``. The first few probes
of each person are anonymized with keys of their own, published in eight bits, and recovered with the right key and with
another one; the figures are those of :mod:`anon.metrics.recovery`, named ``recovery_<...>``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch

from anon.evaluation.document.estimates import Estimate
from anon.evaluation.document.metric_info import Kind, MetricInfo
from anon.evaluation.embeddings import embedded
from anon.evaluation.harness.context import CHANGED, TARGET, MeasureContext
from anon.evaluation.harness.pictures import READING, drawn
from anon.evaluation.harness.store import Tensors, key_of
from anon.evaluation.harness.suite import NONE
from anon.evaluation.protocol import first_of_each
from anon.faces.contract import published, to_float
from anon.metrics.preservation import MeanDifference, Psnr, Ssim
from anon.metrics.recovery import NAMES, key_recovery
from anon.provenance import code

# Of a recovered face: torchmetrics' direction, unit, least and most. The right key shall give back picture and person.
_RECOVERED: dict[str, tuple[bool | None, str, float | None, float | None]] = {
    "psnr": (Psnr.higher_is_better, "dB", None, None),
    "ssim": (Ssim.higher_is_better, "", -1.0, 1.0),
    "mae": (MeanDifference.higher_is_better, "", 0.0, 2.0),
    "distance": (False, "", 0.0, None),
    "verified": (True, "", 0.0, 1.0),
}
# A wrong key shall give neither the person nor the published face; what its picture looks like says nothing.
_WRONG = {"wrong_distance": True, "wrong_verified": False, "changed_distance": True, "changed_match": False}
_LOOKS = ("psnr", "ssim", "mae")  # of the picture; the others are the judge's


def _described(name: str) -> MetricInfo:
    which, _, figure = name.partition("_")
    better, unit, low, high = _RECOVERED["verified" if figure == "match" else figure]
    kind: Kind = "utility" if which == "right" else "privacy"
    title, judged = f"recovered, {name.replace('_', ' ')}", figure not in _LOOKS
    return MetricInfo(title, kind, better if which == "right" else _WRONG.get(name), unit, low, high, judged=judged)


class Recovery:
    """The measure.

    Args:
        keys: how many there are; the book's chapter 6 has six digits.
    """

    def __init__(self, keys: int = 10**6) -> None:
        self.keys = keys

    @property
    def metrics(self) -> Mapping[str, MetricInfo]:
        """What it gives."""
        absent = MetricInfo("recovery", "utility")  # only ever absent: there is no key
        return {"recovery": absent, **{f"recovery_{name}": _described(name) for name in NAMES}}

    def __call__(self, context: MeasureContext) -> dict[str, Estimate]:
        """The figures; none of unchanged faces, and none with a defense or an attack, which keys do not meet."""
        if context.unchanged or context.one.defense != NONE or context.one.attack != NONE:
            return {}
        method = context.method.pristine
        if not callable(getattr(method, "recover", None)) or not getattr(method, "reversible", True):
            return {"recovery": Estimate.absent("n/a (no key)")}
        if getattr(method, "temporal", False):
            return {"recovery": Estimate.absent("n/a (of clips: clip_recovery)")}
        few = first_of_each(context.labels, context.stages.suite.attacked_probes)
        found = context.kept("key recovery", lambda: self._recover(context, few), of=(TARGET, CHANGED), keys=self.keys)
        labels, figures = context.labels[few], {}
        for name in NAMES:
            values, share = found[name], name.endswith(("verified", "match"))
            finite = bool(values.isfinite().all())  # a picture that comes back exactly has no PSNR
            figure = context.bootstrap.mean(values, labels, share) if finite else Estimate.absent("n/a (infinite)")
            figures[f"recovery_{name}"] = figure
        return figures

    def _recover(self, context: MeasureContext, few: torch.Tensor) -> Tensors:
        """The figures of :data:`anon.metrics.recovery.NAMES`, (F,) each, by the judge."""
        stages, device = context.stages, context.stages.device
        kept = self._pictures(context, few)
        parts = []
        for rows in torch.arange(int(few.sum())).split(stages.suite.batch_size):
            shown = {name: to_float(images[rows]).to(device) for name, images in kept.items()}
            seen = {f"z_{name}": embedded(stages.judge.recognizer, images) for name, images in shown.items()}
            pictures: dict[str, Any] = {name: shown[name] for name in ("target", "right", "wrong")} | seen
            parts.append(key_recovery(**pictures, threshold=context.threshold, metric=context.metric))
        return {name: torch.cat([part[name].cpu() for part in parts]) for name in NAMES}

    def _pictures(self, context: MeasureContext, few: torch.Tensor) -> Tensors:
        """``target``, ``changed``, ``right`` and ``wrong``, uint8 (F, H, W, 3) each; drawn once for all judges."""
        stages, method, target = context.stages, context.method, context.view(TARGET)

        @torch.no_grad()
        def make() -> Tensors:
            anonymizer = cast(Any, method.fresh())
            rng = torch.Generator(stages.device).manual_seed(stages.seed)
            parts: list[Tensors] = []
            for rows in target.eight_bits()[few].split(stages.suite.batch_size):
                faces = to_float(rows).to(stages.device)
                right = torch.randint(self.keys, (len(rows),), generator=rng, device=stages.device)
                other = torch.randint(1, self.keys, (len(rows),), generator=rng, device=stages.device)
                wrong = (right + other) % self.keys  # never the right one
                changed = published(anonymizer(faces, key=right, rng=rng), faces, method.title)
                part = {"target": rows, "changed": drawn(changed, faces, method.title)}
                for which, key in (("right", right), ("wrong", wrong)):
                    part[which] = drawn(anonymizer.recover(changed, key), faces, method.title)
                parts.append(part)
            return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

        key = key_of(
            of=target.key,
            rows=few.tolist(),
            method=method.key,
            keys=self.keys,
            seed=stages.seed,
            batch=stages.suite.batch_size,
            device=stages.device.type,
            code=code(Recovery._pictures, *READING),
        )
        return stages.store.get("recovered", key, make)
