"""Face Anonymization Made Simple (Kung et al., WACV 2025), small: who from a source, all else from a driving picture.

    states s, token e = source network(x, e)         states r = driving network(y)          each once, at t = 0
    v = denoiser(x_t, y, t; its attention also sees s and r, its time also e)               e, s of zeros: nobody, e = 0
    loss = mean |v - (sqrt(a_t) n - sqrt(1 - a_t) X)|^2,  X: the source's person in the scene of y

The degree d takes the source away, beyond nobody where d > 1, and guidance g (Ho & Salimans, 2021) enlarges what it
says:

    e_d = (1 - d) e        s_d = (1 - d) s + d s_0        v = (1 - g) v(s_0, 0) + g v(s_d, e_d)

as the authors' public code has it; the paper calls d the degree of anonymization. Ours: a token is the mean of the
source network's middle and joins the time, where theirs is a CLIP embedding that cross-attention reads; pixels take the
place of a latent; and the denoiser begins at the driving picture, for a network this small does not learn in an hour to
copy through attention. Were the truth y and Gaussian noise of spread s, the best v would be v_0; the network F says
what is missing, in the unit that is left (as Karras et al., NeurIPS 2022, table 1, begin at the noisy picture):

    v = v_0 + s / sqrt(q) F(x_t - sqrt(a) y, y)           q = a s^2 + 1 - a
    v_0 = sqrt(1 - a) (sqrt(a) (1 - s^2) / q (x_t - sqrt(a) y) - y)

No recognizer takes part anywhere.

    python train.py experiment=made_simple
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from anon.errors import UserError
from anon.faces.contract import check_images
from anon.generators.diffusion import ddim, ddpm, kept, wanted_v, with_noise
from anon.generators.made_simple.blocks import AttentiveUNet, States
from anon.weights.files import load_into

AT_ONCE = 16  # faces that are drawn at once: the maps of more do not fit into a processor's caches


class Identity(NamedTuple):
    """What the denoiser is told of a source: ``states`` (B, C, h, w) of each block, and ``token`` (B, D)."""

    states: States
    token: Tensor

    def toward(self, nobody: Identity, degree: float) -> Identity:
        """What is left of it at a degree: all at 0, nobody (whose batch may be 1) at 1, beyond nobody above."""
        pairs = zip(self.states, nobody.states, strict=True)
        return Identity(
            [(1 - degree) * own + degree * none for own, none in pairs],
            (1 - degree) * self.token + degree * nobody.token,
        )

    def repeated(self, count: int) -> Identity:
        """One of a batch of 1 for each of ``count``."""
        return Identity([state.expand(count, -1, -1, -1) for state in self.states], self.token.expand(count, -1))


class MadeSimple(nn.Module):
    """The three networks.

    Args:
        widths, block: of each, see :class:`anon.generators.made_simple.blocks.AttentiveUNet`.
        spread: s, root mean square of the difference of two people's pictures in one scene.
        weights: a file of this module, or ``shipped:<name>``; None keeps the random start, for training.
    """

    def __init__(
        self, widths: Sequence[int] = (32, 48, 64), block: int = 2, spread: float = 0.39, weights: str | None = None
    ) -> None:
        super().__init__()
        self.spread = float(spread)
        self.source, self.driving = AttentiveUNet(widths, block), AttentiveUNet(widths, block)
        self.denoiser = AttentiveUNet(widths, block, pictures=2, draws=True)
        self.token = nn.Linear(widths[-1], 2 * widths[-1])
        if weights is not None:
            load_into(self, weights)
            self.eval().requires_grad_(False)

    def identity(self, source: Tensor, known: Tensor | None = None) -> Identity:
        """What sources (B, 3, H, W) say. Where ``known`` (B,) is 0, not 1, picture and token are zeros: nobody."""
        shown = source if known is None else source * known.view(-1, 1, 1, 1)
        pooled, states = self.source(shown)
        token = self.token(pooled)
        return Identity(states, token if known is None else token * known[:, None])

    def nobody(self, images: Tensor) -> Identity:
        """The source network's answer to zeros, a batch of 1 of the size of ``images``."""
        return self.identity(torch.zeros_like(images[:1]), images.new_zeros(1))

    def scene(self, driving: Tensor) -> States:
        """The states of driving pictures (B, 3, H, W)."""
        return self.driving(driving)[1]

    def v(self, noisy: Tensor, t: Tensor, who: Identity, driving: Tensor, scene: States) -> Tensor:
        """v of noisy pictures (B, 3, H, W) at times t (B,), the form of the pictures."""
        left = kept(t).view(-1, 1, 1, 1)
        power = left * self.spread**2 + 1 - left  # q
        moved = noisy - left.sqrt() * driving
        said = self.denoiser(torch.cat([moved, driving], 1), [who.states, scene], t, who.token)[0]
        begun = (1 - left).sqrt() * (left.sqrt() * (1 - self.spread**2) / power * moved - driving)
        return begun + self.spread / power.sqrt() * said.float()

    def loss(self, truth: Tensor, source: Tensor, driving: Tensor, known: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """Mean squared error of v of each picture, (B,).

        Args:
            truth: (B, 3, H, W), the source's person in the driving scene.
            source, driving: the same form.
            known: (B,), 1 or, where the source is nobody, 0.
            t, noise: (B,) times in [0, 1], and standard normal noise of the form of the pictures.
        """
        noisy = with_noise(truth, noise, t)
        found = self.v(noisy, t, self.identity(source, known), driving, self.scene(driving)).float()
        return (found - wanted_v(truth, noise, t)).square().flatten(1).mean(1)

    @torch.no_grad()
    def draw(
        self,
        driving: Tensor,
        source: Tensor,
        noise: Tensor,
        degree: float = 0.0,
        guidance: float = 4.0,
        steps: int = 10,
        ancestral: torch.Generator | None = None,
    ) -> Tensor:
        """Sources (B, 3, H, W) in driving scenes, the same form, in [-1, 1].

        Args:
            noise: of the same form, where it begins.
            degree, guidance: d and g.
            steps: of DDIM; of DDPM where ``ancestral``, from which that draws, is given.

        Raises:
            ValueError: images that break the contract.
            UserError: sides that the networks cannot halve so often.
        """
        least = self.denoiser.least
        if any(side % least for side in check_images(driving).shape[-2:]):
            raise UserError(
                f"This model takes pictures whose sides are multiples of {least} pixels, not {driving.shape[-1]} x "
                f"{driving.shape[-2]}."
            )
        check_images(source, "source")
        parts = zip(driving.split(AT_ONCE), source.split(AT_ONCE), noise.split(AT_ONCE), strict=True)
        nobody = self.nobody(driving)
        drawn = [self._drawn(*part, nobody, degree, guidance, steps, ancestral) for part in parts]
        return torch.cat(drawn) if drawn else driving

    def _drawn(
        self,
        driving: Tensor,
        source: Tensor,
        noise: Tensor,
        nobody: Identity,
        degree: float,
        guidance: float,
        steps: int,
        ancestral: torch.Generator | None,
    ) -> Tensor:
        none = nobody.repeated(len(driving))
        own = self.identity(source).toward(none, degree)
        both = Identity(
            [torch.cat(pair) for pair in zip(none.states, own.states, strict=True)], torch.cat([none.token, own.token])
        )
        seen, scene = driving.repeat(2, 1, 1, 1), [state.repeat(2, 1, 1, 1) for state in self.scene(driving)]

        def v_of(x: Tensor, t: Tensor) -> Tensor:
            without, told = self.v(x.repeat(2, 1, 1, 1), t.repeat(2), both, seen, scene).chunk(2)
            return (1 - guidance) * without + guidance * told

        return ddim(v_of, noise, 1.0, steps) if ancestral is None else ddpm(v_of, noise, steps, ancestral)
