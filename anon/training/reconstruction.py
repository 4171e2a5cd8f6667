"""Training the reconstruction attack (FIVA, ICCVW 2023, eqs. 5 and 6): R(X_c) shall be X_t again.

    L = |R(X_c) - X_t|_1 (eq. 5) + 1 - cos(I(X_t), I(R(X_c))) (eq. 6) + IFSR + adversarial

The steps, options and checkpoints are those of :class:`anon.training.target_oriented.TargetOriented`; in the objective
``raw`` is R(X_c) and ``distorted`` the target. I is the attacker's own recognizer, never the judge.

    python train.py experiment=reconstruction method=fiva
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from anon.errors import UserError
from anon.generators.contract import Redrawn
from anon.training.target_oriented import TargetOriented


class ReconstructionTraining(TargetOriented):
    """``generator`` is R, see :class:`anon.attacks.reconstruction.ReconstructionNet`; batches have ``changed``.

    Raises:
        UserError: an objective that speaks of sources, masks or blending, which an attack does not have.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        foreign = {"z_source", "same", "mask", "blended", "cycle"}
        foreign |= {f"{kind}_blended" for kind in ("z", "maps", "logits", "features")}
        odd = sorted(foreign & self.objective.wanted)
        if odd:
            raise UserError(f"a reconstruction has no '{odd[0]}'; use objective=reconstruction.")

    @torch.no_grad()
    def look(self, batch: Mapping[str, Tensor]) -> dict[str, Any]:
        """X_t, I(X_t) and its maps, and the changed face."""
        known = super().look(batch)
        return known | {"changed": batch["changed"].contiguous(memory_format=self.layout)}

    def redraw(self, known: dict[str, Any]) -> Redrawn:
        """R(X_c); nothing else of the anonymizer reaches the attack."""
        return Redrawn(self.generator(known["changed"]), None)

    @torch.no_grad()
    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """On people that R does not learn from: cosine to the target and L1, before and after the attack."""
        target, changed = batch["image"], batch["changed"]
        found = self.averaged(changed).clamp(-1, 1)
        z, z_changed, z_found = self.encoder(torch.cat((target, changed, found))).z.chunk(3)
        report = {
            "cos_changed": F.cosine_similarity(z, z_changed).mean(),
            "cos_found": F.cosine_similarity(z, z_found).mean(),
            "l1_changed": F.l1_loss(changed, target),
            "l1_found": F.l1_loss(found, target),
        }
        self.log_dict({f"val/{name}": value for name, value in report.items()}, sync_dist=True, batch_size=len(target))
