"""What do the right and a wrong key give back, where an anonymizer is reversible (Wen et al., Springer 2024, ch. 6, 8).

A reversible anonymizer has ``recover(images, key)``, with keys (B,) int64 as in its ``forward``. The first few probes
of each person are anonymized with keys of their own, published in eight bits, and recovered with the right key and with
another one; the figures are those of :mod:`anon.metrics.recovery`, named ``recovery_<...>``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, cast

import torch

from anon.evaluation.document.estimates import Estimate
from anon.evaluation.document.metric_info import Kind, MetricInfo
from anon.evaluation.embeddings import embedded
from anon.evaluation.harness.context import CHANGED, TARGET, MeasureContext
from anon.evaluation.harness.store import Tensors
from anon.evaluation.harness.suite import NONE
from anon.evaluation.protocol import first_of_each
from anon.faces.contract import published, to_float
from anon.metrics.preservation import MeanDifference, Psnr, Ssim
from anon.metrics.recovery import NAMES, key_recovery

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

    metrics: ClassVar[Mapping[str, MetricInfo]] = {
        "recovery": MetricInfo("recovery", "utility"),  # only ever absent: there is no key
        **{f"recovery_{name}": _described(name) for name in NAMES},
    }

    def __init__(self, keys: int = 10**6) -> None:
        self.keys = keys

    def __call__(self, context: MeasureContext) -> dict[str, Estimate]:
        """The figures; none of unchanged faces, and none with a defense or an attack, which keys do not meet."""
        if context.unchanged or context.one.defense != NONE or context.one.attack != NONE:
            return {}
        if not callable(getattr(context.method.pristine, "recover", None)):
            return {"recovery": Estimate.absent("n/a (no key)")}
        few = first_of_each(context.labels, context.stages.suite.attacked_probes)
        found = context.kept("key recovery", lambda: self._recover(context, few), of=(TARGET, CHANGED), keys=self.keys)
        labels, figures = context.labels[few], {}
        for name in NAMES:
            values, share = found[name], name.endswith(("verified", "match"))
            finite = bool(values.isfinite().all())  # a picture that comes back exactly has no PSNR
            figure = context.bootstrap.mean(values, labels, share) if finite else Estimate.absent("n/a (infinite)")
            figures[f"recovery_{name}"] = figure
        return figures

    @torch.no_grad()
    def _recover(self, context: MeasureContext, few: torch.Tensor) -> Tensors:
        stages, method = context.stages, context.method
        anonymizer = cast(Any, method.fresh())
        rng = torch.Generator(stages.device).manual_seed(stages.seed)
        parts = []
        for rows in context.view(TARGET).eight_bits()[few].split(stages.suite.batch_size):
            target = to_float(rows).to(stages.device)
            right = torch.randint(self.keys, (len(rows),), generator=rng, device=stages.device)
            other = torch.randint(1, self.keys, (len(rows),), generator=rng, device=stages.device)
            wrong = (right + other) % self.keys  # never the right one
            changed = published(anonymizer(target, key=right, rng=rng), target, method.title)
            pictures: dict[str, Any] = {"target": target}  # and their embeddings
            for which, key in (("right", right), ("wrong", wrong)):
                pictures[which] = published(anonymizer.recover(changed, key), target, method.title)
            for which, images in (pictures | {"changed": changed}).items():
                pictures[f"z_{which}"] = embedded(stages.judge.recognizer, images)
            parts.append(key_recovery(**pictures, threshold=context.threshold, metric=context.metric))
        return {name: torch.cat([part[name].cpu() for part in parts]) for name in NAMES}
