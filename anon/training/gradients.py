"""Gradients between backward pass and optimizer step: averaging over processes, norms, frozen networks.

Adversarial training runs two backward passes over alternately frozen networks in one step, which the bucket hooks of
DistributedDataParallel are not made for. So they are held off, and the finished gradients are averaged here, in one
message a network.

N processes of B faces then make the step of one process of N·B faces: a loss that is a mean over the faces of a batch
has the mean of the processes' gradients. Two things are of a process's own faces. A mean over part of a batch (the same
pairs of a swapper) is the mean of the processes' means, whatever the size of each one's part. And a batch norm that
learns takes the statistics of its own B faces, like anywhere under data parallelism; its running averages, which only
evaluation uses, are averaged with the gradients, so that they are the same everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import ParallelStrategy
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Inside, the parameters of ``module`` take no gradient; gradients still pass through to its input."""
    learned = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in learned:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learned:
            parameter.requires_grad_(True)


def local_backward(trainer: pl.Trainer) -> AbstractContextManager:
    """Inside, backward passes leave each process's own gradients."""
    strategy = trainer.strategy
    return strategy.block_backward_sync() if isinstance(strategy, ParallelStrategy) else nullcontext()


@torch.no_grad()
def average_gradients(module: nn.Module) -> None:
    """Replace each gradient, and what batch norms have averaged, by the mean over all processes.

    Does nothing where there is one process, or no gradient.
    """
    gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    if _processes() == 1 or not gradients:
        return
    norms = [part for part in module.modules() if isinstance(part, _BatchNorm)]
    averages = [value for part in norms for value in (part.running_mean, part.running_var) if value is not None]
    values = [*gradients, *averages]
    for value, mean in zip(values, _means(values), strict=True):
        value.copy_(mean)


@torch.no_grad()
def mean_over_processes(figures: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Figures of one number each, averaged over all processes in one message that the host does not wait for.

    All processes must call it, with the same names.
    """
    if _processes() == 1 or not figures:
        return dict(figures)
    (means,) = _means([torch.stack([value.detach().float() for value in figures.values()])])
    return dict(zip(figures, means.unbind(), strict=True))


def _processes() -> int:
    together = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_world_size() if together else 1


def _means(values: Sequence[Tensor]) -> list[Tensor]:
    flat = torch.cat([value.flatten() for value in values])
    torch.distributed.all_reduce(flat)
    flat /= torch.distributed.get_world_size()
    parts = flat.split([value.numel() for value in values])
    return [part.view(value.shape) for part, value in zip(parts, values, strict=True)]


def gradient_norm(module: nn.Module) -> Tensor:
    """L2 norm of all gradients together, on their device."""
    return torch.nn.utils.get_total_norm([p.grad for p in module.parameters() if p.grad is not None])
