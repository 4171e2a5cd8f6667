"""How well diffusion models read the noise off faces: the figures of their model cards.

anon ship <run folder of experiment=diffusion or experiment=made_simple> <name>
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from anon.evaluation.embeddings import batches
from anon.faces.contract import FaceSet
from anon.generators.diffusion import Diffusion
from anon.generators.made_simple.network import MadeSimple
from anon.training.augment import step_rng
from anon.training.diffusion import LEVELS
from anon.training.made_simple import level_losses


def diffusion_losses(model: Diffusion, faces: FaceSet, batch_size: int = 128) -> dict[str, Tensor]:
    """Mean squared error of v of every picture (N,) at some times; 1 is about what a network says that says nothing."""
    found: dict[str, list[Tensor]] = {}
    for number, batch in enumerate(batches(faces, torch.arange(len(faces)), batch_size, "measuring")):
        noise = torch.randn(batch["image"].shape, generator=step_rng("cpu", 0, number))
        for level in LEVELS:
            with torch.no_grad():
                losses = model.loss(batch["image"], torch.full((len(noise),), level), noise)
            found.setdefault(f"loss at t={level:g}", []).append(losses)
    return {key: torch.cat(parts) for key, parts in found.items()}


def triple_losses(model: MadeSimple, faces: FaceSet, count: int = 384, batch_size: int = 64) -> dict[str, Tensor]:
    """The same of ``count`` triples (N,), spread over the set, with their source and with nobody for one."""
    rows = torch.linspace(0, len(faces) - 1, min(count, len(faces))).long()
    found: dict[str, list[Tensor]] = {}
    for number, batch in enumerate(batches(faces, rows, batch_size, "measuring")):
        shown: Mapping[str, Tensor] = dict(batch)  # type: ignore[arg-type]
        for (level, known), losses in level_losses(model, shown, step_rng("cpu", 0, number)).items():
            found.setdefault(f"loss at t={level:g}{'' if known else ' without a source'}", []).append(losses)
    return {key: torch.cat(parts) for key, parts in found.items()}
