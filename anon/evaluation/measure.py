"""One pass over the evaluation pictures: every method changes every picture, and what is measured stays, per face.

Pictures are read and encoded once for all methods, in the order of the set (frames of a clip one after the other, which
the tracker depends on). Only embeddings and numbers are kept, never a picture.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn

from anon.anonymizers.composed import Anonymizer
from anon.attacks.contract import AttackLike
from anon.attributes.contract import READABLE, Estimator
from anon.attributes.distances import distances
from anon.attributes.regressor import AttributeRegressor
from anon.evaluation.embeddings import batches
from anon.faces.contract import FaceSet, Sample, check_images
from anon.faces.detection.contract import Detector
from anon.metrics.degradations import degrade
from anon.metrics.preservation import detected, mask_area, mean_difference, ssim

Embed = Callable[[Tensor], Tensor]
JUDGE, ENCODER = "judge", "encoder"
OPPOSITE = "opposite"  # the condition with the other sign, judged
ATTACKED = "attacked"  # after the attack on the images, judged


@dataclass
class Method:
    """A row of the table: an anonymizer, or None for the faces as they are.

    ``both_signs``: also redraw with the opposite condition, to see which way the generator steers.
    """

    name: str
    policy: str
    anonymizer: Anonymizer | None
    both_signs: bool = False


@dataclass
class Instruments:
    """What looks at the faces: two recognizers by name, and the optional measures; an attack comes before the judge."""

    recognizers: dict[str, Embed]  # JUDGE and ENCODER
    estimator: Estimator | None = None
    lpips: nn.Module | None = None
    attack: AttackLike | None = None
    detector: Detector | None = None
    degradations: Sequence[str] = ()


@dataclass
class Measured:
    """A method's results in the order of the pictures: of all (N), of the probes (P) or of a few probes (F)."""

    z: dict[str, Tensor] = field(default_factory=dict)  # JUDGE of all N, ENCODER of the probes, the rest of the few
    values: dict[str, Tensor] = field(default_factory=dict)  # numbers of the probes
    wanted: Tensor = field(default_factory=lambda: torch.empty(0))  # (P, D) z_a, empty for the faces as they are


@torch.no_grad()
def measure(
    methods: Sequence[Method],
    faces: FaceSet,
    items: Tensor,
    probes: Tensor,
    few: Tensor,
    instruments: Instruments,
    batch_size: int,
    device: torch.device | str = "cpu",
) -> dict[str, Measured]:
    """Change and measure.

    Args:
        items: (N,) indices of the pictures, rising.
        probes: (N,) bool, pictures that are probes; the others are judged for M_tc alone.
        few: (N,) bool, probes that are also degraded and redrawn with the opposite sign, which costs most.

    Returns:
        By name of the method.
    """
    found: dict[str, defaultdict[str, list[Tensor]]] = {method.name: defaultdict(list) for method in methods}
    done = 0
    encoder = next((method.anonymizer.encoder for method in methods if method.anonymizer is not None), None)
    for batch in batches(faces, items, batch_size, "evaluating faces"):
        target = check_images(batch["image"].to(device))
        chosen = probes[done : done + len(target)].to(device)
        fewer = few[done : done + len(target)].to(device)
        truth = {name: value[chosen] for name, value in known_attributes(batch, device).items()}
        done += len(target)
        z = encoder(target).z if encoder is not None else None
        for method in methods:
            keep = found[method.name]
            changed, mask = target, None
            if method.anonymizer is not None and z is not None:
                wanted = method.anonymizer.policy(z)
                redrawn = method.anonymizer.draw(target, wanted)
                changed, mask = redrawn.blend(target).clamp(-1.0, 1.0), redrawn.mask
                _add(keep, {"wanted": wanted[chosen]})
                if method.both_signs and bool(fewer.any()):
                    other = method.anonymizer.draw(target[fewer], -wanted[fewer]).blend(target[fewer])
                    _add(keep, {f"z {OPPOSITE}": instruments.recognizers[JUDGE](other.clamp(-1.0, 1.0))})
            _add(keep, {f"z {JUDGE}": instruments.recognizers[JUDGE](changed)})
            if bool(chosen.any()):
                part = None if mask is None else mask[chosen]
                _add(keep, _look(instruments, changed[chosen], target[chosen], part, truth, method.anonymizer is None))
            if bool(fewer.any()):
                _add(keep, _degraded(instruments, changed[fewer]))
    return {name: _collect(keep) for name, keep in found.items()}


def _look(
    instruments: Instruments,
    changed: Tensor,
    target: Tensor,
    mask: Tensor | None,
    truth: dict[str, Tensor],
    unchanged: bool,
) -> dict[str, Tensor]:
    """Everything that is measured on probes, by name."""
    found = {f"z {ENCODER}": instruments.recognizers[ENCODER](changed)}
    if instruments.attack is not None:
        seen = instruments.recognizers[JUDGE](instruments.attack.images(changed))
        found[f"z {ATTACKED}"] = instruments.attack.probe(seen)
    if not unchanged:
        found |= {"difference": mean_difference(changed, target), "ssim": ssim(changed, target)}
        if mask is not None:
            found["mask_area"] = mask_area(mask)
        if instruments.lpips is not None:
            found["lpips"] = instruments.lpips(changed, target)
    if instruments.detector is not None:
        found["detected"] = detected(instruments.detector, changed)
    if instruments.estimator is not None:
        found |= attribute_errors(instruments.estimator, changed, target, truth)
    return found


def known_attributes(batch: Sample, device: torch.device | str) -> dict[str, Tensor]:
    """What the data knows of the attributes that estimators read."""
    return {name: cast(Tensor, value).to(device) for name, value in batch.items() if name in READABLE}


def attribute_errors(
    estimator: Estimator, changed: Tensor, target: Tensor, truth: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Errors against the data's truth; where it has none in the estimator's form, against the target's reading.

    Published estimators are told where the face lies; the regressor knows the frame that it was trained in.
    """
    points = None if isinstance(estimator, AttributeRegressor) else truth.get("landmarks")
    read = estimator(changed, points)
    known = {name: value for name, value in truth.items() if name in read and read[name].shape == value.shape}
    if len(known) < len(read):
        known = {**estimator(target, points), **known}
    return distances(read, known)


def _degraded(instruments: Instruments, changed: Tensor) -> dict[str, Tensor]:
    """What both recognizers see after each degradation."""
    found = {}
    for name in instruments.degradations:
        worse = degrade(changed, name)
        for who, recognizer in instruments.recognizers.items():
            found[f"z {who} {name}"] = recognizer(worse)
    return found


def _add(keep: defaultdict[str, list[Tensor]], found: dict[str, Tensor]) -> None:
    for name, value in found.items():
        keep[name].append(value.float().cpu())


def _collect(keep: dict[str, list[Tensor]]) -> Measured:
    joined = {name: torch.cat(parts) for name, parts in keep.items()}
    return Measured(
        z={name[2:]: value for name, value in joined.items() if name.startswith("z ")},
        values={name: value for name, value in joined.items() if name != "wanted" and not name.startswith("z ")},
        wanted=joined.get("wanted", torch.empty(0)),
    )
