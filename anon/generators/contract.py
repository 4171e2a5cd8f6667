"""How a face is redrawn: the form that every generator has."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

from torch import Tensor


class Redrawn(NamedTuple):
    """What a generator draws: ``image`` (B, 3, H, W) in [-1, 1] and ``mask`` (B, 1, H, W) in [0, 1], or None."""

    image: Tensor
    mask: Tensor | None

    def blend(self, target: Tensor) -> Tensor:
        """``m * image + (1 - m) * target`` (FIVA, X_â); the image itself where the generator has no mask."""
        if self.mask is None:
            return self.image
        return target + self.mask * (self.image - target)


@runtime_checkable
class GeneratorLike(Protocol):
    """``forward(target, z) -> Redrawn``.

    ``steers`` is +1 for a swapper, which *becomes* its condition (FaceDancer, SimSwap, FaceShifter), and -1 for FIVA,
    which *flees* it. Policies return the wanted identity and the anonymizer feeds ``steers * z_a``. It is 0 for a
    generator that inpaints (DeepPrivacy), whose condition is a latent, drawn at random whoever the face is.

    One whose picture side can be told from its condition has ``attributes(target) -> maps``, each (B, C, h, w): all
    that it takes from the target beside z. How much of a person these tell is measured
    (:mod:`anon.attacks.attribute_path`).
    """

    steers: int

    def __call__(self, target: Tensor, z: Tensor) -> Redrawn: ...
