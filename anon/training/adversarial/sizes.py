"""Whether the networks of a training can take its pictures, asked before any picture is read."""

from __future__ import annotations

import torch

from anon.errors import UserError
from anon.training.target_oriented import TargetOriented

_MISFITS = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


@torch.no_grad()
def check_size(module: TargetOriented, size: int) -> None:
    """Try encoder, generator and discriminator on an empty picture of ``size`` pixels.

    Raises:
        UserError: they cannot take it, or draw one of another size.
    """
    images, who = torch.zeros(1, 3, size, size), type(module.generator).__name__
    networks = module.generator, module.discriminator
    for network in networks:
        network.eval()  # no statistics of a batch norm move
    try:
        z = module.encoder(images).z
        known = {"distorted": images, "changed": images, "z_own": z, "z_condition": z}
        drawn = module.redraw(known).image
        module.critic(known)(drawn)
    except _MISFITS as error:
        told = (str(error).splitlines() or [""])[0].rstrip(".")
        raise UserError(
            f"{who} and {type(module.discriminator).__name__} cannot be trained on pictures of data.size={size} with "
            f"the encoder '{module.encoder.name}' ({type(error).__name__}: {told}); change data.size, generator or "
            "encoder."
        ) from error
    finally:
        for network in networks:
            network.train()
    if drawn.shape != images.shape:
        raise UserError(
            f"{who} draws {tuple(drawn.shape[2:])} pixels of pictures of data.size={size}; change data.size."
        )
