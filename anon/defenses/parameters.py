"""Noise on the generator's parameters (FIVA, section 3.5): every face is redrawn by another network.

An attacker learns the inverse of one generator; this one is drawn anew, around the trained one. Table 3 gives Gaussian
noise of ε = 0.10 and does not say of what: by default of each tensor's own spread, N(0, (ε·std)²), absolute N(0, ε²)
as an option.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

import torch
from torch import nn

from anon.defenses.contract import within
from anon.errors import UserError

Module = TypeVar("Module", bound=nn.Module)


@contextmanager
def parameter_noise(module: Module, epsilon: float, rng: torch.Generator, absolute: bool = False) -> Iterator[Module]:
    """Within it every floating-point parameter of ``module`` is noisy; after it, whatever happens, the exact old bits.

    Buffers stay. ``std`` is the population's: a tensor of one element or of equal ones has 0, and no relative noise.
    The copy costs the parameters' memory once more. Weights that are changed within are lost.

    Args:
        module: the generator; the context gives it back.
        epsilon: noise over the tensor's std; ``absolute``: in the parameters' own units.
        rng: the only source of the draws, in the order of ``module.parameters()``.
        absolute: noise of the same size for every tensor.

    Raises:
        UserError: a module without parameters, which this cannot defend.
    """
    parameters = [parameter for parameter in module.parameters() if parameter.is_floating_point()]
    if not parameters:
        raise UserError(f"Parameter noise needs a generator with parameters; {type(module).__name__} has none.")
    kept = [parameter.detach().clone() for parameter in parameters]
    try:
        with torch.no_grad():
            for parameter in parameters:
                size = epsilon if absolute else epsilon * parameter.float().std(correction=0)
                draw = torch.randn(parameter.shape, generator=rng, device=rng.device).to(parameter.device)
                parameter.add_((size * draw).to(parameter))
        yield module
    finally:
        with torch.no_grad():
            for parameter, old in zip(parameters, kept, strict=True):
                parameter.copy_(old)


class ParameterNoise:
    """:func:`parameter_noise` as a choice of the configuration; not a function of images, so no ``DefenseLike``.

    Args:
        epsilon: noise over the tensor's std; ``absolute``: in the parameters' own units.
        absolute: noise of the same size for every tensor.
    """

    def __init__(self, epsilon: float, absolute: bool = False) -> None:
        self.epsilon = within(self, "epsilon", epsilon, 0)
        self.absolute = absolute

    def context(self, module: Module, rng: torch.Generator) -> AbstractContextManager[Module]:
        """The context in which ``module`` redraws; a new draw each time."""
        return parameter_noise(module, self.epsilon, rng, self.absolute)
