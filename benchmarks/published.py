"""One training step of each method as its paper's code has it, in eager PyTorch: what ours is measured against.

FaceDancer (WACV 2023, ``train/train.py``), FIVA (ICCVW 2023, sections 3.1 to 3.4), SimSwap (ACM MM 2020, ``train.py``)
and its reconstruction attack (eqs. 5 and 6): float32, contiguous tensors, a pass of the recognizer for every loss, the
discriminator learning along (uselessly) in the generator's step, real and drawn pictures apart, R1 at every step, plain
Adam. Weights, batches and random draws are those of a :class:`TargetOriented`, so the losses must be equal. With
``forms`` the blocks are computed as their code does too: convolution then pooling, upsampling then sum.

Where the papers' code computes something else than ours is asked for, ours counts: one batch serves both networks, the
discriminator learns from the pictures of the generator's step (SimSwap draws new ones from another batch), R1 is in the
place of SimSwap's gradient penalty, the recognizer's maps in the place of VGG-16.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anon.faces.alignment import Framing, reframe
from anon.generators.blocks import ResidualDown
from anon.generators.facedancer import DecoderBlock, EncoderBlock
from anon.generators.instance_norm import InstanceNorm
from anon.generators.simswap import Style, ToPicture
from anon.training.augment import step_rng
from anon.training.target_oriented import TargetOriented

Losses = dict[str, Tensor]
#: The generator's losses, the drawn pictures that the discriminator learns from, and the real ones.
Drawn = tuple[Losses, Tensor, Tensor]


class PublishedStep(ABC):
    """Two networks and their optimizers; ``step`` is one update of both.

    Args:
        module: gives the networks, of which it takes copies, the losses' weights, the rates and the random draws.
        forms: the blocks as published (:func:`as_published`); False: as ours are.
    """

    def __init__(self, module: TargetOriented, forms: bool = True) -> None:
        self.ours = module  # its random draws: distortion and pairs
        self.device = next(module.generator.parameters()).device
        self.generator: nn.Module = contiguous(copy.deepcopy(module.generator)).train()
        self.discriminator: nn.Module = contiguous(copy.deepcopy(module.discriminator)).train()
        if forms:
            as_published(self.generator), as_published(self.discriminator)
        self.recognizer = contiguous(copy.deepcopy(module.encoder.backbone))
        self.terms, self.gamma = module.objective.terms, module.objective.r1_gamma
        plain = {"betas": module.betas, "foreach": False, "fused": False}
        self.g_optimizer = torch.optim.Adam(self.generator.parameters(), lr=module.lr, **plain)  # type: ignore[arg-type]
        self.d_optimizer = torch.optim.Adam(self.discriminator.parameters(), lr=module.d_lr, **plain)  # type: ignore[arg-type]
        self.grabbed: dict[str, Tensor] = {}
        for name in module.encoder.layers:
            self.recognizer.get_submodule(name).register_forward_hook(self._grab(name))

    def step(self, batch: dict[str, Tensor], number: int) -> Losses:
        """Every loss of step ``number`` (B images), before its update."""
        if self.ours.colours is not None:
            batch = batch | {"image": self.ours.colours(batch["image"], self.rng(number, 3))}
        losses, fake, real = self.draw(batch, number)
        self.g_optimizer.zero_grad()
        self.d_optimizer.zero_grad()
        torch.stack([self.terms[name].weight * loss for name, loss in losses.items()]).sum().backward()
        self.g_optimizer.step()

        self.d_optimizer.zero_grad()
        real = real.detach().requires_grad_()
        d_real, d_fake = self.discriminator(real), self.discriminator(fake.detach())
        d_loss = self.critic(d_real, d_fake)
        (slope,) = torch.autograd.grad(d_real.sum(), real, create_graph=True)
        r1 = self.gamma / 2 * slope.square().sum((1, 2, 3)).mean()
        (d_loss + r1).backward()
        self.d_optimizer.step()
        return {name: loss.detach() for name, loss in {**losses, "discriminator": d_loss, "r1": r1}.items()}

    @abstractmethod
    def draw(self, batch: dict[str, Tensor], number: int) -> Drawn:
        """The generator's losses of step ``number``, its pictures, and the real ones beside them."""

    def critic(self, d_real: Tensor, d_fake: Tensor) -> Tensor:
        return F.softplus(-d_real).mean() + F.softplus(d_fake).mean()

    def identity(self, images: Tensor) -> Tensor:
        """I(x) (B, D)."""
        encoder = self.ours.encoder
        images = reframe(images, Framing.of(encoder.size))
        return F.normalize(self.recognizer((images - encoder.mean) / encoder.std))

    def features(self, images: Tensor) -> list[Tensor]:
        """The recognizer's maps, from a pass of their own."""
        self.identity(images)
        return [self.grabbed[name] for name in self.ours.encoder.layers]

    def ifsr(self, target: Tensor, changed: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = self.features(target)
        pairs = zip(wanted, self.features(changed), strict=True)
        distances = [(1 - F.cosine_similarity(a.flatten(1), b.flatten(1))).mean() for a, b in pairs]
        loss = self.terms["ifsr"].loss
        margins = [0.0] * len(distances) if loss.margins is None else loss.margins
        return torch.stack([F.relu(d - loss.scale * m) for d, m in zip(distances, margins, strict=True)]).sum()

    def rng(self, number: int, stream: int) -> torch.Generator:
        return step_rng(self.device, self.ours.seed, number, 0, stream)

    def pairs(self, target: Tensor, number: int) -> tuple[Tensor, Tensor]:
        """Source pictures (B, 3, H, W), and which targets are their own source."""
        assert self.ours.pairing is not None
        index, same = self.ours.pairing(len(target), number, step_rng("cpu", self.ours.seed, number, 0, 2))
        return target[index.to(self.device)], same.to(self.device).float()

    def _grab(self, name: str) -> Any:
        def hook(module: nn.Module, args: tuple[object, ...], output: Tensor) -> None:
            self.grabbed[name] = output

        return hook


class FIVAStep(PublishedStep):
    """Eq. 4, IFSR, L1 on pixels and mask, adversarial."""

    def draw(self, batch: dict[str, Tensor], number: int) -> Drawn:
        target = batch["image"]
        distorted = self.ours.distortion(target, self.rng(number, 0))
        with torch.no_grad():
            z = self.identity(target)
        raw, mask = self.generator(distorted, z)
        blended = mask * raw + (1 - mask) * distorted
        cos_raw = F.cosine_similarity(z, self.identity(raw))
        cos_blended = F.cosine_similarity(z, self.identity(blended))
        losses = {
            "identity": (2 + cos_raw + cos_blended).mean(),
            "ifsr": self.ifsr(distorted, raw),
            "pixel": (raw - distorted).abs().mean(),
            "mask": mask.abs().mean(),
            "adversarial": F.softplus(-self.discriminator(blended)).mean(),
        }
        return losses, blended, distorted


class FaceDancerStep(PublishedStep):
    """Identity, IFSR, reconstruction and perceptual loss of same pairs, cycle, adversarial."""

    def draw(self, batch: dict[str, Tensor], number: int) -> Drawn:
        target = batch["image"]
        source, same = self.pairs(target, number)
        with torch.no_grad():
            z_source, z_target = self.identity(source), self.identity(target)
        changed, _ = self.generator(target, z_source)
        cycle, _ = self.generator(changed, z_target)
        losses = {
            "identity": (1 - F.cosine_similarity(self.identity(changed), z_source)).mean(),
            "ifsr": self.ifsr(target, changed),
            "pixel": self.of_same((changed - target).abs().mean((1, 2, 3)), same),
            "perceptual": self.perceptual(target, changed, same),
            "cycle": (cycle - target).abs().mean(),
            "adversarial": F.softplus(-self.discriminator(changed)).mean(),
        }
        return losses, changed, target

    def perceptual(self, target: Tensor, changed: Tensor, same: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = self.features(target)
        pairs = zip(wanted, self.features(changed), strict=True)
        return self.of_same(torch.stack([(a - b).abs().mean((1, 2, 3)) for a, b in pairs]).mean(0), same)

    def of_same(self, each: Tensor, same: Tensor) -> Tensor:
        return (each * same).sum() / same.sum().clamp(min=1)


class SimSwapStep(FaceDancerStep):
    """Identity, weak feature matching, reconstruction in the steps of same pairs, hinge."""

    def draw(self, batch: dict[str, Tensor], number: int) -> Drawn:
        target = batch["image"]
        source, same = self.pairs(target, number)
        with torch.no_grad():
            z_source = self.identity(source)
        changed, _ = self.generator(target, z_source)
        logits, drawn = self.discriminator.features(changed)  # type: ignore[operator]
        _, real = self.discriminator.features(target)  # type: ignore[operator]  # with its gradient, as in the code
        last = self.terms["feature"].loss.last
        pairs = zip(real[-last:], drawn[-last:], strict=True)
        losses = {
            "identity": (1 - F.cosine_similarity(self.identity(changed), z_source)).mean(),
            "feature": torch.stack([(a - b).abs().mean() for a, b in pairs]).mean(),
            "pixel": self.of_same((changed - target).abs().mean((1, 2, 3)), same),
            "adversarial": -logits.mean(),
        }
        return losses, changed, target

    def critic(self, d_real: Tensor, d_fake: Tensor) -> Tensor:
        return F.relu(1 - d_real).mean() + F.relu(1 + d_fake).mean()


class ReconstructionStep(PublishedStep):
    """L1 (eq. 5), identity (eq. 6), IFSR, adversarial, from pairs of target and changed face."""

    def draw(self, batch: dict[str, Tensor], number: int) -> Drawn:
        target = batch["image"]
        with torch.no_grad():
            z = self.identity(target)
        found = self.generator(batch["changed"])
        losses = {
            "pixel": (found - target).abs().mean(),
            "identity": (1 - F.cosine_similarity(self.identity(found), z)).mean(),
            "ifsr": self.ifsr(target, found),
            "adversarial": F.softplus(-self.discriminator(found)).mean(),
        }
        return losses, found, target


#: By the experiment whose configuration gives the networks.
PUBLISHED: dict[str, type[PublishedStep]] = {
    "facedancer": FaceDancerStep,
    "fiva": FIVAStep,
    "simswap": SimSwapStep,
    "reconstruction": ReconstructionStep,
}


class PublishedDown(ResidualDown):
    """The discriminator's block as FaceDancer's code has it: both ways are convolved, then pooled."""

    def forward(self, x: Tensor) -> Tensor:
        y = F.leaky_relu(self.norm1(x), 0.2)
        y = F.avg_pool2d(F.conv2d(y, self.conv1.weight, self.conv1.bias, padding=1), 2)
        y = self.conv2(F.leaky_relu(self.norm2(y), 0.2))
        return y + F.avg_pool2d(self.shortcut(x), 2)


class PublishedEncoderBlock(EncoderBlock):
    """Both ways are convolved, then pooled."""

    def forward(self, x: Tensor) -> Tensor:
        y, shortcut = self.conv(F.leaky_relu(self.norm(x), 0.2)), self.shortcut(x)
        return F.avg_pool2d(y, 2) + F.avg_pool2d(shortcut, 2) if self.down else y + shortcut


class PublishedDecoderBlock(DecoderBlock):
    """Both ways are upsampled, then summed."""

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        y = self.norm(x, self.scale(w), self.shift(w))
        ways = self.conv(F.leaky_relu(y, 0.2)), self.shortcut(x)
        if not self.up:
            return ways[0] + ways[1]
        large = [F.interpolate(way, scale_factor=2, mode="bilinear", align_corners=False) for way in ways]
        return large[0] + large[1]


class PublishedInstanceNorm(InstanceNorm):
    """PyTorch's own, and the style apart."""

    def forward(self, x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
        x = F.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)
        return x if scale is None or shift is None else scale[:, :, None, None] * x + shift[:, :, None, None]


class PublishedStyle(Style):
    """PyTorch's own instance norm, and the style apart."""

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        scale, shift = self.linear(z)[:, :, None, None].chunk(2, 1)
        return F.instance_norm(x, eps=1e-8) * (scale + 1) + shift


class PublishedToPicture(ToPicture):
    """One convolution."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.Conv2d.forward(self, x)


def as_published(network: nn.Module) -> None:
    """Give the blocks of FaceDancer, of SimSwap and of their discriminators, in place, their published operations."""
    published = (
        *(PublishedDown, PublishedEncoderBlock, PublishedDecoderBlock),
        *(PublishedInstanceNorm, PublishedStyle, PublishedToPicture),
    )
    forms = {form.__base__: form for form in published}
    for module in network.modules():
        module.__class__ = forms.get(type(module), type(module))  # type: ignore[call-overload]


def contiguous(network: nn.Module) -> Any:
    return network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
