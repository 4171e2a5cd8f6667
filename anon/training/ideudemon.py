"""Training IDeudemon: first its reader, from what pictures were rendered of; then its restorer, from triplets.

    reader     BCE(face, where it is seen) + 4 MSE(scene, what it was drawn as)      the first ``ahead`` steps
    restorer   L_rec = λ_l1 |X' - X| + λ_per |φ(X') - φ(X)|   eq. 7.5; φ: maps of the attribute regressor, not of VGG-19
               L_adv = λ_adv softplus(-D(X'))                 eq. 7.6
               L_id  = λ_id (1 - cos(r(X'), r(X_I)))          eq. 7.8: X' is whom X_I shows, the fake person

L_comp (eq. 7.7), three local discriminators of eyes and mouth, is left out: at 64 pixels an eye has about ten by four.
L_rec wants the picture back and with it the own face, L_id the drawn one: without it the paper's restorer takes back
half of the distance (table 7.2). The code of each picture gets noise of a scale of its own, drawn once, so step I runs
once for a picture.

    python train.py experiment=ideudemon
"""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anon.errors import UserError
from anon.faces.synthetic.parts import face_of
from anon.generators.ideudemon import SCENE, Hybrid, IDeudemon, noise_of
from anon.identity.encoder import Encoder
from anon.losses.adversarial import discriminator_loss, generator_loss
from anon.training.augment import step_rng
from anon.training.gradients import average_gradients, frozen, local_backward, mean_over_processes
from anon.training.grids import SampleGrids
from anon.training.schedule import warm_cosine


