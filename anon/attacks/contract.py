"""The form of an attack, and the adversary who does nothing."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from anon.identity.contract import JudgeLike


@runtime_checkable
class AttackLike(Protocol):
    """Four hooks around a judge; see :mod:`anon.attacks`.

    ``images`` and ``gallery`` take and give image batches (B, 3, H, W) in [-1, 1], ``probe`` the judge's embeddings
    (B, D), ``judge`` the recognizer. None of them gets a key, a code or the policy.
    """

    def images(self, changed: Tensor) -> Tensor: ...

    def probe(self, z: Tensor) -> Tensor: ...

    def gallery(self, images: Tensor) -> Tensor: ...

    def judge(self, encoder: JudgeLike) -> JudgeLike: ...


class Attack(nn.Module):
    """No attack: the judge as it is. Others override the hooks that they use.

    A module, so that an attack's networks change device and mode with it.
    """

    def images(self, changed: Tensor) -> Tensor:
        """Changed faces (B, 3, H, W) -> what is embedded in their place, the same form."""
        return changed

    def probe(self, z: Tensor) -> Tensor:
        """Embeddings (B, D) of the changed faces -> what is compared with the gallery's, the same form."""
        return z

    def gallery(self, images: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) of known people -> what is enrolled in their place, the same form."""
        return images

    def judge(self, encoder: JudgeLike) -> JudgeLike:
        """The recognizer -> the one that compares probes with the gallery."""
        return encoder


def overrides(attack: AttackLike, hook: str) -> bool:
    """Whether the attack's hook is another than :class:`Attack`'s, which changes nothing."""
    return getattr(type(attack), hook, None) is not getattr(Attack, hook)
