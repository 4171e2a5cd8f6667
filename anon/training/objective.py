"""The generator's objective as a list of terms: ``L = sum of weight · loss(of...)``.

A term names the things its loss is taken of; :class:`anon.training.target_oriented.TargetOriented` makes only what some
term asks for. The names, for one batch:

================================  =====================================================================================
target, distorted                 X_t as it came, and X~, which the generator redraws (B, 3, H, W)
raw, blended, mask                X_a, X_â and m
z_target, z_raw, z_blended        embeddings (B, D); z_target is of the undistorted X_t
maps_target, maps_raw, ...        the encoder's feature maps, one a layer; maps_target are of X~
logits_raw, logits_blended        what the discriminator says (B,); it learns from the same pictures
z_fled                            what a fleeing generator is conditioned on: z_target, or -z_source (B, D)
z_source, same                    with a pairing: the wanted identity (B, D); True (B,) where it is the target's own
same_index                        where ``same`` is true: int64; the host knows how many, so a term may choose them
cycle                             raw, redrawn once more with the target's own identity (B, 3, H, W)
features_target, features_raw...  the discriminator's maps of X~ and of what is drawn (``discriminator.features``)
attributes_target, attributes_raw the generator's attribute maps of X~ and X_a (``generator.attributes``)
z_wanted                          whom the target shall be (B, D): with keys R z, of CIAGAN the identity network's
returned, right, z_back           with keys (:mod:`anon.training.reversible`): X_c redrawn with a key;
                                  True (B,) where that was the right one; whom it shall show (B, D)
================================  =====================================================================================

A weight of 0 means: logged, not trained, and computed only with ``log_unweighted``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from anon.errors import UserError
from anon.losses.adversarial import GradientPenalty, discriminator_loss
from anon.plugs import signature_of

#: What the generator draws, of which embeddings, maps and logits can be asked for.
DRAWN = ("raw", "blended", "returned")
NAMES = frozenset(
    ["target", "distorted", "mask", "cycle", "same", "same_index", "z_target", "z_source", "z_fled", *DRAWN]
    + [f"{kind}_target" for kind in ("maps", "features", "attributes")]
    + [f"{kind}_{name}" for kind in ("z", "maps", "logits", "features") for name in DRAWN]
    + ["attributes_raw", "z_wanted", "z_back", "right"]
)


class Term(nn.Module):
    """One line of the objective.

    Args:
        loss: called with the things that ``of`` names, in that order; returns a scalar.
        of: names, see the module's table.
        weight: its share of the sum.
        rise: steps over which the weight rises linearly to that, from 0; 0: it is that from the beginning.
    """

    def __init__(self, loss: Callable[..., Tensor], of: Sequence[str], weight: float = 1.0, rise: int = 0) -> None:
        super().__init__()
        self.loss, self.of, self.weight, self.rise = loss, tuple(of), float(weight), int(rise)
        if self.rise < 0:
            raise UserError(f"a term's weight rises over 0 steps or more, not {rise}.")
        unknown = sorted(set(self.of) - NAMES)
        if unknown:
            raise UserError(f"an objective's term is of '{unknown[0]}'; there are: {', '.join(sorted(NAMES))}.")
        try:
            signature = signature_of(loss)
            if signature is not None:
                signature.bind(*self.of)
        except TypeError as error:
            named = f"the loss {type(loss).__name__} cannot be taken of [{', '.join(self.of)}]"
            raise UserError(f"{named} ({error}); see its docstring.") from error

    def forward(self, known: Mapping[str, Any]) -> Tensor:
        return self.loss(*(known[name] for name in self.of))

    def weight_at(self, step: int) -> float:
        """The weight in a step of the training, counted from 0."""
        return self.weight * min(1.0, step / self.rise) if self.rise else self.weight


class Objective(nn.Module):
    """Terms by name, and the regularization of the discriminator.

    Args:
        terms: name in the log -> :class:`Term`.
        r1_gamma: of the discriminator's R1 penalty; 0: none.
        r1_every: steps between R1 penalties, each multiplied by this number (lazy regularization; StyleGAN2).
        log_unweighted: compute and log terms of weight 0.
        critic: the discriminator's loss of real and fake logits.
        penalty: in the place of R1 (``r1_gamma: 0``), between real and fake, as often (:class:`GradientPenalty`).
    """

    def __init__(
        self,
        terms: Mapping[str, Term],
        r1_gamma: float = 10.0,
        r1_every: int = 1,
        log_unweighted: bool = False,
        critic: Callable[[Tensor, Tensor], Tensor] = discriminator_loss,
        penalty: GradientPenalty | None = None,
    ) -> None:
        super().__init__()
        self.terms = {name: term for name, term in terms.items() if term.weight != 0 or log_unweighted}
        self.losses = nn.ModuleDict(self.terms)
        self.r1_gamma, self.r1_every, self.critic = float(r1_gamma), int(r1_every), critic
        if penalty is not None and self.r1_gamma > 0:
            raise UserError("an objective has R1 or another penalty, not both; set r1_gamma=0 beside penalty.")
        self.penalty = penalty
        #: Every name that a term asks for.
        self.wanted = frozenset(name for term in self.terms.values() for name in term.of)

    def drawn(self, *kinds: str) -> list[str]:
        """The outputs of which some term wants one of the kinds: ``drawn("z", "maps")`` -> ["raw", "blended"]."""
        return [name for name in DRAWN if any(f"{kind}_{name}" in self.wanted for kind in kinds)]

    def wants(self, kind: str) -> bool:
        """Whether some term is of things of this kind: ``wants("maps")``."""
        return any(name.startswith(f"{kind}_") for name in self.wanted)

    def forward(self, known: Mapping[str, Any]) -> dict[str, Tensor]:
        """Each term's loss, unweighted."""
        return {name: term(known) for name, term in self.terms.items()}

    def total(self, losses: Mapping[str, Tensor], step: int) -> Tensor:
        """The weighted sum that the generator descends in a step of the training, counted from 0."""
        weighted = [term.weight_at(step) * losses[name] for name, term in self.terms.items() if term.weight != 0]
        if not weighted:
            raise UserError("every term of the objective has weight 0; nothing can be trained.")
        return sum(weighted[1:], weighted[0])


def shares(kind: str, names: list[str], maps: Sequence[Tensor]) -> dict[str, list[Tensor]]:
    """Each name's part of maps of several pictures: ``{"maps_raw": [...], "maps_blended": [...]}``."""
    parts = [part.chunk(len(names)) for part in maps]
    return {f"{kind}_{name}": [part[at] for part in parts] for at, name in enumerate(names)}
