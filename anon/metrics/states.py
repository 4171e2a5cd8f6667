"""How metrics add up over batches and processes: means over faces, and what has to be kept whole."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.data import dim_zero_cat

from anon.errors import UserError


class FaceMean(Metric, ABC):
    """Mean over faces of a value per face."""

    full_state_update = False
    total: Tensor
    faces: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("faces", torch.tensor(0), dist_reduce_fx="sum")

    @abstractmethod
    def each(self, *inputs: Tensor) -> Tensor:
        """The value of every face, (B,)."""

    def update(self, *inputs: Tensor) -> None:
        """Whatever :meth:`each` takes."""
        values = self.each(*inputs)
        self.total += values.double().sum()
        self.faces += len(values)

    def compute(self) -> Tensor:
        """() float32; NaN without faces."""
        return (self.total / self.faces).float()


class KnownMean(FaceMean):
    """Mean over the faces whose value is known (not NaN); its state ``faces`` says how many those are."""

    def update(self, *inputs: Tensor) -> None:
        """Whatever :meth:`each` takes."""
        values = self.each(*inputs)
        known = ~values.isnan()
        self.total += values[known].double().sum()
        self.faces += known.sum()


class FaceMeans(Metric, ABC):
    """Means over faces of several values per face, by :attr:`names`."""

    full_state_update = False
    names: tuple[str, ...]
    total: Tensor
    faces: Tensor

    def __init__(self, names: tuple[str, ...] | None = None) -> None:
        super().__init__()
        self.names = self.names if names is None else names
        self.add_state("total", torch.zeros(len(self.names), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("faces", torch.tensor(0), dist_reduce_fx="sum")

    @abstractmethod
    def each(self, *inputs: Any, **named: Any) -> Mapping[str, Tensor]:
        """The values of every face, (B,) each."""

    def update(self, *inputs: Any, **named: Any) -> None:
        """Whatever :meth:`each` takes."""
        each = self.each(*inputs, **named)
        values = [each[name] for name in self.names]
        self.total += torch.stack([value.double().sum() for value in values])
        self.faces += len(values[0])

    def compute(self) -> dict[str, Tensor]:
        """By name, () float32; NaN without faces."""
        return dict(zip(self.names, (self.total / self.faces).float(), strict=True))


class Kept(Metric):
    """Keeps :attr:`parts` of every batch, for figures that no sums give.

    ``empty`` is what is said where nothing was kept, with the part's name in the place of ``{name}``.
    """

    full_state_update = False
    parts: ClassVar[tuple[str, ...]]
    empty: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        for name in self.parts:
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(self, *values: Tensor) -> None:
        """The parts of a batch, in their order."""
        for name, value in zip(self.parts, values, strict=True):
            getattr(self, name).append(value)

    def kept(self) -> tuple[Tensor, ...]:
        """The parts of all batches, in their order.

        Raises:
            UserError: there was no batch.
        """
        for name in self.parts:
            if isinstance(getattr(self, name), list) and not getattr(self, name):
                raise UserError(self.empty.format(name=name))
        return tuple(dim_zero_cat(getattr(self, name)) for name in self.parts)
