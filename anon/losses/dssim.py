"""DSSIM = (1 - SSIM) / 2, the loss of subject-specific swap tools, and their masked sum of it with squared errors.

SSIM as Wang, Bovik, Sheikh and Simoncelli (IEEE TIP 2004, eq. 13) with K1 = .01 and K2 = .03 of values in [0, 1], over
windows that lie within the picture.
"""

from __future__ import annotations

import math

import torch
from kornia.filters import gaussian_blur2d, get_gaussian_kernel1d
from torch import Tensor, nn
from torch.nn import functional as F

from anon.errors import UserError

C1, C2 = 0.01**2, 0.03**2


def dssim(one: Tensor, other: Tensor, window: int = 3, sigma: float | None = None) -> Tensor:
    """(1 - SSIM) / 2 of every window and channel.

    Args:
        one, other: (B, C, H, W) in [0, 1].
        window: side of the windows in pixels.
        sigma: their weights are Gaussian with this deviation in pixels; None: equal.

    Returns:
        (B, C, H - window + 1, W - window + 1) in [0, 1]; 0 of equal pictures.

    >>> round(float(dssim(torch.zeros(1, 1, 3, 3), torch.ones(1, 1, 3, 3))), 5)  # SSIM = C1 / (1 + C1)
    0.49995
    """
    channels = one.shape[1]
    if sigma is None:
        line = torch.full((window,), 1.0 / window, device=one.device)
    else:
        line = get_gaussian_kernel1d(window, sigma, device=one.device, dtype=torch.float32)[0]
    rows = line.view(1, 1, -1, 1).expand(5 * channels, 1, -1, 1)

    with torch.autocast(one.device.type, enabled=False):  # small differences of means of squares
        one, other = one.float(), other.float()
        stack = torch.cat((one, other, one * one, other * other, one * other), 1)
        means = F.conv2d(F.conv2d(stack, rows, groups=5 * channels), rows.mT, groups=5 * channels)
    a, b, aa, bb, ab = means.chunk(5, 1)
    similar = (2 * a * b + C1) * (2 * (ab - a * b) + C2)
    return (1.0 - similar / ((a * a + b * b + C1) * (aa - a * a + bb - b * b + C2))) / 2.0


def soft_edges(mask: Tensor, deviation: float) -> Tensor:
    """SAEHD's mask of a loss: blurred by a Gaussian, then ``min(mask, 1/2) · 2``, so that it reaches past the edge.

    Args:
        mask: (B, 1, H, W) in [0, 1].
        deviation: of the Gaussian in pixels.
    """
    side = 2 * math.ceil(2 * deviation) + 1
    return gaussian_blur2d(mask, (side, side), (deviation, deviation)).clamp(max=0.5) * 2.0


class SubjectLoss(nn.Module):
    """What one person's redrawn faces cost: DSSIM and squared errors within the face, and squared errors of the mask.

        structure · mean DSSIM(w y, w x) + pixel · mean v (w y - w x)² + mask · mean (m_y - m_x)²

    of pictures in [0, 1], with w the face's mask or, where ``blurred``, its :func:`soft_edges`, and v = 1 but ``eyes``
    and ``mouth`` there. Outside of w nothing counts and no gradient arises. DFaker: 1, 0, 1 with 3 x 3 windows; SAEHD:
    10, 10, 10, blurred, Gaussian windows; Faceswap's defaults: 1, 1, 1, eyes 3 and mouth 2.

    Args:
        structure, pixel, mask: weights.
        window, sigma: see :func:`dssim`.
        blurred: blur the edge by a 32nd of the side.
        eyes, mouth: by how much more an error of pixels counts there.

    Raises:
        UserError: a window that is even or of no pixel.
    """

    def __init__(
        self,
        structure: float = 1.0,
        pixel: float = 0.0,
        mask: float = 1.0,
        window: int = 3,
        sigma: float | None = None,
        blurred: bool = False,
        eyes: float = 1.0,
        mouth: float = 1.0,
    ) -> None:
        super().__init__()
        if window < 1 or window % 2 == 0:
            raise UserError(f"the window of DSSIM is an odd number of pixels, not {window}.")
        self.structure, self.pixel, self.mask = float(structure), float(pixel), float(mask)
        self.window, self.sigma, self.blurred = window, sigma, blurred
        self.eyes, self.mouth = float(eyes), float(mouth)

    def forward(self, picture: Tensor, mask: Tensor | None, target: Tensor, areas: Tensor) -> dict[str, Tensor]:
        """The terms by name, each times its weight, ().

        Args:
            picture, target: (B, 3, S, S) in [-1, 1].
            mask: (B, 1, S, S) in [0, 1], as drawn; None of a tool that draws none.
            areas: (B, 3, S, S) in [0, 1]: the face, its eyes and its mouth.

        Raises:
            UserError: a weight for a mask that is not drawn.
        """
        face, eyes, mouth = areas.split(1, 1)
        picture = picture.float()
        weight = soft_edges(face, face.shape[-1] / 32) if self.blurred else face
        y, x = ((each.add(1.0).div(2.0)) * weight for each in (picture, target))
        found = {}
        if self.structure:
            found["dssim"] = self.structure * dssim(y, x, self.window, self.sigma).mean()
        if self.pixel:
            more = 1.0 + (self.eyes - 1.0) * eyes + (self.mouth - 1.0) * mouth
            found["pixel"] = self.pixel * (more * (y - x).square()).mean()
        if self.mask:
            if mask is None:
                raise UserError("this tool draws no mask that could be trained; set model.loss.mask=0.")
            found["mask"] = self.mask * (mask.float() - face).square().mean()
        return found
