"""Training Faceswap-GAN: reconstruction, a critic for each person, features of a recognizer, and a mask that must grow.

    y, m = own(given)       x_m = m y + (1 - m) given
    critic   D(λ x + (1 - λ) f, given) -> λ  with λ from Beta(.2, .2), f the masked x_m and the drawn y (Zhang et al.,
             ICLR 2018, with least squares)
    G        |y - x| with eyes counted more often, |∇y - ∇x|, D(f, given) -> 1, features of x_m, and of m its mean or a
             hinge below a least mean, and its total variation

From a fifth of the steps on features count, from .3, .4 and .5 on the least mean is .5, .2 and .4, as in
its notebook. A small recognizer's instance-normalized maps stand in for VGGFace's; it judges none of these faces.

    python train.py experiment=faceswap_gan
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anon.generators.subjects.contract import PEOPLE
from anon.generators.subjects.faceswap_gan import Critics
from anon.identity.encoder import Encoder
from anon.training.gradients import frozen, local_backward
from anon.training.subject_swap import Optimizer, SubjectTraining

#: From which share of the steps on the mask's mean shall be how much; before the first of them it costs what it covers.
HINGES = ((0.3, 0.5), (0.4, 0.2), (0.5, 0.4))
FEATURES_FROM = 0.2


class MaskedLoss(nn.Module):
    """Weights of Faceswap-GAN's terms, with its own as defaults.

    Args:
        pixel, eyes: of ``|y - x|``, and how much is added where the eyes are.
        edges: of first differences; ``eyes`` is added there as well.
        adversarial: of the critic.
        features: of each map of the recognizer.
        area, hinge: of the mask's mean, and of what it lacks of the least.
        variation: of the mask's total variation.
    """

    def __init__(
        self,
        pixel: float = 1.0,
        eyes: float = 30.0,
        edges: float = 0.1,
        adversarial: float = 0.1,
        features: Sequence[float] = (0.01, 0.1, 0.3, 0.1),
        area: float = 0.01,
        hinge: float = 0.1,
        variation: float = 0.1,
    ) -> None:
        super().__init__()
        self.pixel, self.eyes, self.edges, self.adversarial = pixel, eyes, edges, adversarial
        self.features, self.area, self.hinge, self.variation = tuple(features), area, hinge, variation

    def forward(self, picture: Tensor, mask: Tensor, target: Tensor, areas: Tensor) -> dict[str, Tensor]:
        """What needs no network: pixels and edges of (B, 3, S, S) in [-1, 1], and the mask's variation."""
        weight = 1.0 + self.eyes * areas[:, 1:2]
        found = {"pixel": self.pixel * (weight * (picture - target).abs()).mean()}
        apart = [(a - b).abs() for a, b in zip(differences(picture), differences(target), strict=True)]
        heavier = (weight[..., 1:, :], weight[..., :, 1:])
        found["edges"] = self.edges * torch.stack([(w * d).mean() for w, d in zip(heavier, apart, strict=True)]).sum()
        found["variation"] = self.variation * torch.stack([d.abs().mean() for d in differences(mask)]).sum()
        return found

    def masked(self, mask: Tensor, least: float | None) -> Tensor:
        """What the mask (B, 1, S, S) costs: its mean, or what its mean lacks of ``least``."""
        return self.area * mask.mean() if least is None else self.hinge * F.relu(least - mask.mean((1, 2, 3))).mean()


def differences(x: Tensor) -> tuple[Tensor, Tensor]:
    """First differences of (B, C, H, W) down and across."""
    return x[..., 1:, :] - x[..., :-1, :], x[..., :, 1:] - x[..., :, :-1]


def mixed_critic(logits: Tensor, share: Tensor) -> Tensor:
    """Mean of (D - λ)² of mixtures with the share λ (B,) of the real picture; λ = 1 is the loss of real pictures.

    >>> mixed_critic(torch.tensor([[2.0], [0.0]]), torch.tensor([1.0, 0.0])).item()
    0.5
    """
    return (logits - share.view(-1, *[1] * (logits.ndim - 1))).square().mean()


