"""The form of a subject-specific swap tool: it knows two people, and redraws the one as the other.

Person 0 is the donor, whose face is put on; person 1 the original, who is filmed and shall not be seen. A training
redraws each as themselves, ``own(faces, person)``; a conversion switches, ``swap(faces)``: the original's faces as the
donor's. Who else is given to it is redrawn as something between, for a tool knows nobody but these two.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

from anon.generators.contract import Redrawn

DONOR, ORIGINAL = 0, 1
PEOPLE = ("donor", "original")  # by number


class SubjectSwapper(nn.Module, ABC):
    """A tool. ``size`` is the side of its pictures in pixels, ``people`` are whom it knows, by number."""

    size: int
    people: tuple[str, ...] = PEOPLE

    @abstractmethod
    def own(self, faces: Tensor, person: int) -> Redrawn:
        """Faces (B, 3, S, S) in [-1, 1] of one of its people, redrawn as themselves; mask (B, 1, S, S) in [0, 1]."""

    @abstractmethod
    def swap(self, faces: Tensor) -> Redrawn:
        """Faces (B, 3, S, S) of the original, redrawn as the donor."""


class Switched(SubjectSwapper):
    """A tool with one encoder for all its people and a decoder for each.

    Args:
        size: side of the pictures.
        encoder: faces (B, 3, S, S) in [0, 1] -> code.
        decoders: of each person, the donor first, code -> picture (B, 3, S, S) and mask (B, 1, S, S) in [0, 1].
    """

    def __init__(self, size: int, encoder: nn.Module, decoders: Sequence[nn.Module]) -> None:
        super().__init__()
        self.size, self.encoder, self.decoders = size, encoder, nn.ModuleList(decoders)

    def own(self, faces: Tensor, person: int) -> Redrawn:
        return drawn(*self.decoders[person](self.encoder(faces.add(1.0).div(2.0))))

    def swap(self, faces: Tensor) -> Redrawn:
        return self.own(faces, DONOR)


def drawn(picture: Tensor, mask: Tensor) -> Redrawn:
    """A picture of [0, 1] in the range of image batches, and its mask."""
    return Redrawn(picture.mul(2.0).sub(1.0), mask)
