"""Editors: a face drawn again with other attributes, of a list of names, and otherwise as it was.

    X_o = edit(X, own, wanted)        edit(X, own, own) should be X

No embedding takes part: who the face is, is nothing that an editor is told, so what the attributes do not say of a
person stays, and a recognizer may find them by it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

from anon.faces.attributes import check_names


class Editor(nn.Module, ABC):
    """A generator of edits.

    Args:
        attributes: names of what it can change, in the order of its conditions' columns.
    """

    def __init__(self, attributes: Sequence[str]) -> None:
        super().__init__()
        self.attributes = check_names(attributes)

    @abstractmethod
    def condition(self, own: Tensor, wanted: Tensor) -> Tensor:
        """What the network is told (B, c) of the attributes (B, c), in [0, 1], that a face has and shall have."""

    @abstractmethod
    def draw(self, target: Tensor, condition: Tensor) -> Tensor:
        """The face (B, 3, H, W) in [-1, 1] drawn again."""

    def forward(self, target: Tensor, own: Tensor, wanted: Tensor) -> Tensor:
        """Faces (B, 3, H, W) in [-1, 1] that have ``own`` (B, c) -> the same form, with ``wanted`` in its place."""
        return self.draw(target, self.condition(own, wanted))


def tiled(condition: Tensor, like: Tensor) -> Tensor:
    """A condition (B, c) as maps (B, c, H, W) of the size of ``like``."""
    return condition.to(like)[:, :, None, None].expand(-1, -1, *like.shape[-2:])
