"""What all cloaks share: the recognizers that they are made on, the budget, and gradients to the picture.

    maximize over d   sum over recognizers m of 1 - cos(f_m(x + d), f_m(x))      |d| <= epsilon everywhere

At d = 0 the cosine is 1 and its gradient 0, so a random start is no choice but a need (Madry et al., ICLR 2018).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from anon.anonymizers.filters import Filter, check_positive, needed
from anon.errors import UserError
from anon.identity.encoder import Encoder

#: Embeddings (B, D) of a batch by every recognizer, in their order.
Identities = tuple[Tensor, ...]
AT_ONCE = 64  # pictures of one gradient


class Cloak(Filter):
    """A change within a budget; a kind of it writes ``cloaked``.

    Args:
        recognizers: that it is made on, by name; None: left out.
        epsilon: largest change of a pixel's channel, in units of the [-1, 1] range: 16 of 255 are 0.1255.

    Raises:
        UserError: no recognizer is left, or a budget that is none.
    """

    def __init__(self, recognizers: Mapping[str, Encoder | None], epsilon: float) -> None:
        super().__init__()
        self.recognizers = nn.ModuleDict({name: each for name, each in recognizers.items() if each is not None})
        if not len(self.recognizers):
            raise UserError(
                "A cloak needs a recognizer that it is made on: +encoder@method.anonymizer.recognizers.mine=<choice>."
            )
        self.epsilon = check_budget(epsilon)

    @abstractmethod
    def cloaked(self, images: Tensor, rng: torch.Generator | None) -> Tensor:
        """Checked pictures (B, 3, H, W), which may take part in gradients, -> cloaked ones, the same form."""

    def change(self, images: Tensor, rng: torch.Generator | None) -> Tensor:
        """Works under ``no_grad`` and ``inference_mode``, whose tensors can take no part in a gradient."""
        with torch.inference_mode(False), torch.no_grad():
            return self.cloaked(images.detach().clone(), rng)

    def identities(self, images: Tensor) -> Identities:
        """Who the pictures (B, 3, H, W) are to every recognizer."""
        return tuple(recognizer(images).z for recognizer in self.recognizers.values())

    def moved(self, images: Tensor, own: Identities) -> Tensor:
        """``sum of 1 - cos`` of the pictures (B, 3, H, W) to identities, (B,) in [0, 2M]."""
        return torch.stack([1 - (z * kept).sum(1) for z, kept in zip(self.identities(images), own, strict=True)]).sum(0)

    def start(self, images: Tensor, rng: torch.Generator | None) -> Tensor:
        """A point of the budget's ball around each picture, uniform, as a change."""
        draw = torch.rand(images.shape, generator=needed(rng, images), dtype=images.dtype, device=images.device)
        return self.within(images, self.epsilon * (2 * draw - 1))

    def within(self, images: Tensor, change: Tensor) -> Tensor:
        """The nearest change (B, 3, H, W) that the budget and the range of pictures allow."""
        return (images + change.clamp(-self.epsilon, self.epsilon)).clamp(-1, 1) - images


def check_budget(epsilon: float) -> float:
    """The budget, if it is a number in (0, 2].

    Raises:
        UserError: it is none.
    """
    return check_positive(epsilon, "A cloak's budget epsilon, in units of the range [-1, 1],", 2.0)


def slope(gain: Callable[..., Tensor], at: Tensor, *given: object) -> Tensor:
    """Gradient (B, 3, H, W) of ``gain(pictures, *given)`` (B,) at pictures; none may depend on another picture."""
    with torch.enable_grad():
        x = at.detach().requires_grad_()
        return torch.autograd.grad(gain(x, *given).sum(), x)[0]
