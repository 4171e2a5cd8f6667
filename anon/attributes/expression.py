"""Paper II's expression embedder: how far apart two expressions are, as a distance of two vectors.

An encoder trained with a class-weighted supervised contrastive loss on expression classes and with a head for valence
and arousal, then a classifier on the frozen encoder: ``python train.py experiment=expression``. The L2 distance of two
embeddings is "Exp" of the swap benchmarks.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from anon.attributes.framing import imagenet
from anon.faces.alignment import Framing, align, reframe
from anon.identity.networks.iresnet import IResNet
from anon.weights.files import load_into


class EfficientNetB0(nn.Module):
    """EfficientNet-B0 (Tan & Le, ICML 2019) as torchvision builds it, without its classifier: the paper's encoder.

    ``(B, 3, H, W)`` in [-1, 1] -> ``(B, 1280)``; ImageNet's normalization is its own affair.

    Args:
        weights: torchvision's ``efficientnet_b0_rwightman-7f5810bc.pth`` as a local file; None: random start.

    Raises:
        UserError: see :func:`anon.weights.files.load_into`.
    """

    dim = 1280
    unused = ("classifier.",)  # ImageNet's, in the published file

    def __init__(self, weights: str | None = None) -> None:
        super().__init__()
        from torchvision.models import efficientnet_b0  # takes a second

        self.features = efficientnet_b0(weights=None).features
        if weights is not None:
            load_into(self, weights)

    def forward(self, images: Tensor) -> Tensor:
        return self.features(imagenet(images)).mean((2, 3))


class ExpressionEmbedder(nn.Module):
    """An :class:`anon.attributes.contract.Estimator` that reads ``expression`` (B, D), embeddings of unit norm.

    Their L2 distance lies in [0, 2]. Images may have any size; with ``points`` they are aligned first.

    Args:
        size: side at which it looks, pixels.
        classes: that the classifier tells apart.
        trunk: (B, 3, size, size) -> (B, trunk.dim); None: the small IResNet of
            :class:`anon.attributes.regressor.AttributeRegressor`.
        projection: width of the head that the contrastive loss sees and nothing else (Khosla et al.).
        weights: file or ``shipped:<name>``; None keeps the random start, for training.
    """

    name = "expression"
    reads: tuple[str, ...] = ("expression",)

    def __init__(
        self,
        size: int = 64,
        classes: int = 8,
        trunk: nn.Module | None = None,
        projection: int = 64,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        self.size, self.classes = size, classes
        self.trunk = trunk or IResNet((2, 2, 2), (32, 64, 128), dim=128, input_size=size, stem_stride=2)
        self.dim = int(self.trunk.dim)  # type: ignore[arg-type]
        self.projection = nn.Sequential(nn.Linear(self.dim, self.dim), nn.ReLU(), nn.Linear(self.dim, projection))
        self.affect = nn.Linear(self.dim, 2)
        self.classifier = nn.Linear(self.dim, classes)
        if weights is not None:
            load_into(self, weights)
            self.eval().requires_grad_(False)

    def features(self, images: Tensor) -> Tensor:
        """What all heads look at, (B, D) float32, not normalized."""
        return self.trunk(reframe(images, Framing.of(self.size))).float()

    def project(self, features: Tensor) -> Tensor:
        """(B, P) of unit norm, for the contrastive loss."""
        return F.normalize(self.projection(features).float())

    def judge(self, features: Tensor) -> dict[str, Tensor]:
        """``expression`` (B, D) of unit norm, ``logits`` (B, classes), ``affect`` (B, 2): valence, arousal in ±1."""
        return {
            "expression": F.normalize(features),
            "logits": self.classifier(features).float(),
            "affect": self.affect(features).float().tanh(),
        }

    def forward(self, images: Tensor, points: Tensor | None = None) -> dict[str, Tensor]:
        if points is not None:
            images = align(images, points, self.size)
        return {"expression": F.normalize(self.features(images))}
