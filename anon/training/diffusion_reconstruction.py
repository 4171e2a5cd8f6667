"""Training the diffusion model that reconstructs: v beside the changed face, and who comes back.

    loss = mean |v(x_t, t | X_c) - (sqrt(a_t) n - sqrt(1 - a_t) X_t)|^2 + w a_t (1 - cos(I(x'), I(X_t)))

x' is the face that is read off x_t. The second term is the attack's identity loss (FIVA, ICCVW 2023, eq. 6), by how
much of the face there is at time t; the weight is our choice.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from anon.attacks.conditional_diffusion import ConditionalDiffusion
from anon.generators.diffusion import kept
from anon.identity.encoder import Encoder
from anon.training.diffusion import DiffusionTraining
from anon.weights.files import load_into


class DiffusionReconstructionTraining(DiffusionTraining):
    """Batches have ``image`` and ``changed``; ``averaged`` is what attacks.

    Args:
        diffusion: what is trained.
        encoder: I(.), the attacker's own, frozen; no part of the checkpoint.
        identity: w.
        start: weights of the denoiser to begin from, a file or ``shipped:diffusion``; None: random ones.
        options: ``steps`` and the others of :class:`DiffusionTraining`.
    """

    diffusion: ConditionalDiffusion  # type: ignore[assignment]
    encoder: Encoder

    def __init__(
        self,
        diffusion: ConditionalDiffusion,
        encoder: Encoder,
        identity: float = 1.0,
        start: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(diffusion, **options)  # type: ignore[arg-type]
        self.__dict__["encoder"] = encoder  # not a submodule, so neither trained nor saved
        self.identity, self.start = float(identity), start

    @property
    def averaged(self) -> ConditionalDiffusion:
        """What attacks; the rate falls to 0, so no average is kept."""
        return self.diffusion

    def on_fit_start(self) -> None:
        """Load ``start``, unless a checkpoint is resumed; Lightning moves submodules alone."""
        self.encoder.to(self.device)
        if self.start is not None and self.trainer.ckpt_path is None:
            load_into(self.diffusion.denoiser, self.start)

    def losses(self, batch: dict[str, Tensor], t: Tensor, noise: Tensor) -> dict[str, Tensor]:
        changed = batch["changed"].contiguous(memory_format=torch.channels_last)
        error, found = self.diffusion.losses(batch["image"], changed, t, noise)
        if not self.identity:
            return {"loss": error}
        with torch.no_grad():
            own = self.encoder(batch["image"]).z
        away = 1.0 - (self.encoder(found).z * own).sum(1)
        return {"loss": error, "identity": self.identity * kept(t) * away}

    @torch.no_grad()
    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Beside the losses, on people whom it does not learn from: cosine to the face before and after the attack."""
        super().validation_step(batch, batch_idx)
        image, changed = batch["image"], batch["changed"]
        own, before, after = self.encoder(torch.cat((image, changed, self.diffusion(changed)))).z.chunk(3)
        report = {"cos_changed": F.cosine_similarity(own, before), "cos_found": F.cosine_similarity(own, after)}
        means = {f"val/{name}": value.mean() for name, value in report.items()}
        self.log_dict(means, sync_dist=True, batch_size=len(image))
