"""A small network that reads off a rendered face what its person looks like: skin, hair, beard, the head's outline.

An anonymizer may deceive every recognizer by a pattern while people still see the same person. The renderer knows what
a person looks like (:mod:`anon.faces.synthetic.look`), so a network can learn to tell it, and the distance of two
readings says how different two people look. Trained by ``python train.py experiment=look``.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from kornia.filters import gaussian_blur2d
from torch import Tensor, nn

from anon.faces.alignment import Framing, reframe
from anon.faces.synthetic.look import LOOK
from anon.identity.networks.iresnet import IResNet
from anon.weights.files import load_into


class LookRegressor(nn.Module):
    """Images (B, 3, H, W) in [-1, 1], any size, framed as the synthetic faces -> a look (B, K) to measure distances in.

    A parameter k is read as ``y_k``, in standard deviations from the mean of the training people, and counts as
    ``sqrt(w_k) y_k`` with ``w_k`` its share of the variance that is explained on background people (R², 0 where that is
    below 0). So the squared distance of two looks is ``sum over k of w_k (y_k - y'_k)²``, and what cannot be told from
    a picture does not count.

    Args:
        size: side at which it looks, pixels.
        widths: channels of its residual stages.
        blur: sigma of the Gaussian blur before it looks, pixels of ``size``: fine patterns are no look; 0: none.
        weights: file or ``shipped:<name>``; None keeps the random start, for training.
    """

    mean: Tensor  # (K,) of the training people, in the renderer's units
    std: Tensor  # (K,)
    readable: Tensor  # (K,) R² on background people, 0 at least

    def __init__(
        self,
        size: int = 32,
        widths: tuple[int, ...] = (24, 48, 96),
        blur: float = 0.5,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        self.size, self.blur = size, float(blur)
        self.trunk = IResNet((2,) * len(widths), widths, dim=128, input_size=size, stem_stride=2)
        self.head = nn.Linear(128, len(LOOK))
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.register_buffer("mean", torch.zeros(len(LOOK)))
        self.register_buffer("std", torch.ones(len(LOOK)))
        self.register_buffer("readable", torch.zeros(len(LOOK)))
        if weights is not None:
            load_into(self, weights)
            self.eval().requires_grad_(False)

    def read(self, images: Tensor) -> Tensor:
        """The parameters (B, K) in standard deviations from the mean of the training people, columns ``LOOK``."""
        seen = reframe(images, Framing.of(self.size))
        if self.blur > 0:
            side = 2 * int(3 * self.blur + 0.5) + 1
            seen = gaussian_blur2d(seen, (side, side), (self.blur, self.blur))
        return self.head(F.leaky_relu(self.trunk(seen).float(), 0.2))

    def forward(self, images: Tensor) -> Tensor:
        return self.read(images) * self.readable.sqrt()

    def standardized(self, look: Tensor) -> Tensor:
        """True parameters (B, K) in the renderer's units -> in those of :meth:`read`."""
        return (look - self.mean) / self.std


def explained(read: Tensor, truth: Tensor) -> Tensor:
    """Share of each column's variance that is read, R² (K,), of (N, K); below 0 where the mean would do better.

    >>> explained(torch.tensor([[0.0, 1.0], [2.0, 1.0]]), torch.tensor([[0.0, 0.0], [2.0, 2.0]]))
    tensor([1., 0.])
    """
    left = (read - truth).square().sum(0)
    return 1.0 - left / (truth - truth.mean(0)).square().sum(0)
