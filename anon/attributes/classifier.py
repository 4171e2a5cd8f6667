"""A small network that says which of some binary attributes a face has, and whose features say which faces are alike.

The first step of attribute anonymizers: ResNet-50 with a sigmoid for each attribute in Cao et al. (*Hiding among your
neighbors*, BMSB 2022; eq. 4.3 of Wen et al., *Face De-identification*, Springer 2024), GoogLeNet and forests in Li &
Lin (*AnonymousNet*, CVPRW 2019). ``python train.py experiment=attribute_classifier`` trains the one that ships.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anon.errors import UserError
from anon.faces.alignment import Framing, reframe
from anon.faces.attributes import check_names
from anon.identity.networks.iresnet import IResNet
from anon.weights.files import load_into

ROOM = 1024  # bytes for the names


class AttributeClassifier(nn.Module):
    """Images (B, 3, H, W) in [-1, 1], any size, framed as the faces that it learned -> logits (B, c), positive: has it.

    Args:
        attributes: their names, in the order of the logits.
        size: side at which it looks, pixels.
        widths: channels of its residual stages.
        dim: of the features.
        weights: file or ``shipped:<name>``; None keeps the random start, for training.

    Raises:
        UserError: weights of other attributes, whose columns would be read for these.
    """

    spelled: Tensor  # the names in UTF-8, which go with the weights

    def __init__(
        self,
        attributes: Sequence[str],
        size: int = 64,
        widths: tuple[int, ...] = (24, 48, 96),
        dim: int = 128,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        self.attributes, self.size = check_names(attributes), size
        self.trunk = IResNet((2,) * len(widths), widths, dim=dim, input_size=size, stem_stride=2)
        self.head = nn.Linear(dim, len(self.attributes))
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        told = torch.tensor(list("\n".join(self.attributes).encode()), dtype=torch.uint8)
        self.register_buffer("spelled", F.pad(told, (0, max(0, ROOM - len(told))), value=ord(" ")))
        if weights is not None:
            load_into(self, weights)
            learned = bytes(self.spelled.tolist()).decode(errors="replace").strip().split("\n")
            if learned != list(self.attributes):
                raise UserError(
                    f"the classifier '{weights}' reads {', '.join(learned)}, and {', '.join(self.attributes)} are "
                    "asked for; train one on these (experiment=attribute_classifier)."
                )
            self.eval().requires_grad_(False)

    def features(self, images: Tensor) -> Tensor:
        """The last layer before the attributes (B, dim), in which neighbours are looked for."""
        return F.leaky_relu(self.trunk(reframe(images, Framing.of(self.size))).float(), 0.2)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))

    def read(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, dim), and the attributes (B, c) of 0 and 1."""
        features = self.features(images)
        return features, (self.head(features) > 0).float()


def soft_margin(logits: Tensor, truth: Tensor) -> Tensor:
    """Mean cross-entropy over the known attributes of a batch, (B, c) each; truth is 0, 1, or NaN where unknown.

    >>> known = soft_margin(torch.tensor([[0.0, 2.0]]), torch.tensor([[1.0, torch.nan]]))
    >>> round(known.item(), 4)  # log 2
    0.6931
    """
    known = ~truth.isnan()
    each = F.binary_cross_entropy_with_logits(logits, truth.nan_to_num(), reduction="none")
    return (each * known).sum() / known.sum().clamp(min=1)


def balanced(read: Tensor, truth: Tensor) -> Tensor:
    """Mean of how often those with and those without it are read rightly, (c,), of (N, c); NaN where one is missing.

    >>> balanced(torch.tensor([[1.0], [0.0], [0.0], [0.0]]), torch.tensor([[1.0], [1.0], [0.0], [0.0]]))
    tensor([0.7500])
    """
    right = read == truth
    rates = [(right & (truth == kind)).sum(0) / (truth == kind).sum(0) for kind in (1, 0)]
    return (rates[0] + rates[1]) / 2
