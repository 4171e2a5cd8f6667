"""Training a target-oriented generator adversarially: FIVA, FaceDancer, SimSwap, FaceShifter.

    X_a, m = G(X~, z),  X_â = m·X_a + (1 - m)·X~
    G descends the objective's terms, D the objective's critic loss and R1 on X~

z is the target's own embedding I(X_t) (FIVA, ICCVW 2023, section 3) or, with a ``pairing``, that of another face of the
batch, the source (FaceDancer, WACV 2023; SimSwap, ACM MM 2020; FaceShifter, CVPR 2020). A generator that flees its
condition is given -z of a source, whom it so becomes: what policies ask of it, and what a short training on own
identities alone does not teach (our addition; the paper has no pairs).

The paper distorts the generator's input and says that ArcFace's is not. Our reading: the generator's input, the blend,
L1, IFSR's target and the discriminator's reals are all the distorted crop X~; the condition and I(X_t) in eq. 4 are of
X_t as it came. (Between a rotated output and an unrotated target, IFSR and L1 would teach the network to un-rotate.)

    python train.py experiment=fiva
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anon.errors import UserError
from anon.generators.contract import Redrawn
from anon.identity.encoder import Encoder
from anon.training.adversarial.compilation import check_gradients
from anon.training.adversarial.critic import critic_losses, judge_real
from anon.training.adversarial.ema import EMA
from anon.training.adversarial.steering import steering
from anon.training.augment import Colours, Distortion, View, step_rng
from anon.training.gradients import average_gradients, frozen, gradient_norm, local_backward, mean_over_processes
from anon.training.objective import Objective, shares
from anon.training.pairing import AlternatingPairs, MixedPairs
from anon.training.schedule import decayed, ramps
from anon.weights.files import load_into

_RECOGNIZERS = ("encoder.", "others.")
AVERAGED = "ema.model."  # where a checkpoint has the averaged generator


class TargetOriented(pl.LightningModule):
    """Two Adams over one generator pass a step; ``averaged`` is the generator to evaluate.

    Checkpoints hold the generator, its average, the discriminator, both optimizers and schedules; not the recognizers,
    which are frozen and built from their own weights.

    Args:
        generator: what is trained, see :class:`anon.generators.contract.GeneratorLike`.
        discriminator: images (B, 3, H, W) -> logits (B,).
        encoder: I(.), frozen; conditions the generator and gives identity and IFSR losses.
        others: further recognizers; in every step one of all, drawn at random, gives the losses (Liu et al., ICLR 2017:
            what fools several transfers better), while ``encoder`` alone conditions.
        objective: the generator's terms and the discriminator's R1.
        colours: of every face, before all else; None: as they are.
        distortion: of the generator's input; None: the paper's.
        view: through which the encoder sees what is drawn; None: as it is (the papers).
        pairing: whose identity each target gets, see :mod:`anon.training.pairing`; None: its own (FIVA, as published).
        lr, d_lr, betas: of Adam for generator and discriminator; ``d_lr=None``: the same rate.
        decay, decay_every: the rates are multiplied by ``decay`` after every so many steps (FIVA).
        start: first weights of the generator, read when training begins: a file, a checkpoint of such a training (of
            its average) or ``shipped:<name>``; None: random ones.
        staircase: False: they fall smoothly, to the same values at those steps (FaceDancer's code).
        warmup: steps in which the rates rise linearly.
        cooldown: last steps of ``steps`` in which they fall linearly to 0.
        ema: decay of the average.
        accumulate: batches whose gradients make one optimizer step; ``steps`` and R1's period count batches.
        clip: largest norm of a network's gradient; None: any.
        channels_last: memory layout of the convolutions; faster on most machines.
        compile: torch.compile for generator and discriminator; the first step checks its gradients.
        seed: of colours, distortion and view; with step and rank it gives the draws, so a resumed run repeats them.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        encoder: Encoder,
        objective: Objective,
        distortion: Distortion | None = None,
        view: View | None = None,
        pairing: MixedPairs | AlternatingPairs | None = None,
        lr: float = 1e-4,
        d_lr: float | None = None,
        betas: tuple[float, float] = (0.5, 0.99),
        decay: float = 0.97,
        decay_every: int = 100_000,
        warmup: int = 0,
        cooldown: int = 0,
        steps: int | None = None,
        ema: float = 0.999,
        accumulate: int = 1,
        clip: float | None = None,
        channels_last: bool = True,
        compile: bool = False,
        seed: int = 0,
        colours: Colours | None = None,
        staircase: bool = True,
        others: Sequence[Encoder] = (),
        start: str | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.generator, self.discriminator, self.encoder, self.objective = generator, discriminator, encoder, objective
        self.others = nn.ModuleList(others)
        self.distortion, self.view, self.pairing = distortion or Distortion(), view, pairing
        self.colours, self.staircase, self.start = colours, staircase, start
        paired = sorted(objective.wanted & {"z_source", "same", "same_index"})
        if pairing is None and paired:
            raise UserError(
                f"an objective with {paired[-1]} needs model.pairing, which says whose identity a face gets."
            )
        self.ema = EMA(generator, ema)
        self.norms: dict[str, Tensor] = {}  # of the last gradients, where they were taken
        self.lr, self.d_lr, self.betas = lr, lr if d_lr is None else d_lr, (float(betas[0]), float(betas[1]))
        self.decay, self.decay_every = decay, decay_every
        self.warmup, self.cooldown, self.steps = warmup, cooldown, steps
        self.accumulate, self.clip, self.compile_networks, self.seed = accumulate, clip, compile, seed
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        for network in (self.generator, self.discriminator, self.ema):
            network.to(memory_format=self.layout)  # type: ignore[call-overload]
        if cooldown and steps is None:
            raise UserError("model.cooldown needs model.steps, the length of the training.")
        self._is_compiled = self._compiled_is_checked = False
        self._of_same: dict[str, Tensor] = {}
        self._collected: dict[str, Tensor] = {}
        self._clock = (0, 0.0)
        self.register_load_state_dict_post_hook(_recognizers_are_not_missing)

    @property
    def averaged(self) -> nn.Module:
        """The generator with averaged weights, in eval mode."""
        return self.ema.model

    @property
    def steers(self) -> int:
        """The generator's; with ``forward`` it makes this module a generator itself."""
        return self.averaged.steers  # type: ignore[return-value]

    @property
    def step(self) -> int:
        """Index of the batch, over all epochs and resumed runs."""
        return self.trainer.fit_loop.total_batch_idx

    def forward(self, target: Tensor, z: Tensor) -> Redrawn:
        """The averaged generator."""
        return self.averaged(target, z)

    def setup(self, stage: str) -> None:
        if self.trainer.precision in ("16-mixed", "16-true"):
            raise UserError("two optimizers and float16 do not mix here; use trainer.precision=bf16-mixed.")
        if self.compile_networks and not self._is_compiled:  # again for every fit of one module
            for network in (self.generator, self.discriminator):
                network.compile(dynamic=False)  # two batch sizes at most; code for any size is slower
            self._is_compiled = True

    def on_fit_start(self) -> None:
        """Load ``start``, unless a checkpoint is resumed; in ``setup`` that is not known yet."""
        if self.start is not None and self.trainer.ckpt_path is None:
            for network in (self.generator, self.averaged):
                load_into(network, self.start, AVERAGED)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        known = self.look(batch)
        with local_backward(self.trainer):
            if self.compile_networks and not self._compiled_is_checked:
                networks = {"generator": self.generator, "discriminator": self.discriminator}
                check_gradients(networks, lambda: self._backward(dict(known)))
                self._compiled_is_checked = True
            losses = self._backward(known)
        self._remember_same(known, losses)
        if (self.step + 1) % self.accumulate == 0:
            losses |= self._optimize()
        if self._logs_now:
            self._log(known, losses)

    @torch.no_grad()
    def look(self, batch: Mapping[str, Tensor]) -> dict[str, Any]:
        """X_t, X~, I(X_t), the maps of X~ and the pairs, without gradients."""
        images, maps = batch["image"], self.objective.wants("maps")
        coloured = images if self.colours is None else self.colours(images, self._rng(3))
        target = coloured.contiguous(memory_format=self.layout)
        distorted = self.distortion(target, self._rng(0)).contiguous(memory_format=self.layout)
        known: dict[str, Any] = {"target": target, "distorted": distorted}
        seen = self._view(distorted, 1) if maps else target
        judging = self.loss_encoder
        layers = judging.layers if maps else ()
        known["z_target"], known["maps_target"] = judging(target, layers if seen is target else ())
        known["z_own"] = known["z_target"] if judging is self.encoder else self.encoder(target).z
        if seen is not target:  # of the distorted crop nothing but the maps is needed
            known["maps_target"] = judging.maps(seen, layers)
        known["z_condition"], known["z_fled"] = known["z_own"], known["z_target"]
        if self.pairing is not None:
            pairs = self._pairs(self.pairing, len(images))
            index, known["same"], known["same_index"] = (drawn.to(self.device, non_blocking=True) for drawn in pairs)
            known["z_source"] = known["z_target"][index]
            known["z_condition"] = known["z_own"][index]
            if self.steers < 0:  # who flees -z_s becomes z_s, as every policy will ask
                sign = torch.where(known["same"], 1.0, -1.0)[:, None]  # (B, 1)
                known["z_condition"], known["z_fled"] = sign * known["z_condition"], sign * known["z_source"]
        return known

    @property
    def loss_encoder(self) -> Encoder:
        """The recognizer of this step's losses, the same one in all processes."""
        if not len(self.others):
            return self.encoder
        rng = step_rng("cpu", self.seed, self.step, 4)  # no rank: all processes draw alike
        drawn = int(torch.randint(1 + len(self.others), (), generator=rng))
        return self.others[drawn - 1] if drawn else self.encoder  # type: ignore[return-value]

    def draw(self, known: dict[str, Any]) -> None:
        """Add what the generator draws of X~, and what encoder and discriminator make of it, where terms ask."""
        wanted, distorted = self.objective.wanted, known["distorted"]
        redrawn = self.redraw(known)
        known |= {"raw": redrawn.image, "blended": redrawn.blend(distorted), "mask": redrawn.mask}
        if "attributes_raw" in wanted:
            known["attributes_raw"] = self.generator.attributes(redrawn.image)  # type: ignore[operator]
        if "cycle" in wanted:
            known["cycle"] = self.generator(redrawn.image, known["z_own"]).image
        whole = self.objective.drawn("z")
        shallow = [name for name in self.objective.drawn("maps") if name not in whole]
        judged = self.objective.drawn("logits", "features")
        for names, eyes in ((whole, self._embed), (shallow, self._map)):
            if names:
                known |= eyes(names, torch.cat([known[name] for name in names]))
        if judged:
            known |= self._judge(judged, known)

    def redraw(self, known: dict[str, Any]) -> Redrawn:
        """The generator's pass; its attribute maps of X~ are noted where terms ask for them."""
        if not self.objective.wants("attributes"):
            return self.generator(known["distorted"], known["z_condition"])
        known["attributes_target"] = self.generator.attributes(known["distorted"])  # type: ignore[operator]
        return self.generator.fuse(known["attributes_target"], known["z_condition"])  # type: ignore[operator]

    def _embed(self, names: list[str], images: Tensor) -> dict[str, Any]:
        encoder = self.loss_encoder
        layers = encoder.layers if self.objective.wants("maps") else ()
        z, maps = encoder(self._view(images, len(names)), layers)
        found: dict[str, Any] = {f"z_{name}": part for name, part in zip(names, z.chunk(len(names)), strict=True)}
        return found | shares("maps", names, maps)

    def _map(self, names: list[str], images: Tensor) -> dict[str, Any]:
        encoder = self.loss_encoder
        return shares("maps", names, encoder.maps(self._view(images, len(names)), encoder.layers))

    def critic(self, known: Mapping[str, Any]) -> Any:
        """The discriminator as it sees pictures (N·B, 3, H, W) of this batch; one kind of it sees more than them."""
        return self.discriminator

    def _judge(self, names: list[str], known: Mapping[str, Any]) -> dict[str, Any]:
        critic, images, maps = self.critic(known), torch.cat([known[name] for name in names]), list[Tensor]()
        if self.objective.wants("features"):
            logits, maps = critic.features(images)
        else:
            logits = critic(images)
        found: dict[str, Any] = {f"logits_{n}": part for n, part in zip(names, logits.chunk(len(names)), strict=True)}
        return found | shares("features", names, maps)

    def _backward(self, known: dict[str, Any]) -> dict[str, Tensor]:
        if "features_target" in self.objective.wanted:  # one pass over X~ for the generator's term and the critic
            known |= judge_real(self.critic(known), self.objective, known["distorted"], self._penalized)
        return self._generator_backward(known) | self._discriminator_backward(known)

    def _generator_backward(self, known: dict[str, Any]) -> dict[str, Tensor]:
        with frozen(self.discriminator):
            self.draw(known)
            losses = self.objective(known)
            self.manual_backward(self.objective.total(losses, self.step) / self.accumulate)
        return {name: loss.detach() for name, loss in losses.items()}

    def _discriminator_backward(self, known: Mapping[str, Any]) -> dict[str, Tensor]:
        names = self.objective.drawn("logits")
        if not names:
            return {}
        fake = torch.cat([known[name].detach() for name in names])
        found = critic_losses(self.critic(known), self.objective, known, fake, self._penalized, self._rng(8))
        due = [found[name] for name in ("r1", "penalty") if name in found]
        loss = found["discriminator"] + self.objective.r1_every * sum(due)
        self.manual_backward(loss / self.accumulate)
        return {name: value.detach() for name, value in found.items()}

    @property
    def _penalized(self) -> bool:
        """Whether R1, or the penalty in its place, is due in this step."""
        has = self.objective.r1_gamma > 0 or self.objective.penalty is not None
        return has and self.step // self.accumulate % self.objective.r1_every == 0

    def _optimize(self) -> dict[str, Tensor]:
        norms: dict[str, Tensor] = {}
        networks = [("generator", self.generator), ("discriminator", self.discriminator)]
        for (name, network), optimizer, schedule in zip(networks, self.optimizers(), self.lr_schedulers(), strict=True):  # type: ignore[arg-type]
            if name == "generator" or self.objective.drawn("logits"):
                average_gradients(network)
                if self.clip is not None:
                    norms[f"{name}_grad"] = torch.nn.utils.clip_grad_norm_(network.parameters(), self.clip)
                elif self._logs_now:
                    norms[f"{name}_grad"] = gradient_norm(network)
                optimizer.step()
                optimizer.zero_grad()
                schedule.step()
        self.ema.update(self.generator, self.step // self.accumulate)
        self.norms = norms
        return norms

    def configure_optimizers(self) -> Any:
        fused = self.device.type in ("cpu", "cuda")
        optimizers = [
            torch.optim.Adam(network.parameters(), lr=lr, betas=self.betas, fused=fused)
            for network, lr in ((self.generator, self.lr), (self.discriminator, self.d_lr))
        ]
        return optimizers, [torch.optim.lr_scheduler.LambdaLR(optimizer, self.rate) for optimizer in optimizers]

    def rate(self, update: int) -> float:
        """Share of the learning rate at an optimizer step."""
        step = update * self.accumulate
        rate = decayed(step, self.decay, self.decay_every, self.staircase)
        return rate * ramps(step, self.warmup, self.cooldown, self.steps)

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """How far the averaged generator gets from the target's identity, with either sign of the condition."""
        report = steering(self.averaged, self.encoder, batch["image"])
        self.log_dict(
            {f"val/{name}": value for name, value in report.items()}, sync_dist=True, batch_size=len(batch["image"])
        )

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """Without the recognizers."""
        state = super().state_dict(*args, **kwargs)
        return {name: value for name, value in state.items() if not name.startswith(_RECOGNIZERS)}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Between two optimizer steps (``accumulate`` > 1) the gradients collected so far are saved too."""
        for network in (self.generator, self.discriminator):
            average_gradients(network)
        gradients = {name: p.grad for name, p in self.named_parameters() if p.grad is not None}
        if gradients:
            checkpoint["gradients"] = gradients

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._collected = checkpoint.get("gradients", {})

    def on_train_start(self) -> None:
        for name, gradient in self._collected.items():
            self.get_parameter(name).grad = gradient.to(self.device, memory_format=torch.preserve_format)
        self._collected = {}

    def _view(self, images: Tensor, copies: int) -> Tensor:
        return images if self.view is None else self.view(images, self._rng(1), copies)

    def _pairs(self, pairing: MixedPairs | AlternatingPairs, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """``index``, ``same`` and ``same_index``, drawn on the host, which so knows how many pairs are same."""
        index, same = pairing(count, self.step, step_rng("cpu", self.seed, self.step, self.global_rank, 2))
        return index, same, same.nonzero().flatten()

    def _rng(self, stream: int) -> torch.Generator:
        return step_rng(self.device, self.seed, self.step, self.global_rank, stream)

    @property
    def _logs_now(self) -> bool:
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        return every > 0 and (self.step + 1) % every == 0

    def _log(self, known: Mapping[str, Any], losses: Mapping[str, Tensor]) -> None:
        """Means over all processes, in one message, and only in the steps that are logged."""
        figures = {**losses, **self._of_same}
        with torch.no_grad():
            for name in self.objective.drawn("z"):
                z = known[f"z_{name}"].detach()
                figures[f"cos_{name}"] = F.cosine_similarity(known["z_target"], z).mean()
                if self.pairing is not None:
                    other = ~known["same"]
                    cos = (F.cosine_similarity(known["z_source"], z) * other).sum() / other.sum().clamp(min=1)
                    figures[f"swap_{name}"] = cos
            if known["mask"] is not None:
                figures["mask_area"] = known["mask"].detach().mean()
        for name, value in mean_over_processes(figures).items():
            self.log(f"train/{name}", value, prog_bar=name == "cos_blended" or name.startswith("swap_"))
        now, (then, began) = time.perf_counter(), self._clock
        if began:
            images = (self.step - then) * len(known["target"]) * self.trainer.world_size
            self.log("train/images_per_s", images / (now - began), prog_bar=True)
        self._clock = (self.step, now)

    def _remember_same(self, known: Mapping[str, Any], losses: Mapping[str, Tensor]) -> None:
        """Losses of same pairs are 0 in a step that has none, so what is logged is of the last step that had some."""
        for name, term in self.objective.terms.items():
            if "same" in term.of:
                before = self._of_same.get(name, losses[name])
                self._of_same[name] = torch.where(known["same"].any(), losses[name], before)


def _recognizers_are_not_missing(module: nn.Module, keys: Any) -> None:
    keys.missing_keys[:] = [key for key in keys.missing_keys if not key.startswith(_RECOGNIZERS)]
