"""A network of somebody else's in a file as an anonymizer: pictures in, pictures out, in its own range and side."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

from torch import Tensor
from torch.nn import functional as F

from anon.errors import UserError


class FileAnonymizer(ABC):
    """Faces are resized to the side that the network wants and back to their own; a kind of file writes ``draw``.

    Args:
        low, high: what black and white are to the network; -1 and 1, or 0 and 1, or 0 and 255.
        bgr: the network takes and gives blue first.

    Raises:
        UserError: an empty range.
    """

    path: Path
    size: int | None  # side S in pixels that it wants; None: the faces' own

    def __init__(self, low: float, high: float, bgr: bool) -> None:
        if not low < high:
            raise UserError(f"low={low} must be below high={high}.")
        self.low, self.high, self.bgr = low, high, bgr

    @property
    def name(self) -> str:
        """The file's."""
        return self.path.stem

    def __call__(self, images: Tensor) -> Tensor:
        """Faces (B, 3, H, W) in [-1, 1] -> what the network makes of them, of the same form.

        Raises:
            UserError: the network fails on them, or gives no pictures.
        """
        given = images.float()
        if self.size is not None and given.shape[-2:] != (self.size, self.size):
            given = F.interpolate(given, (self.size, self.size), mode="bilinear", antialias=True, align_corners=False)
        given = (given + 1) / 2 * (self.high - self.low) + self.low
        found = self.draw(given.flip(1) if self.bgr else given).float()
        found = found.flip(1) if self.bgr else found
        found = (found - self.low) / (self.high - self.low) * 2 - 1
        if found.shape != images.shape:
            found = F.interpolate(found, images.shape[-2:], mode="bilinear", antialias=True, align_corners=False)
        return found.to(images)

    @abstractmethod
    def draw(self, given: Tensor) -> Tensor:
        """What the network makes of pictures (B, 3, S, S) in its own range: (B, 3, S', S').

        Raises:
            UserError: it fails on them, or gives no pictures.
        """

    def failed(self, side: int) -> UserError:
        """The error for a network that cannot take such pictures."""
        return UserError(f"'{self.path}' is no method: it fails on pictures of {side} pixels.")

    def no_pictures(self, shape: tuple[int, ...]) -> UserError:
        """The error for a network that makes something else of pictures."""
        return UserError(f"'{self.path}' is no method: of pictures it makes {shape}, not (B, 3, S, S).")
