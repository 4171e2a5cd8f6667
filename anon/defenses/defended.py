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
from anon.identity.contract import Draws, Given
from anon.plugs import check_call


class Defended(nn.Module):
    """``forward`` anonymizes and defends; :class:`ParameterNoise` redraws each face with a noisy generator of its own.

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
        self, images: Tensor, *, source: Given = None, key: Given = None, track: Given = None, rng: Draws = None
    ) -> Tensor:
        """Faces (B, 3, H, W) in [-1, 1] -> changed and defended faces, the same form."""
        if isinstance(self.defense, ParameterNoise):
            given = {"source": source, "key": key, "track": track}
            faces = []
            for row in range(len(images)):
                one = {
                    name: part if part is None or len(part) == 1 else part[row, None] for name, part in given.items()
                }
                with self.defense.context(self.anonymizer.generator, drawing(self.defense, rng)):  # type: ignore[attr-defined]
                    faces.append(self.anonymizer(images[row, None], **one, rng=rng))
            return torch.cat(faces) if faces else images
        changed = self.anonymizer(images, source=source, key=key, track=track, rng=rng)
        return self.defense(changed, target=images, rng=rng)

    def again(self, images: Tensor, changed: Tensor, rng: torch.Generator) -> Tensor:
        """What may be published of anonymized faces another time: new noise, one noisy generator for the batch.

        Args:
            images, changed: (B, 3, H, W) in [-1, 1], faces and what the anonymizer alone made of them.
        """
        if isinstance(self.defense, ParameterNoise):
            with self.defense.context(self.anonymizer.generator, rng):  # type: ignore[attr-defined]
                return self.anonymizer(images, rng=rng)
        return self.defense(changed, target=images, rng=rng)


def check_defense(defense: DefenseLike | ParameterNoise) -> DefenseLike | ParameterNoise:
    """The defense, if it can be called as one.

    Raises:
        UserError: it cannot.
    """
    if not isinstance(defense, ParameterNoise):
        form = "defense(changed, target=..., rng=...), faces (B, 3, H, W) in [-1, 1] to the same form"
        check_call(defense, "The defense", form, "changed", keywords=("target", "rng"))
    return defense


def complete(
    defense: DefenseLike | ParameterNoise | functools.partial, attack: Reconstruction | None
) -> DefenseLike | ParameterNoise:
    """Give a gradient defense the attack and the recognizer that it works against; others are complete already.

    Raises:
        UserError: a gradient defense and no attack.
    """
    if not isinstance(defense, functools.partial):
        return check_defense(defense)
    if attack is None or attack.encoder is None:
        raise UserError("A gradient defense works against a trained attack; name one (attack.against=<checkpoint>).")
    return defense(attack.network, attack.encoder)
