"""Training an attribute editor and its critic (STGAN, CVPR 2019; StarGAN, CVPR 2018).

wanted    the attributes of another face of the batch; the critic learns in every step, the editor in every n-th
back      edit(X, own, own) (STGAN), or edit(edit(X, own, wanted), wanted, own) (StarGAN, ``cycle``)

python train.py experiment=stgan
python train.py experiment=stargan
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anon.attributes.classifier import AttributeClassifier, soft_margin
from anon.errors import UserError
from anon.generators.editing.contract import Editor
from anon.generators.editing.critic import AttributeCritic
from anon.losses.adversarial import gradient_penalty, wasserstein_critic
from anon.losses.editing import EditingLoss
from anon.training.adversarial.ema import EMA
from anon.training.attribute_classifier import Truth
from anon.training.augment import step_rng
from anon.training.gradients import average_gradients, frozen, local_backward, mean_over_processes
from anon.training.grids import SampleGrids


class EditingTraining(pl.LightningModule):
    """Two Adams, the editor's average to evaluate; draws and rates are functions of the step.

    Args:
        generator: the editor.
        discriminator: its critic.
        loss: weights.
        cycle: what is compared with the face: there and back (StarGAN), or nothing changed (STGAN).
        critic_steps: steps of the critic for each of the editor.
        ahead: first steps, in which the critic learns to read attributes and nothing else: until it can, it teaches the
            editor none, and these steps are an eighth of the others' work (not in the papers).
        steps: of the training; over its second half the rates fall linearly to 0.
        lr, d_lr, betas: of Adam.
        ema: decay of the average.
        reader: an :class:`anon.attributes.classifier.AttributeClassifier` that takes no part in training and says on
            background people whether they have what was wanted; None: nobody says.
        seed: of what is wanted.

    Raises:
        UserError: a reader of other attributes.
    """

    def __init__(
        self,
        generator: Editor,
        discriminator: AttributeCritic,
        loss: EditingLoss,
        steps: int,
        cycle: bool = False,
        critic_steps: int = 5,
        ahead: int = 0,
        lr: float = 2e-4,
        d_lr: float | None = None,
        betas: tuple[float, float] = (0.5, 0.999),
        ema: float = 0.999,
        reader: AttributeClassifier | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.generator, self.discriminator, self.loss, self.cycle = generator, discriminator, loss, cycle
        if reader is not None and reader.attributes != generator.attributes:
            raise UserError(
                f"model.reader reads {', '.join(reader.attributes)}, and the editor changes "
                f"{', '.join(generator.attributes)}; train it on these (experiment=attribute_classifier), or take null."
            )
        self.ema, self.steps, self.critic_steps, self.ahead = EMA(generator, ema), steps, critic_steps, ahead
        self.lr, self.d_lr, self.betas = lr, lr if d_lr is None else d_lr, (float(betas[0]), float(betas[1]))
        self.seed = seed
        self._reader, self._truth = (reader,), dict[str, Truth]()  # in a tuple: it is no part of the checkpoint
        self._held: list[tuple[Tensor, ...]] = []
        for network in (self.generator, self.discriminator, self.ema):
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def reader(self) -> AttributeClassifier | None:
        """Who says on background people whether an edit is seen."""
        return self._reader[0]

    @property
    def averaged(self) -> Editor:
        """The editor with averaged weights, in eval mode."""
        return self.ema.model  # type: ignore[return-value]

    @property
    def step(self) -> int:
        """Index of the batch, over all epochs and resumed runs."""
        return self.trainer.fit_loop.total_batch_idx

    def truth(self, split: str, batch: Mapping[str, Tensor]) -> Tensor:
        """What the faces of a batch have, (B, c)."""
        if split not in self._truth:
            data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
            self._truth[split] = Truth(data.faces(split), self.generator.attributes)
        return self._truth[split].of(batch)

    def wanted(self, own: Tensor, rng: torch.Generator) -> Tensor:
        """The attributes (B, c) of others of the batch."""
        return own[torch.randperm(len(own), generator=rng, device=rng.device).to(own.device)]

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        target = batch["image"].contiguous(memory_format=torch.channels_last)
        own, rng = self.truth("train", batch), step_rng(self.device, self.seed, self.step, self.global_rank)
        wanted = self.wanted(own, rng)
        known = ~(own.isnan() | wanted.isnan())  # of what is not known, nothing is asked
        told, asked = own.nan_to_num(), torch.where(known, wanted, own.nan_to_num())
        share = torch.rand(len(target), generator=rng, device=self.device)
        with local_backward(self.trainer):
            figures = self._critic_step(target, told, asked, own, share)
            if self.step >= self.ahead and (self.step + 1) % self.critic_steps == 0:
                figures |= self._editor_step(target, told, asked, torch.where(known, wanted, torch.nan))
        for name, value in mean_over_processes(figures).items():
            self.log(f"train/{name}", value, prog_bar=name in ("reconstruction", "attribute"))

    def _critic_step(self, target: Tensor, own: Tensor, asked: Tensor, truth: Tensor, share: Tensor) -> dict[str, Any]:
        real, logits = self.discriminator.judge(target)
        read = soft_margin(logits, truth)
        if self.step < self.ahead:
            self._descend(self.loss.read * read, 1)
            return {"read": read.detach()}
        with torch.no_grad():
            edited = self.generator(target, own, asked)
        critic = wasserstein_critic(real, self.discriminator(edited))
        with torch.autocast(target.device.type, enabled=False):
            penalty = gradient_penalty(self.discriminator, target.float(), edited.float(), share)
        self._descend(critic + self.loss.penalty * penalty + self.loss.read * read, 1)
        return {"critic": critic.detach(), "penalty": penalty.detach(), "read": read.detach()}

    def _editor_step(self, target: Tensor, own: Tensor, asked: Tensor, wanted: Tensor) -> dict[str, Any]:
        with frozen(self.discriminator):
            edited = self.generator(target, own, asked)
            back = self.generator(edited, asked, own) if self.cycle else self.generator(target, own, own)
            total, terms = self.loss(*self.discriminator.judge(edited), wanted, back, target)
            self._descend(total, 0)
        self.ema.update(self.generator, (self.step - self.ahead) // self.critic_steps)
        return {name: term.detach() for name, term in terms.items()}

    def _descend(self, loss: Tensor, which: int) -> None:
        network = (self.generator, self.discriminator)[which]
        optimizer: Any = self.optimizers()[which]  # type: ignore[index]
        for group in optimizer.param_groups:
            group["lr"] = (self.lr, self.d_lr)[which] * min(1.0, 2.0 * (1.0 - self.step / self.steps))
        network.zero_grad()
        self.manual_backward(loss)
        average_gradients(network)
        optimizer.step()

    def configure_optimizers(self) -> Any:
        pairs: list[tuple[nn.Module, float]] = [(self.generator, self.lr), (self.discriminator, self.d_lr)]
        return [torch.optim.Adam(network.parameters(), rate, self.betas) for network, rate in pairs]

    @torch.no_grad()
    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """On background people: the error of nothing changed, and whether the reader sees what was wanted."""
        target, own = batch["image"], self.truth("background", batch).nan_to_num()
        wanted = self.wanted(own, step_rng(self.device, self.seed, batch_idx, 9))
        same = self.averaged(target, own, own)
        figures = {"psnr": -10.0 * (F.mse_loss(same, target) / 4).log10()}
        if self.reader is not None:
            read = self.reader.to(self.device).read(self.averaged(target, own, wanted))[1]
            changed = wanted != own
            for name, chosen in (("changed", changed), ("kept", ~changed)):
                figures[name] = (read == wanted)[chosen].float().mean()
        self.log_dict({f"val/{name}": value for name, value in figures.items()}, sync_dist=True, batch_size=len(target))


class EditingGrids(SampleGrids):
    """A row a face: as it is, with nothing changed, and with one attribute after the other turned over.

    Args:
        turned: names of the attributes; the others stay as the reader, else the critic, reads them.
        folder, every, faces, images: see :class:`anon.training.grids.SampleGrids`.
    """

    def __init__(self, turned: list[str], folder: str, every: int = 500, faces: int = 8, images: bool = False) -> None:
        super().__init__(folder, every, faces, images)
        self.turned = turned

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """See that the editor changes what is turned over, before it learns.

        Raises:
            UserError: it does not.
        """
        known: Any = pl_module.generator
        odd = [name for name in self.turned if name not in known.attributes]
        if odd:
            raise UserError(
                f"callbacks.grids.turned names {odd[0]}, which this editor does not change; it changes "
                f"{', '.join(known.attributes)}."
            )
        super().setup(trainer, pl_module, stage)

    def columns(self, pl_module: pl.LightningModule, target: Tensor) -> list[Tensor]:
        module: Any = pl_module
        reader = module.reader
        logits = module.discriminator.judge(target)[1] if reader is None else reader.to(target.device)(target)
        own, columns = (logits > 0).float(), [target]
        columns.append(module.averaged(target, own, own))
        for name in self.turned:
            wanted = own.clone()
            place = module.generator.attributes.index(name)
            wanted[:, place] = 1 - own[:, place]
            columns.append(module.averaged(target, own, wanted))
        return columns
