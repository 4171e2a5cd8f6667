"""The negation attack: whoever fled to -z is found again at z = -(-z)."""

from __future__ import annotations

from torch import Tensor

from anon.attacks.contract import Attack


class Negation(Attack):
    """``probe(z) = -z``: undoes plain FIVA, whose wanted identity is -z, for judges that agree with its encoder."""

    def probe(self, z: Tensor) -> Tensor:
        """z (B, D) -> -z."""
        return -z
