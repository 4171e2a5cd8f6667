"""The discriminator's side of an adversarial step: what it says of X~ and of what was drawn, and R1 on X~.

    L_D = critic(D(X~), D(X_drawn)) + every · gamma / 2 · E ||∇ D(X~)||²        (R1: Mescheder et al., ICML 2018, eq. 9;
                                                                                every > 1: lazily, as StyleGAN2)

R1 shares the pass over X~ with the critic's loss, and both share it with feature matching, whose target maps need no
gradient. Where nobody needs the two apart, X~ and the drawn pictures go through in one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from anon.losses.adversarial import r1_penalty
from anon.training.objective import Objective


def judge_real(discriminator: Any, objective: Objective, real: Tensor, penalized: bool) -> dict[str, Any]:
    """The pass over X~ (B, 3, H, W): ``logits_target`` and, for the generator's terms, ``features_target``.

    Args:
        penalized: R1 will be taken of it; ``real`` in the result is what it is taken by.
    """
    real, maps = real.detach().requires_grad_(penalized), []
    with _in_full(real) if penalized else nullcontext():
        if "features_target" in objective.wanted:
            logits, maps = discriminator.features(real)
        else:
            logits = discriminator(real)
    return {"real": real, "logits_target": logits, "features_target": [part.detach() for part in maps]}


def critic_losses(
    discriminator: Callable[[Tensor], Tensor],
    objective: Objective,
    known: Mapping[str, Any],
    fake: Tensor,
    penalized: bool,
    rng: torch.Generator,
) -> dict[str, Tensor]:
    """Losses with their graph: ``discriminator``, ``r1`` or ``penalty`` where it is due, and the mean logits ``d_real``
    and ``d_fake``.

    Args:
        known: ``distorted``, and what :func:`judge_real` found where it was called already; ``hole``, if the penalty is
            of a part of the pictures.
        fake: what was drawn, detached (B or more, 3, H, W).
        rng: places the penalty between real and fake.
    """
    if penalized and objective.penalty is None and "logits_target" not in known:
        known = {**known, **judge_real(discriminator, objective, known["distorted"], penalized)}
    if "logits_target" in known:
        real_logits, fake_logits = known["logits_target"], discriminator(fake)
    else:
        both = discriminator(torch.cat((known["distorted"], fake)))
        real_logits, fake_logits = both.split((len(both) - len(fake), len(fake)))
    found = {"discriminator": objective.critic(real_logits, fake_logits)}
    if penalized and objective.penalty is not None:
        real, share = known["distorted"], torch.rand(len(fake), generator=rng, device=fake.device)
        copies = len(fake) // len(real)
        with _in_full(fake):
            found["penalty"] = objective.penalty(
                discriminator, real.repeat(copies, 1, 1, 1).float(), fake.float(), share, known.get("hole")
            )
    elif penalized:
        with _in_full(fake):
            found["r1"] = r1_penalty(real_logits, known["real"], objective.r1_gamma)
    return found | {"d_real": real_logits.mean(), "d_fake": fake_logits.mean()}


@contextmanager
def _in_full(images: Tensor) -> Iterator[None]:
    """R1 is a gradient's gradient: in float32, and not compiled, for that has no second derivative."""
    with torch.autocast(images.device.type, enabled=False), torch.compiler.set_stance("force_eager"):
        yield
