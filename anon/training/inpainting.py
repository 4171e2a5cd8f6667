"""Training a generator that inpaints: adversarially alone, on faces of which it sees what is around the hole.

    seen = see(X)        X_c = fill(seen, z)        z drawn anew for every face
    G descends -D(X_c, seen) (DeepPrivacy) or softplus(-D(X_c, seen)) (DeepPrivacy2), and no loss of pixels or identity

The steps, options and checkpoints are those of :class:`anon.training.target_oriented.TargetOriented`; in the objective
``raw`` is X_c. The encoder takes no part in a step; it says on background people how near to themselves they are drawn.

    python train.py experiment=deepprivacy
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from anon.errors import UserError
from anon.generators.inpainting.ciagan import CIAGAN, CIAGANCritics
from anon.generators.inpainting.contract import Inpainter
from anon.losses.siamese import siamese
from anon.training.target_oriented import TargetOriented


class InpaintingTraining(TargetOriented):
    """``generator`` is an :class:`anon.generators.inpainting.contract.Inpainter`, ``discriminator`` sees what it sees.

    Raises:
        UserError: an objective of more than what was drawn and what the discriminator says of it, or pairs.
    """

    #: Of what a term may be.
    names = frozenset({"raw", "distorted", "logits_raw"})

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        odd = sorted(self.objective.wanted - self.names)
        if odd or self.pairing is not None or len(self.others):
            raise UserError(
                f"a training that inpaints has no {odd[0] if odd else 'pairing or others'}: nobody is in it; "
                "use objective=deepprivacy or objective=deepprivacy2."
            )

    @torch.no_grad()
    def look(self, batch: Mapping[str, Tensor]) -> dict[str, Any]:
        """The faces, coloured and distorted, what is left of them, and their latents."""
        images = batch["image"]
        coloured = images if self.colours is None else self.colours(images, self._rng(3))
        target = coloured.contiguous(memory_format=self.layout)
        distorted = self.distortion(target, self._rng(0)).contiguous(memory_format=self.layout)
        seen = cast(Inpainter, self.generator).see(distorted)
        z = self.latents(len(images), self._rng(5))
        return {"target": target, "distorted": distorted, "z_condition": z, "seen": seen, "hole": seen.hole}

    def latents(self, count: int, rng: torch.Generator) -> Tensor:
        """(count, D) as policies draw them (:class:`anon.identity.latent.RandomIdentity`)."""
        drawn = torch.randn(count, cast(Inpainter, self.averaged).z_dim, generator=rng, device=rng.device)
        return F.normalize(drawn).to(self.device)

    def critic(self, known: Mapping[str, Any]) -> Callable[[Tensor], Tensor]:
        """The discriminator, told what the generator knows."""
        seen = known["seen"] if "seen" in known else cast(Inpainter, self.generator).see(known["distorted"])
        return functools.partial(self.discriminator, seen=seen)

    @torch.no_grad()
    def drawn(self, images: Tensor, count: int) -> list[Tensor]:
        """``count`` people drawn into images (B, 3, H, W) by the averaged generator, the same ones at every call."""
        rng = torch.Generator().manual_seed(0)
        return [self(images, self.latents(len(images), rng)).image for _ in range(count)]

    @torch.no_grad()
    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Cosine of background people to themselves redrawn, and how far two drawn people are apart in the hole."""
        images = batch["image"]
        one, other = self.drawn(images, 2)
        z, z_one = self.encoder(torch.cat((images, one))).z.chunk(2)
        hole = cast(Inpainter, self.averaged).see(images).hole
        apart = (one - other).abs().mean(1, keepdim=True)
        report = {"cos_drawn": F.cosine_similarity(z, z_one).mean(), "diversity": apart[hole.expand_as(apart)].mean()}
        self.log_dict({f"val/{name}": value for name, value in report.items()}, sync_dist=True, batch_size=len(images))


class CIAGANTraining(InpaintingTraining):
    """CIAGAN's: each face shall become another of the batch, by the identity network that learns from pairs beside it.

        critic            least squares, on what is drawn and on real faces
        identity network  ½ d² of two pictures of one person, ½ relu(3 - d)² of two people's; real faces alone
        G                 the critic, and ½ d² of what is drawn to a picture of whom the code means; no loss of pixels

    The code is the number of the other face's person (``identity``), so the training people are as many as the
    generator's codes. Half of the faces meet another of their own person where the batch has one. In a step all three
    networks learn once (the paper's code: one, three times the generator, one).

    Raises:
        UserError: see :class:`InpaintingTraining`; and more people than codes, when the training begins.
    """

    names = InpaintingTraining.names | {"z_raw", "z_wanted"}

    def on_fit_start(self) -> None:
        """Each training person has a code."""
        super().on_fit_start()
        people = len(self.trainer.datamodule.faces("train").names)  # type: ignore[attr-defined]
        codes = cast(CIAGAN, self.generator).identities
        if people > codes:
            raise UserError(
                f"the training split has {people} people and generator.identities={codes}, as many codes; raise it, or "
                "take fewer people."
            )

    @torch.no_grad()
    def look(self, batch: Mapping[str, Tensor]) -> dict[str, Any]:
        """As before; and whom each face shall become: ``partner`` (B,), the place of a face of that person."""
        known, people, generator = super().look(batch), batch["identity"], cast(CIAGAN, self.generator)
        partner, same = partners(people, self._rng(6))
        z = cast(CIAGANCritics, self.discriminator).embed(known["distorted"])
        return known | {
            "z_condition": generator.codes[people[partner]],
            "partner": partner,
            "same": same,
            "z_target": z,
            "z_wanted": z[partner],
        }

    def _embed(self, names: list[str], images: Tensor) -> dict[str, Any]:
        z = cast(CIAGANCritics, self.discriminator).embed(images)
        return {f"z_{name}": part for name, part in zip(names, z.chunk(len(names)), strict=True)}

    def _discriminator_backward(self, known: Mapping[str, Any]) -> dict[str, Tensor]:
        found = super()._discriminator_backward(known)
        z = cast(CIAGANCritics, self.discriminator).embed(known["distorted"])
        loss = siamese(z, z[known["partner"]], known["same"])
        self.manual_backward(loss / self.accumulate)
        return found | {"siamese": loss.detach()}


def partners(people: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """For each face another of the batch: (B,) int64, and whether it is the same person's, (B,) bool.

    Half of the faces that have another of their own person get one of these, all others anybody but themselves.
    """
    count = len(people)
    weight = torch.rand(count, count, generator=rng, device=people.device)
    weight.fill_diagonal_(-1.0)
    own = people[:, None] == people[None]
    half = torch.rand(count, generator=rng, device=people.device) < 0.5
    partner = (weight + (own & half[:, None]) * (weight >= 0)).argmax(1)
    return partner, people[partner] == people
