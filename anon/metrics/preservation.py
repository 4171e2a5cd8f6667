"""What stays of the picture: difference, mask area, PSNR, SSIM, LPIPS, whether a detector finds it; one value per face.

Images are (B, 3, H, W) in [-1, 1], so the largest possible difference is 2. Each class is the mean over all faces of
its function.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from anon.errors import UserError
from anon.faces.detection.contract import Detector
from anon.metrics.detection_confidence import best_detections
from anon.metrics.states import FaceMean
from anon.weights.files import read


def mean_difference(changed: Tensor, target: Tensor) -> Tensor:
    """Mean |X_c - X_t| of each face (MAE), (B,), in units of the [-1, 1] range; half of it is the MAE in [0, 1].

    >>> mean_difference(torch.full((1, 3, 4, 4), 0.5), torch.zeros(1, 3, 4, 4))
    tensor([0.5000])
    """
    return (changed - target).abs().flatten(1).mean(1)


def mask_area(mask: Tensor) -> Tensor:
    """Mean of each mask (B, 1, H, W) in [0, 1]: the share of the picture that was replaced, (B,).

    >>> mask_area(torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]]))
    tensor([0.2500])
    """
    return mask.flatten(1).mean(1)


def psnr(changed: Tensor, target: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each face, (B,) dB: 10 log10(2² / MSE); infinite for equal images (torchmetrics).

    >>> psnr(torch.full((1, 3, 4, 4), 0.2), torch.zeros(1, 3, 4, 4))
    tensor([20.])
    """
    values = peak_signal_noise_ratio(changed, target, data_range=2.0, reduction="none", dim=(1, 2, 3))
    return torch.as_tensor(values).reshape(len(changed))


def ssim(changed: Tensor, target: Tensor) -> Tensor:
    """Structural similarity of each pair, (B,), 1 for equal images (Wang 2004; 11 x 11 Gaussian window, torchmetrics).

    Of the pictures in [0, 1], as everybody's: its luminance term compares the local means with their squares, so black
    must be 0. In [-1, 1] middle grey would be, and two greys of nearly one brightness would have nothing in common.

    >>> ssim(torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 16))
    tensor([1.])
    """
    values = structural_similarity_index_measure(
        (changed + 1.0) / 2.0, (target + 1.0) / 2.0, data_range=1.0, reduction="none"
    )
    return torch.as_tensor(values).reshape(len(changed))


def feature_distance(changed: Sequence[Tensor], target: Sequence[Tensor]) -> Tensor:
    """LPIPS' form without its learned weights, on any network's maps, (B,) (Zhang et al., CVPR 2018, eq. 1 with w = 1).

    ``d = sum over l of the mean over places of |u_l(X_c) - u_l(X_t)|²``, u_l a map whose channels are scaled to unit
    norm at each place. So a layer gives at most 4, and 2 - 2 cos at every place: 2 where the features are orthogonal.

    Args:
        changed: L maps (B, C_l, H_l, W_l) of the changed faces.
        target: of those that they are compared with, the same shapes.

    >>> feature_distance([torch.tensor([[[[3.0]], [[0.0]]]])], [torch.tensor([[[[0.0]], [[5.0]]]])])
    tensor([2.])
    """
    pairs = zip(changed, target, strict=True)
    layers = [(_unit(c) - _unit(t)).square().sum(1).flatten(1).mean(1) for c, t in pairs]
    return torch.stack(layers).sum(0)


def _unit(x: Tensor) -> Tensor:
    """Channels scaled to unit norm at each place; a place without any feature stays 0."""
    return F.normalize(x.float(), dim=1, eps=1e-10)


class Lpips(nn.Module):
    """Perceptual distance (Zhang 2018, v0.1) with an AlexNet from a local file; nothing is downloaded.

    Args:
        path: torchvision's ``alexnet-owt-7be5be79.pth``. The lpips package has the linear layers only.

    Raises:
        UserError: missing or unfit file.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        import lpips  # imports torchvision's models, which takes a second

        state = read(path)
        self.network = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
        own = self.network.net.state_dict()  # slice1.0.weight, ...: the number is that of torchvision's `features`
        filled = {key: state.get("features." + key.split(".", 1)[1]) for key in own}
        wrong = [key for key, value in filled.items() if value is None or value.shape != own[key].shape]
        if wrong:
            raise UserError(f"'{path}' is not torchvision's AlexNet, which LPIPS needs ({wrong[0]} does not fit).")
        self.network.net.load_state_dict(filled)
        self.requires_grad_(False)
        self.eval()

    def forward(self, changed: Tensor, target: Tensor) -> Tensor:
        """(B,) distances, 0 for equal images. At least 64 pixels a side (AlexNet's strides)."""
        return self.network(changed, target).flatten()


def detected(detector: Detector, images: Tensor) -> Tensor:
    """Whether a detector finds a face, (B,) bool, on the images' device; :func:`best_detections` frames it."""
    _, boxes = best_detections(detector, images)
    return boxes[:, 0].isfinite()


class MeanDifference(FaceMean):
    """The class of :func:`mean_difference`."""

    higher_is_better = False
    each = staticmethod(mean_difference)  # type: ignore[assignment]


class Psnr(FaceMean):
    """The class of :func:`psnr`: a mean of dB, so one face that did not change at all makes it infinite."""

    higher_is_better = True
    each = staticmethod(psnr)  # type: ignore[assignment]


class MaskArea(FaceMean):
    """The class of :func:`mask_area`."""

    higher_is_better = False
    each = staticmethod(mask_area)  # type: ignore[assignment]


class Ssim(FaceMean):
    """The class of :func:`ssim`.

    >>> metric = Ssim()
    >>> metric.update(torch.zeros(2, 3, 16, 16), torch.zeros(2, 3, 16, 16))
    >>> metric.compute()
    tensor(1.)
    """

    higher_is_better = True
    each = staticmethod(ssim)  # type: ignore[assignment]


class FeatureDistance(FaceMean):
    """The class of :func:`feature_distance`."""

    higher_is_better = False
    each = staticmethod(feature_distance)  # type: ignore[assignment]
