"""Methods of methods: one after another, the mean of several, or each on a part of the face.

    python evaluate.py suite=ensembles

    InTurn    X_1 = A(X), X_2 = B(X_1), ...                       what the first leaves, the next may hide
    Mean      (A(X) + B(X) + ...) / n                             what no two agree on fades
    Regions   A(X) on the eyes, B(X) on the mouth, C(X) elsewhere

A YAML names the methods (``/method@methods.<name>: <choice>`` in its defaults). Each is what it is alone: a generator
gets the policy of the table, a filter none.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

import torch
from kornia.filters import gaussian_blur2d
from torch import Tensor, nn

from anon.anonymizers.filters import check_positive, gaussian_width
from anon.errors import UserError
from anon.faces.alignment import PARTS, part_of
from anon.faces.contract import check_images
from anon.identity.contract import Draws, Given

#: Pictures (B, 3, H, W) -> what one of the methods makes of them.
Draw = Callable[[str, Tensor], Tensor]


class Ensemble(nn.Module, ABC):
    """Several anonymizers behind one's call (:class:`anon.anonymizers.contract.AnonymizerLike`).

    Args:
        parts: the anonymizers by name, in order.

    Raises:
        UserError: fewer than two.
    """

    def __init__(self, parts: Mapping[str, nn.Module]) -> None:
        super().__init__()
        if len(parts) < 2:
            raise UserError("A method of methods needs two or more: +method@method.methods.mine=<choice>.")
        self.names, self.parts = tuple(parts), nn.ModuleList(parts.values())  # a name may be one that torch has itself

    def forward(
        self, images: Tensor, *, source: Given = None, key: Given = None, track: Given = None, rng: Draws = None
    ) -> Tensor:
        """Faces (B, 3, H, W) in [-1, 1] -> changed faces, the same form; every part gets all of the keywords."""

        def draw(name: str, seen: Tensor) -> Tensor:
            part = self.parts[self.names.index(name)]
            return part(seen, source=source, key=key, track=track, rng=rng).clamp(-1.0, 1.0)

        return self.joined(check_images(images), draw)

    @abstractmethod
    def joined(self, images: Tensor, draw: Draw) -> Tensor:
        """What becomes of checked pictures (B, 3, H, W)."""


class InTurn(Ensemble):
    """Each changes what the one before it made."""

    def joined(self, images: Tensor, draw: Draw) -> Tensor:
        for name in self.names:
            images = draw(name, images)
        return images


class Mean(Ensemble):
    """The mean of what each makes of the picture."""

    def joined(self, images: Tensor, draw: Draw) -> Tensor:
        return torch.stack([draw(name, images) for name in self.names]).mean(0)


class Regions(Ensemble):
    """Each on a part of the aligned face, with soft borders.

    Args:
        parts: see :class:`Ensemble`.
        regions: which of them draws a part of :data:`anon.faces.alignment.PARTS`; a later one lies on top.
        rest: which of them draws the rest of the picture.
        soft: sigma of the borders, a share of the side.

    Raises:
        UserError: there is no such part or method, or one draws nothing.
    """

    def __init__(
        self, parts: Mapping[str, nn.Module], regions: Mapping[str, str], rest: str, soft: float = 0.02
    ) -> None:
        super().__init__(parts)
        odd = [name for name in regions if name not in PARTS]
        if odd:
            raise UserError(f"A face has no region '{odd[0]}'; there are: {', '.join(PARTS)}.")
        drawing = {rest, *regions.values()}
        unknown, idle = sorted(drawing - set(self.names)), sorted(set(self.names) - drawing)
        if unknown or idle:
            told = f"'{unknown[0]}' is none of the methods" if unknown else f"the method '{idle[0]}' draws no region"
            raise UserError(f"{told} of this method of methods, which are: {', '.join(self.names)}.")
        self.regions, self.rest = dict(regions), rest
        self.soft = check_positive(soft, "The softness of borders, a share of the side,", 1.0)

    def joined(self, images: Tensor, draw: Draw) -> Tensor:
        drawn = {name: draw(name, images) for name in self.names}
        found = drawn[self.rest]
        for region, name in self.regions.items():
            mask = torch.zeros_like(images[:1, :1])
            rows, columns = part_of(region, images.shape[-1])
            mask[..., rows, columns] = 1.0
            pixels, size = gaussian_width(self.soft, *images.shape[-2:])
            mask = gaussian_blur2d(mask, size, (pixels, pixels), "reflect")
            found = mask * drawn[name] + (1 - mask) * found
        return found