def normalized(maps: Tensor) -> Tensor:
    """Each channel of each picture (B, C, H, W) with mean 0 and deviation 1."""
    return F.instance_norm(maps.float())


class FaceswapGANTraining(SubjectTraining):
    """Adversarial training.

    Args:
        critics: one for each person.
        encoder: gives the features, behind its ``layers``.
        critic_optimizer: of parameters; a partial.
        options: of :class:`SubjectTraining`; ``loss`` is a :class:`MaskedLoss`.
    """

    loss: MaskedLoss

    def __init__(self, critics: Critics, encoder: Encoder, critic_optimizer: Optimizer, **options: Any) -> None:
        super().__init__(**options)
        self.critics, self.encoder, self.critic_optimizer = critics, encoder, critic_optimizer
        self.register_load_state_dict_post_hook(_encoder_is_not_missing)

    @property
    def progress(self) -> float:
        """Share of the steps that are done."""
        return self.step / self.steps

    @property
    def least(self) -> float | None:
        """What the mask's mean shall be at least; None: it costs what it covers."""
        reached = [value for begins, value in HINGES if self.progress >= begins]
        return reached[-1] if reached else None

    def learn(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        optimizer, critic_optimizer = cast("list[Any]", self.optimizers())
        found: dict[str, Tensor] = {}
        kept: list[tuple[int, Tensor, Tensor, list[Tensor]]] = []
        with local_backward(self.trainer):
            with frozen(self.critics):
                for person, given, wanted, areas in self.shown(batch):
                    picture, mask = (part.float() for part in self.generator.own(given, person))
                    fakes = (torch.lerp(given, picture, mask), picture)
                    terms = self.loss(picture, mask, wanted, areas)
                    terms["mask"] = self.loss.masked(mask, self.least)
                    told = torch.stack(
                        [(self.critics(fake, given, person).float() - 1.0).square().mean() for fake in fakes]
                    )
                    terms["adversarial"] = self.loss.adversarial * told.sum()
                    if self.progress >= FEATURES_FROM:
                        terms["features"] = self._features(fakes[0], wanted)
                    found |= self.of(person, terms)
                    kept.append((person, given, wanted, [fake.detach() for fake in fakes]))
                self.manual_backward(torch.stack(list(found.values())).sum())
            critic = {
                f"{PEOPLE[person]}_critic": self._critic(person, given, wanted, fakes)
                for person, given, wanted, fakes in kept
            }
            self.manual_backward(torch.stack(list(critic.values())).sum())
        self.take(optimizer, self.generator)
        self.take(critic_optimizer, self.critics)
        return {name: value.detach() for name, value in (found | critic).items()}

    def _features(self, masked: Tensor, wanted: Tensor) -> Tensor:
        layers = self.encoder.layers
        one = self.encoder.maps(masked, layers)
        with torch.no_grad():
            other = self.encoder.maps(wanted, layers)
        weights = self.loss.features
        apart = [w * F.mse_loss(normalized(a), normalized(b)) for w, a, b in zip(weights, one, other, strict=False)]
        return torch.stack(apart).sum()

    def _critic(self, person: int, given: Tensor, wanted: Tensor, fakes: Sequence[Tensor]) -> Tensor:
        draws = np.random.default_rng((self.seed % 2**32, self.step, self.global_rank, person))
        losses = []
        for fake in fakes:
            share = torch.from_numpy(draws.beta(0.2, 0.2, len(wanted))).to(wanted)
            mixture = torch.lerp(fake, wanted, share.view(-1, 1, 1, 1))
            losses.append(mixed_critic(self.critics(mixture, given, person).float(), share))
        return torch.stack(losses).sum()

    def configure_optimizers(self) -> Any:
        return [self.optimizer(self.generator.parameters()), self.critic_optimizer(self.critics.parameters())]

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """Without the recognizer."""
        state = super().state_dict(*args, **kwargs)
        return {name: value for name, value in state.items() if not name.startswith("encoder.")}


def _encoder_is_not_missing(module: nn.Module, keys: Any) -> None:
    keys.missing_keys[:] = [key for key in keys.missing_keys if not key.startswith("encoder.")]
