"""Losses on lists of feature maps: weak feature matching, attribute maps, perceptual distances.

Each takes two lists of L maps (B, C_l, H_l, W_l); ``same`` (B,) bool chooses the faces that count.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anon.errors import UserError
from anon.losses.pixel import mean_of_same
from anon.weights import files

#: VGG-16's convolutions and poolings; "M" halves the resolution.
_VGG16 = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M")
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet


def feature_matching(target: Sequence[Tensor], changed: Sequence[Tensor]) -> Tensor:
    """Mean over the maps of the mean ``|f_l(X_t) - f_l(X_c)|``."""
    return torch.stack([F.l1_loss(c.float(), t.float()) for t, c in zip(target, changed, strict=True)]).mean()


def attribute_loss(target: Sequence[Tensor], changed: Sequence[Tensor]) -> Tensor:
    """FaceShifter's L_att, ``1/2 sum over l of mean (f_l(X_c) - f_l(X_t))^2`` (CVPR 2020, eq. 4).

    The paper writes squared norms; the mean, as in the public re-implementations, keeps the maps' sizes out of it.

    >>> attribute_loss([torch.zeros(1, 1, 2, 2)], [torch.full((1, 1, 2, 2), 2.0)]).item()
    2.0
    """
    return 0.5 * torch.stack([F.mse_loss(c.float(), t.float()) for t, c in zip(target, changed, strict=True)]).sum()


class FeatureMatching(nn.Module):
    """SimSwap's *weak* feature matching: only the last ``last`` maps of the discriminator (ACM MM 2020, eq. 4)."""

    def __init__(self, last: int = 2) -> None:
        super().__init__()
        if last < 1:
            raise UserError(f"feature matching needs one map or more, not {last}.")
        self.last = last

    def forward(self, target: Sequence[Tensor], changed: Sequence[Tensor]) -> Tensor:
        return feature_matching(target[-self.last :], changed[-self.last :])


class AttributeLoss(nn.Module):
    """:func:`attribute_loss`; gradients flow through both pictures' maps."""

    def forward(self, target: Sequence[Tensor], changed: Sequence[Tensor]) -> Tensor:
        return attribute_loss(target, changed)


class RecognizerPerceptual(nn.Module):
    """A perceptual loss without VGG: L1 between the recognizer's maps, over the pairs that have a right answer."""

    def forward(self, target: Sequence[Tensor], changed: Sequence[Tensor], same: Tensor) -> Tensor:
        pairs = zip(target, changed, strict=True)
        each = torch.stack([(c.float() - t.float()).abs().flatten(1).mean(1) for t, c in pairs]).mean(0)
        return mean_of_same(each, same)


class VGGPerceptual(nn.Module):
    """L1 between VGG-16's five pooled maps of ``changed`` and ``target``, over same pairs (FaceDancer, section 3.4).

    Args:
        weights: state dict of torchvision's VGG-16 (``vgg16-397923af.pth``), by path; its classifier is ignored.

    Raises:
        UserError: the file is missing or another network's.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, weights: str) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width in _VGG16:
            if isinstance(width, str):
                layers.append(nn.MaxPool2d(2))
            else:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
        self.features = nn.Sequential(*layers)
        state = files.read(Path(weights))
        wanted = {f"features.{name}": value for name, value in self.features.state_dict().items()}
        wrong = [name for name, value in wanted.items() if name not in state or state[name].shape != value.shape]
        if wrong:
            raise UserError(f"'{weights}' is not a state dict of VGG-16: it lacks a fitting '{wrong[0]}'.")
        self.features.load_state_dict({name.removeprefix("features."): state[name] for name in wanted})
        self.requires_grad_(False)
        self.register_buffer("mean", torch.tensor(_MEAN).mul(2).sub(1).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).mul(2).view(3, 1, 1), persistent=False)

    def forward(self, changed: Tensor, target: Tensor, same_index: Tensor) -> Tensor:
        """``changed`` and ``target`` (B, 3, H, W) in [-1, 1]; ``same_index`` (at most B,): the pairs that count."""
        if not len(same_index):
            return changed.sum() * 0.0
        x = (torch.cat((changed[same_index], target[same_index].detach())) - self.mean) / self.std
        found = x.new_zeros(())
        for layer in self.features:
            x = layer(x)
            if isinstance(layer, nn.MaxPool2d):
                found = found + F.l1_loss(*x.float().chunk(2))
        return found
