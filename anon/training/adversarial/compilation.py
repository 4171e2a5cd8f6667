"""Trust in compiled networks: their gradients are compared with the plain networks' before they train anything.

Compilers have bugs that no loss shows: torch 2.13 on a CPU gives most of FaceDancer, compiled as one graph, a gradient
of exactly 0, while the forward pass is right. The training still descends, to a worse place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from anon.errors import UserError

#: Largest relative L2 difference of a network's gradient; two roundings of bfloat16 are up to .16 apart.
TOLERANCE = 0.3


def check_gradients(networks: Mapping[str, nn.Module], backward: Callable[[], object]) -> None:
    """Run ``backward`` as it is and uncompiled; gradients and buffers are afterwards what they were before.

    Args:
        networks: by the name that the error gives them.
        backward: leaves gradients in the networks' parameters; the same ones at every call.

    Raises:
        UserError: a compiled network's gradient is not the plain network's.
    """
    kept = [(parameter, parameter.grad) for network in networks.values() for parameter in network.parameters()]
    buffers = [(buffer, buffer.clone()) for network in networks.values() for buffer in network.buffers()]
    found: list[dict[str, Tensor]] = []
    try:
        for stance in ("force_eager", "default"):
            for parameter, _ in kept:
                parameter.grad = None
            with torch.compiler.set_stance(stance):
                backward()
            found.append({name: _gradient(network) for name, network in networks.items()})
    finally:
        for parameter, gradient in kept:
            parameter.grad = gradient
        for buffer, value in buffers:
            buffer.copy_(value)
    for name, plain in found[0].items():
        apart = float((found[1][name] - plain).norm() / plain.norm().clamp(min=1e-12))
        if not apart <= TOLERANCE:
            raise UserError(
                f"torch.compile of this torch ({torch.__version__}) gets the {name}'s gradients wrong on this device "
                f"(relative difference {apart:.2f}); train with model.compile=false."
            )


def _gradient(network: nn.Module) -> Tensor:
    """All gradients of a network as one vector, 0 where there is none."""
    return torch.cat(
        [(torch.zeros_like(p) if p.grad is None else p.grad).detach().float().flatten() for p in network.parameters()]
    )
