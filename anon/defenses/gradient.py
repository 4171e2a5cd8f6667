"""Adversarial defenses: the changed face takes a step that makes the reconstruction R(X_c) worse (FIVA, section 3.5).

    L(x) = L1(R(x), X_t) + 1 - cos(I(X_t), I(R(x)))                      (FIVA eqs. 5 and 6)
    FGSM: X_c + ε·sign(∇L(X_c))                                          (Goodfellow et al., ICLR 2015)
    PGD:  x <- Π(x + step·sign(∇L(x))), Π onto |x - X_c| <= ε            (Madry et al., ICLR 2018)

The defender knows the attack and the true face: a white box, unlike the other defenses.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anon.defenses.contract import drawing, whole_within, within
from anon.errors import UserError
from anon.faces.contract import check_images
from anon.identity.contract import EncoderLike


def attack_losses(restored: Tensor, target: Tensor, z_restored: Tensor, z_target: Tensor) -> Tensor:
    """Each image's ``L1(R(x), X_t) + 1 - cos(I(X_t), I(R(x)))``, (B,) in [0, 4]: images (B, 3, H, W), z (B, D)."""
    pixel = (restored - target).abs().flatten(1).mean(1)
    return pixel + 1 - F.cosine_similarity(z_restored, z_target)


class PGD(nn.Module):
    """Steps that ascend the attack's loss within the L-infinity ball of ε around the changed face; the last is taken.

    The attack and the encoder stay the caller's: they are no submodules, so they are neither moved nor saved nor
    trained with the defense; their parameters get no gradient. They should be in eval mode: in training mode a batch
    norm makes the images of a batch depend on each other and counts the steps in its statistics.

    Args:
        attack: R, images (B, 3, H, W) -> restored images, differentiable.
        encoder: I, of the attack's identity loss.
        epsilon: largest change, in units of the [-1, 1] range.
        step: of each iteration, in the same units; 2.5·ε/steps reaches the ball's border from anywhere in it.
        steps: how many, each one pass and one gradient of attack and encoder.
        random_start: from a point of U(-ε, ε) around X_c, drawn from ``rng``, instead of X_c.
    """

    def __init__(
        self,
        attack: Callable[[Tensor], Tensor],
        encoder: EncoderLike,
        epsilon: float,
        step: float,
        steps: int,
        random_start: bool = False,
    ) -> None:
        super().__init__()
        self.against = (attack, encoder)  # a tuple, so that no module is registered
        self.epsilon = within(self, "epsilon", epsilon, 0, 2)
        self.step = within(self, "step", step, 0)
        self.steps = whole_within(self, "steps", steps, 1)
        self.random_start = self.draws = random_start

    def forward(self, changed: Tensor, *, target: Tensor | None = None, rng: torch.Generator | None = None) -> Tensor:
        """Changed faces (B, 3, H, W) and their true faces ``target``, the same form -> defended faces.

        A batch gives each image what it gets alone. Works under ``no_grad`` and ``inference_mode``.

        Raises:
            UserError: no ``target``, or one of another shape; no ``rng`` for a random start; an attack that gives no
                gradient.
        """
        if target is None:
            raise UserError(f"{type(self).__name__} ascends away from the true faces and needs them: target=...")
        if target.shape != changed.shape:
            raise UserError(f"target is {tuple(target.shape)} and the changed faces are {tuple(changed.shape)}.")
        attack, encoder = self.against
        with torch.inference_mode(False), torch.no_grad():
            # Tensors of an outer inference mode can take no part in a gradient; their copies can.
            start = check_images(changed, "changed").detach().clone()
            target = check_images(target, "target").detach().clone()
            low, high = (start - self.epsilon).clamp(-1, 1), (start + self.epsilon).clamp(-1, 1)
            z_target = encoder(target).z
            x = start
            if self.random_start:
                rng = drawing(self, rng)
                draw = torch.rand(x.shape, generator=rng, device=rng.device).to(x)
                x = (x + self.epsilon * (2 * draw - 1)).clamp(low, high)
            for _ in range(self.steps):
                with torch.enable_grad():
                    x.requires_grad_()
                    restored = attack(x)
                    # The sum, not the mean: no image's gradient knows how many others there are.
                    loss = attack_losses(restored, target, encoder(restored).z, z_target).sum()
                    slope = self._slope(loss, x)
                x = (x.detach() + self.step * slope.sign()).clamp(low, high)
        return x

    def _slope(self, loss: Tensor, x: Tensor) -> Tensor:
        """Gradient of the loss at x, and of nothing else: no ``.grad`` is touched."""
        slope = torch.autograd.grad(loss, x, allow_unused=True)[0] if loss.requires_grad else None
        if slope is None:
            raise UserError(
                f"{type(self).__name__} needs a gradient of the attack; give its network, not a call without one."
            )
        return slope


class FGSM(PGD):
    """The fast gradient sign method: PGD's one step of size ε. FIVA's table 3: ε = 0.15.

    Args:
        attack: R, images (B, 3, H, W) -> restored images, differentiable.
        encoder: I, of the attack's identity loss.
        epsilon: the change, in units of the [-1, 1] range.
    """

    def __init__(self, attack: Callable[[Tensor], Tensor], encoder: EncoderLike, epsilon: float) -> None:
        super().__init__(attack, encoder, epsilon, step=epsilon, steps=1)
