"""Training a generator to be undone with a key: the cycle of the reversible anonymizers, with right and wrong keys.

    X_c = G(X, R z)             shall be the wanted identity R z            z  = E(X)
    X_r = G(X_c, R^-1 z')       shall be X again                            z' = E(X_c)
    X_w = G(X_c, R_w^-1 z')     shall be whom the wrong key names, naturally

(Book *Face De-identification*, Springer 2024, eqs. 6.1 to 6.7 and 8.1 to 8.3: what a password must do. Its own training
has no such loss, and leaves recovery to a generator that reconstructs; docs/keys.md has
what that gives. Password-conditioned losses: Gu, Luo, Ryoo & Lee, ECCV 2020.)

Keys are drawn anew for every face and step, angles between ``angles``; half of a batch is recovered with the right key
and half with a wrong one. R is :mod:`anon.identity.rotation`'s "blocks", in the space of the training people.

    python train.py experiment=reversible
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from anon.errors import UserError
from anon.identity.policies import average
from anon.identity.rotation import orthonormal, space_of, turned
from anon.training.augment import step_rng
from anon.training.target_oriented import TargetOriented

PEOPLE = 512  # whose identities the space is of, at most
PICTURES = 4  # of each


class ReversibleTraining(TargetOriented):
    """``generator`` becomes a given identity and the own one again; checkpoints hold the space, too.

    Args:
        rank: directions that keys turn.
        angles: degrees, the range that is drawn from.
        noise: largest standard deviation of noise on X_c before it is recovered, in units of the [-1, 1] range: a
            file is not what was drawn.

    Raises:
        UserError: an objective, a pairing or recognizers that a cycle with keys does not have.
    """

    space: Tensor

    def __init__(
        self,
        *args: Any,
        rank: int = 32,
        angles: tuple[float, float] = (60.0, 120.0),
        noise: float = 0.02,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        foreign = {"z_source", "z_fled", "same", "same_index", "cycle"} | {
            f"{kind}_raw" for kind in ("z", "maps", "logits")
        }
        odd = sorted(foreign & self.objective.wanted)
        if odd or self.pairing is not None or len(self.others):
            raise UserError(
                f"a training with keys has no {odd[0] if odd else 'pairing or others'}; use objective=reversible."
            )
        if not 0.0 < angles[0] <= angles[1] < 180.0:
            raise UserError(f"model.angles are degrees between 0 and 180, the smaller first, not {list(angles)}.")
        self.rank, self.angles, self.noise = rank, (float(angles[0]), float(angles[1])), float(noise)
        self.register_buffer("space", torch.zeros(self.encoder.dim, rank, dtype=torch.float64))

    @torch.no_grad()
    def on_fit_start(self) -> None:
        """The space of the training people, once: a resumed run has it in its checkpoint."""
        super().on_fit_start()
        if bool(self.space.any()):
            return
        faces = self.trainer.datamodule.faces("train")  # type: ignore[attr-defined]
        people = faces.labels.unique()[:PEOPLE]
        rows = torch.cat([(faces.labels == who).nonzero()[:PICTURES, 0] for who in people])
        parts = [torch.stack([faces[int(row)]["image"] for row in part]) for part in rows.split(128)]
        z = torch.cat([self.encoder(part.to(self.device)).z for part in parts])
        self.space.copy_(space_of(average(z, faces.labels[rows].to(z.device))[0], self.rank))

    @torch.no_grad()
    def look(self, batch: Mapping[str, Tensor]) -> dict[str, Any]:
        """Of the target; the keys of this step, and whom the right one makes of it."""
        known = super().look(batch)
        count = len(known["target"])
        rng = step_rng("cpu", self.seed, self.step, self.global_rank, 5)
        right, wrong = (self._frames(count, rng) for _ in range(2))
        low, high = self.angles
        angle = (low + (high - low) * torch.rand((count, 1), generator=rng)).deg2rad().to(self.device)
        known |= {"right": torch.arange(count, device=self.device) < (count + 1) // 2, "angle": angle}
        known["z_wanted"] = turned(known["z_own"], right, angle)
        known["back"] = torch.where(known["right"][:, None, None], right, wrong)
        return known

    def draw(self, known: dict[str, Any]) -> None:
        """X_c, and X_r or X_w, with what encoder and discriminator make of both."""
        distorted, right = known["distorted"], known["right"]
        redrawn = self.generator(distorted, self.steers * known["z_wanted"])
        known |= {"raw": redrawn.image, "mask": redrawn.mask, "blended": redrawn.blend(distorted)}
        known |= self._embed(["blended"], known["blended"])
        z_back = turned(known["z_blended"], known["back"], -known["angle"])
        drawn = torch.randn(distorted.shape, generator=self._rng(6), device=self.device)
        filed = (
            known["blended"]
            + self.noise * torch.rand(len(drawn), 1, 1, 1, device=self.device, generator=self._rng(7)) * drawn
        ).clamp(-1, 1)
        known["returned"] = self.generator(filed, self.steers * z_back).blend(filed)
        known["z_back"] = torch.where(right[:, None], known["z_own"], z_back.detach())
        known |= self._embed(["returned"], known["returned"])
        names = self.objective.drawn("logits", "features")
        if names:
            known |= self._judge(names, known)

    def _frames(self, count: int, rng: torch.Generator) -> Tensor:
        """Keys of so many faces as frames (count, D, rank)."""
        noise = torch.randn(count, self.rank, self.rank, generator=rng, dtype=torch.float64)
        return (self.space.cpu() @ orthonormal(noise)).float().to(self.device)

    @torch.no_grad()
    def undone(self, images: Tensor, rng: torch.Generator) -> list[Tensor]:
        """Images (B, 3, H, W); redrawn at 90 degrees by the averaged generator; recovered; with another key."""
        right, wrong = (self._frames(len(images), rng) for _ in range(2))
        quarter = math.pi / 2
        changed = self._redrawn(images, turned(self.encoder(images).z, right, quarter))
        z_changed = self.encoder(changed).z
        back = [self._redrawn(changed, turned(z_changed, key, -quarter)) for key in (right, wrong)]
        return [images, changed, *back]

    def _redrawn(self, images: Tensor, wanted: Tensor) -> Tensor:
        return self(images, self.steers * wanted).blend(images)

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Cosine and L1 to the face as it was: redrawn, recovered with the right key, and with a wrong one."""
        images, *others = self.undone(batch["image"], torch.Generator().manual_seed(batch_idx))
        z, *seen = self.encoder(torch.cat((images, *others))).z.chunk(4)
        report = {}
        for name, other, z_other in zip(("changed", "right", "wrong"), others, seen, strict=True):
            report[f"cos_{name}"] = F.cosine_similarity(z_other, z).mean()
            report[f"l1_{name}"] = F.l1_loss(other, images)
        self.log_dict({f"val/{name}": value for name, value in report.items()}, sync_dist=True, batch_size=len(images))
