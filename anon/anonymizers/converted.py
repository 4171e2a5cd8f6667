"""What a subject-specific swap tool makes of a face: predicted, coloured, its mask eroded and feathered, blended in.

    y, m = swap(x)      m <- feather(erode(m, not within the crop's edge))      x_c = m transfer(y; x) + (1 - m) x

Colour, within the mask: ``mean`` moves the drawn face's mean to the target's (DFaker, Faceswap's avg-color), ``lab``
its means and deviations in CIE Lab (DeepFaceLab's rct; Reinhard et al., IEEE CG&A 2001), ``xyz`` those in XYZ
(Faceswap-GAN). Each brings the target's complexion back into the picture.

The tools leave a frame as it was where something is wrong with a face. Here that is an error: what failed is not
private.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from kornia.color import lab_to_rgb, rgb_to_lab, rgb_to_xyz, xyz_to_rgb
from kornia.filters import gaussian_blur2d
from torch import Tensor, nn
from torch.nn import functional as F

from anon.errors import Failed, UserError
from anon.faces.alignment import Framing, reframe
from anon.generators.contract import Redrawn

#: To and from the colours in which means and deviations are moved, of pictures in [0, 1]; whether deviations are.
SPACES: Mapping[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor], bool]] = {
    "mean": (nn.Identity(), nn.Identity(), False),
    "lab": (rgb_to_lab, lab_to_rgb, True),
    "xyz": (rgb_to_xyz, xyz_to_rgb, True),
}
LEAST = 0.02  # share of the crop that a mask must cover at its half height; below it nothing was drawn


class Converted(nn.Module):
    """A tool as an anonymizer (:class:`anon.anonymizers.contract.AnonymizerLike`) of aligned faces of one person.

    Args:
        swap: faces (B, 3, S, S) in [-1, 1] -> :class:`Redrawn` with a mask.
        size: S, the side in pixels that the tool knows.
        transfer: ``mean``, ``lab``, ``xyz`` or ``none``.
        erode: pixels by which the mask is narrowed, of a picture of the tool's size.
        feather: deviation in these pixels of the Gaussian that then blurs it.

    Raises:
        UserError: another word for the transfer of colours, or a negative number.
    """

    def __init__(
        self, swap: Callable[[Tensor], Redrawn], size: int, transfer: str = "lab", erode: int = 1, feather: float = 1.5
    ) -> None:
        super().__init__()
        if transfer not in (*SPACES, "none"):
            raise UserError(f"transfer={transfer} is none of {', '.join(SPACES)}, none.")
        if erode < 0 or not feather >= 0:
            raise UserError(f"erode={erode} and feather={feather} are pixels, 0 or more.")
        self.tool, self.size, self.transfer, self.erode, self.feather = swap, size, transfer, erode, feather

    def forward(self, images: Tensor) -> Tensor:
        """Faces (B, 3, H, W) in [-1, 1] -> the same form, in which nothing outside of the mask has changed.

        Raises:
            Failed: the tool drew nothing for a face, or no numbers.
        """
        side = images.shape[-1]
        seen = reframe(images, Framing(Framing.of(side).view, self.size))
        drawn, mask = self.tool(seen)
        if mask is None or not bool(torch.isfinite(drawn).all() and torch.isfinite(mask).all()):
            raise Failed("the swap tool drew no numbers for a face; nothing is written.")
        empty = int(((mask >= 0.5).float().mean((1, 2, 3)) < LEAST).sum())
        if empty:
            raise Failed(f"the swap tool found no face in {empty} of {len(images)} pictures; nothing is written.")
        mask = narrowed(mask, self.erode, self.feather)
        picture = drawn if self.transfer == "none" else coloured(drawn, seen, mask, self.transfer)
        if side != self.size:
            resized = F.interpolate(torch.cat((picture, mask), 1), images.shape[-2:], mode="bilinear", antialias=True)
            picture, mask = resized[:, :3], resized[:, 3:]
        return torch.lerp(images, picture.clamp(-1.0, 1.0), mask)


def narrowed(mask: Tensor, erode: int, feather: float) -> Tensor:
    """A mask (B, 1, S, S) in [0, 1] without what is below 1/255, narrowed and feathered; 0 at the picture's edge.

    Args:
        erode: radius of the square in which the least value counts, pixels.
        feather: deviation of the Gaussian, pixels.
    """
    mask = torch.where(mask < 1 / 255, 0.0, mask)
    edge = math.ceil(2 * feather)
    inner = torch.zeros_like(mask)
    inner[..., edge : mask.shape[-2] - edge, edge : mask.shape[-1] - edge] = 1.0
    mask = mask * inner
    if erode:
        mask = -F.max_pool2d(-mask, 2 * erode + 1, stride=1, padding=erode)
    if feather:
        mask = gaussian_blur2d(mask, (2 * edge + 1, 2 * edge + 1), (feather, feather), border_type="constant")
    return mask


def coloured(drawn: Tensor, target: Tensor, mask: Tensor, space: str) -> Tensor:
    """``drawn`` with the target's colours within the mask, by the means (and deviations) of a space of colours.

    Args:
        drawn, target: (B, 3, S, S) in [-1, 1].
        mask: (B, 1, S, S) weights.
        space: one of :data:`SPACES`.
    """
    there, back, deviations = SPACES[space]
    y, x = (there(each.clamp(-1.0, 1.0).add(1.0).div(2.0)) for each in (drawn, target))
    (y_mean, y_std), (x_mean, x_std) = (_moments(each, mask) for each in (y, x))
    y = (y - y_mean) * (x_std / y_std.clamp(min=1e-5)) + x_mean if deviations else y - y_mean + x_mean
    return back(y).clamp(0.0, 1.0).mul(2.0).sub(1.0)


def _moments(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each picture's channels, (B, 3, 1, 1), weighted."""
    total = weight.sum((2, 3), keepdim=True).clamp(min=1e-6)
    mean = (x * weight).sum((2, 3), keepdim=True) / total
    return mean, ((x - mean).square() * weight).sum((2, 3), keepdim=True).div(total).sqrt()