class IDeudemonTraining(pl.LightningModule):
    """Adam for the reader and the restorer, and for the discriminator; the rates fall along cosines.

    Args:
        network: what is trained.
        discriminator: images -> logits.
        encoder: r; a recognizer that judges nobody later.
        steps: of the training.
        ahead: the first of them, in which the reader learns alone.
        pixel, perceptual, adversarial, identity: the four weights λ.
        loudest: largest scale of the noise, drawn evenly from 0 on.
        flip_share: of the triplets that are mirrored.
        lr, d_lr, betas: of Adam.
        seed: of scales, noise and mirrors.
    """

    def __init__(
        self,
        network: IDeudemon,
        discriminator: nn.Module,
        encoder: Encoder,
        steps: int,
        ahead: int = 300,
        pixel: float = 1.0,
        perceptual: float = 0.5,
        adversarial: float = 0.1,
        identity: float = 5.0,
        loudest: float = 0.4,
        flip_share: float = 0.5,
        lr: float = 2e-3,
        d_lr: float = 4e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        if not ahead < steps:
            raise UserError(f"model.ahead={ahead} leaves none of steps={steps} for the restorer; make it less.")
        self.network, self.discriminator, self.encoder = network, discriminator, encoder
        self.steps, self.ahead, self.seed = steps, ahead, seed
        self.loudest, self.flip_share = float(loudest), float(flip_share)
        self.weights = {"l1": pixel, "perceptual": perceptual, "adversarial": adversarial, "identity": identity}
        self.lr, self.d_lr, self.betas = lr, d_lr, (float(betas[0]), float(betas[1]))
        self._hybrids: dict[tuple[int, int], Hybrid] = {}  # made anew by a resumed run, which finds the same
        for part in (self.network, self.discriminator):
            part.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def step(self) -> int:
        """Index of the batch, over all epochs and resumed runs."""
        return self.trainer.fit_loop.total_batch_idx

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        with local_backward(self.trainer):
            figures = self.read(batch) if self.step < self.ahead else self.restored(batch)
        for name, value in mean_over_processes(figures).items():
            self.log(f"train/{name}", value, prog_bar=name in ("face", "l1", "identity"))

    def read(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """A step of the reader.

        Raises:
            UserError: faces whose parameters nobody knows.
        """
        faces = self.trainer.datamodule.faces("train")  # type: ignore[attr-defined]
        if not hasattr(faces, "drawn_from"):
            raise UserError("IDeudemon learns what rendered faces were rendered from; use data=synthetic.")
        person, mood = faces.drawn_from(batch["identity"].cpu(), batch["frame"].cpu())
        images = batch["image"].contiguous(memory_format=torch.channels_last)
        seen = face_of(person, mood, images.shape[-1]).to(images)
        scene = torch.stack([mood[name] for name in SCENE], 1).to(images)
        logits, read = self.network.reader(images)
        losses = {"face": F.binary_cross_entropy_with_logits(logits, seen), "scene": F.mse_loss(read, scene)}
        self._descend(losses["face"] + 4 * losses["scene"], 0, warm_cosine(self.step, self.ahead, 0.1))
        return {name: value.detach() for name, value in losses.items()}

    def restored(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """A step of the discriminator and one of the restorer."""
        rate = warm_cosine(self.step - self.ahead, self.steps - self.ahead, 0.05)
        target, hybrid = self.triplets(batch)
        restored = self.network.restore(hybrid)
        critic = discriminator_loss(self.discriminator(target), self.discriminator(restored.detach()))
        self._descend(critic, 1, rate)
        with frozen(self.discriminator):
            terms = self.terms(target, hybrid, restored)
            self._descend(sum(self.weights[name] * term for name, term in terms.items()), 0, rate)  # type: ignore[arg-type]
        return {name: term.detach() for name, term in terms.items()} | {"critic": critic.detach()}

    def terms(self, target: Tensor, hybrid: Hybrid, restored: Tensor) -> dict[str, Tensor]:
        """The losses of the restorer, without their weights; those of weight 0 are not computed."""
        found = {"l1": lambda: F.l1_loss(restored, target)}
        found["perceptual"] = lambda: self._perceptual(restored, target)
        found["adversarial"] = lambda: generator_loss(self.discriminator(restored))

        def identity() -> Tensor:
            with torch.no_grad():
                fake = self.encoder(hybrid.image).z
            return 1 - F.cosine_similarity(self.encoder(restored).z, fake).mean()

        found["identity"] = identity
        return {name: term() for name, term in found.items() if self.weights[name] > 0}

    def _perceptual(self, restored: Tensor, target: Tensor) -> Tensor:
        """Mean absolute difference of the maps that the attribute regressor's first two stages see."""
        trunk, apart = self.network.attributes.trunk, []
        x = trunk.prelu(trunk.bn1(trunk.conv1(torch.cat((restored, target)))))
        for name in trunk.stages[:2]:
            x = trunk.get_submodule(name)(x)
            drawn, wanted = x.chunk(2)
            apart.append((drawn - wanted.detach()).abs().mean())
        return torch.stack(apart).mean()

    @torch.no_grad()
    def triplets(self, batch: dict[str, Tensor]) -> tuple[Tensor, Hybrid]:
        """X, and what step I made of it, both mirrored or not."""
        images = batch["image"]
        keys = list(zip(batch["identity"].tolist(), batch["frame"].tolist(), strict=True))
        new = [place for place, key in enumerate(keys) if key not in self._hybrids]
        if new:
            rngs = [step_rng("cpu", self.seed, 1, *keys[place]) for place in new]
            scales = [torch.rand(1, generator=rng) * self.loudest for rng in rngs]
            noise = torch.cat([noise_of(scale, rng) for scale, rng in zip(scales, rngs, strict=True)])
            made = self.network.eval().hybrid(images[new], noise.to(images))
            self.network.train()
            for row, place in enumerate(new):
                self._hybrids[keys[place]] = Hybrid(*(part[row].cpu() for part in made))
        parts = [torch.stack([self._hybrids[key][kind] for key in keys]).to(images) for kind in range(3)]
        rng = step_rng("cpu", self.seed, 2, self.step, self.global_rank)
        turned = (torch.rand(len(images), generator=rng) < self.flip_share).to(images.device)[:, None, None, None]
        images, *parts = (torch.where(turned, part.flip(-1), part) for part in (images, *parts))
        return images.contiguous(memory_format=torch.channels_last), Hybrid(*parts)

    def _descend(self, loss: Tensor, which: int, rate: float) -> None:
        network = (self.network, self.discriminator)[which]
        optimizer: Any = self.optimizers()[which]  # type: ignore[index]
        for group in optimizer.param_groups:
            group["lr"] = (self.lr, self.d_lr)[which] * rate
        optimizer.zero_grad()
        self.manual_backward(loss)
        average_gradients(network)
        optimizer.step()

    def configure_optimizers(self) -> Any:
        learned = [part for part in self.network.parameters() if part.requires_grad]
        return [
            torch.optim.Adam(learned, self.lr, self.betas),
            torch.optim.Adam(self.discriminator.parameters(), self.d_lr, self.betas),
        ]

    @torch.no_grad()
    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """On background people at a scale of .25: L1, and r's cosine to the own face and to the drawn one."""
        target = batch["image"]
        rng = step_rng("cpu", self.seed, 3, batch_idx)
        hybrid = self.network.hybrid(target, noise_of(torch.full((len(target),), 0.25), rng).to(target))
        restored = self.network.restore(hybrid).clamp(-1, 1)
        own, drawn, z = (self.encoder(images).z for images in (target, hybrid.image, restored))
        figures = {"l1": F.l1_loss(restored, target), "cos_own": F.cosine_similarity(z, own).mean()}
        figures["cos_drawn"] = F.cosine_similarity(z, drawn).mean()
        figures["cos_hybrid"] = F.cosine_similarity(drawn, own).mean()
        self.log_dict({f"val/{name}": value for name, value in figures.items()}, sync_dist=True, batch_size=len(target))


class IDeudemonGrids(SampleGrids):
    """A row a face: as it is, X_p, X_I with its gaps, X' at a scale of .25, and X' at 0 and at .4."""

    def columns(self, pl_module: pl.LightningModule, target: Tensor) -> list[Tensor]:
        network: Any = pl_module.network
        was = network.training
        network.eval()
        made = []
        for scale in (0.25, 0.0, 0.4):
            rng = torch.Generator().manual_seed(0)
            hybrid = network.hybrid(target, noise_of(torch.full((len(target),), scale), rng).to(target))
            made.append((hybrid, network.restore(hybrid).clamp(-1, 1)))
        network.train(was)
        gaps = torch.where(made[0][0].valid > 0, made[0][0].image, 1.0)
        return [target, made[0][0].protected, gaps, *(restored for _, restored in made)]
