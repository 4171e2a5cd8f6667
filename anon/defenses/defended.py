"""An anonymizer with a defense behind it is an anonymizer again: what a reconstruction attack is retrained on."""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn

from anon.anonymizers.contract import AnonymizerLike
from anon.attacks.reconstruction import Reconstruction
from anon.defenses.contract import DefenseLike, drawing
from anon.defenses.parameters import ParameterNoise
from anon.errors import UserError


class Defended(nn.Module):
    """``forward`` anonymizes and defends; :class:`ParameterNoise` redraws with a noisy generator instead.

    Args:
        anonymizer: any; parameter noise needs one with a ``generator``.
        defense: of the changed faces, or of the generator's parameters.

    Raises:
        UserError: parameter noise for an anonymizer without a generator.
    """

    def __init__(self, anonymizer: AnonymizerLike, defense: DefenseLike | ParameterNoise) -> None:
        super().__init__()
        if isinstance(defense, ParameterNoise) and not isinstance(getattr(anonymizer, "generator", None), nn.Module):
            raise UserError(f"Parameter noise needs a generator, which {type(anonymizer).__name__} does not have.")
        self.anonymizer, self.defense = anonymizer, defense

    def forward(
        self,
        images: Tensor,
        *,
        source: Tensor | None = None,
        key: Tensor | None = None,
        track: Tensor | None = None,
        rng: torch.Generator | None = None,
    ) -> Tensor:
        """Faces (B, 3, H, W) in [-1, 1] -> changed and defended faces, the same form."""
        if isinstance(self.defense, ParameterNoise):
            with self.defense.context(self.anonymizer.generator, drawing(self.defense, rng)):  # type: ignore[attr-defined]
                return self.anonymizer(images, source=source, key=key, track=track, rng=rng)
        changed = self.anonymizer(images, source=source, key=key, track=track, rng=rng)
        return self.defense(changed, target=images, rng=rng)


def complete(
    defense: DefenseLike | ParameterNoise | functools.partial, attack: Reconstruction | None
) -> DefenseLike | ParameterNoise:
    """Give a gradient defense the attack and the recognizer that it works against; others are complete already.

    Raises:
        UserError: a gradient defense and no attack.
    """
    if not isinstance(defense, functools.partial):
        return defense
    if attack is None or attack.encoder is None:
        raise UserError("A gradient defense works against a trained attack; name one (attack.against=<checkpoint>).")
    return defense(attack.network, attack.encoder)
