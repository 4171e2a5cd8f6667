"""What do the right and a wrong key give back? Figures of a reversible anonymizer.

Wen et al., Face De-identification (Springer 2024): requirements in eq. 6.4 to 6.7, identity of right and wrong recovery
against the original in tables 6.3 and 8.6, quality of the right one in tables 6.4 and 8.7.

The right key shall give the person and the picture back. A wrong one shall not give the person (the book's SR of its
incorrect recovery is 1 - ``wrong_verified``), nor may it leave the anonymized face as it is: who holds that face and
can tell that a key changed nothing knows that the key was wrong. So the wrong recovery is compared with the identity of
the anonymized face too, which the book does not do.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from anon.identity.verification import distance, finite_distances
from anon.metrics.preservation import mean_difference, psnr, ssim
from anon.metrics.states import FaceMeans

_FIGURES = ("psnr", "ssim", "mae", "distance", "verified")
NAMES = (*(f"{key}_{figure}" for key in ("right", "wrong") for figure in _FIGURES), "changed_distance", "changed_match")


def key_recovery(
    *,
    target: Tensor,
    right: Tensor,
    wrong: Tensor,
    z_target: Tensor,
    z_changed: Tensor,
    z_right: Tensor,
    z_wrong: Tensor,
    threshold: float,
    metric: str = "cosine",
) -> dict[str, Tensor]:
    """Figures of each face, (B,) float32 each, by :data:`NAMES`.

    ``right_`` and ``wrong_``: ``psnr`` (dB), ``ssim`` and ``mae`` of the recovered picture against the target (units of
    [-1, 1]; the book's MAE is half of it), ``distance`` of its identity to the target's, and ``verified``, 1 where that
    is below the threshold. ``changed_distance`` and ``changed_match``: the same of the wrong recovery's identity and
    the anonymized face's.

    Args:
        target, right, wrong: (B, 3, H, W) in [-1, 1], at least 11 pixels a side: the original, and what is recovered
            from its anonymized face with the right and with a wrong key.
        z_target, z_changed, z_right, z_wrong: (B, D) a judge's embeddings of them and of the anonymized face that was
            made with the right key.
        threshold, metric: the judge's; see :func:`anon.identity.verification.distance`.

    >>> import torch
    >>> face, (one, other) = torch.zeros(1, 3, 16, 16), torch.eye(2).split(1)
    >>> found = key_recovery(target=face, right=face + 0.2, wrong=face, z_target=one, z_changed=other,
    ...                      z_right=one, z_wrong=other, threshold=0.5)
    >>> {name: round(float(found[name]), 3) for name in ("right_psnr", "right_verified", "wrong_verified")}
    {'right_psnr': 20.0, 'right_verified': 1.0, 'wrong_verified': 0.0}
    """
    found = []
    for picture, z in ((right, z_right), (wrong, z_wrong)):
        apart = finite_distances(distance(z, z_target, metric))
        found += [psnr(picture, target), ssim(picture, target), mean_difference(picture, target)]
        found += [apart, apart < threshold]
    near = finite_distances(distance(z_wrong, z_changed, metric))
    return {name: values.float() for name, values in zip(NAMES, (*found, near, near < threshold), strict=True)}


class KeyRecovery(FaceMeans):
    """Means of :func:`key_recovery` over all faces: distances, qualities and rates.

    Args:
        threshold, metric: the judge's.

    A picture that comes back exactly has an infinite PSNR, and then so is the mean.
    """

    names = NAMES

    def __init__(self, threshold: float, metric: str = "cosine") -> None:
        super().__init__()
        self.threshold = threshold
        self.metric = metric

    def each(self, *inputs: Any, **named: Any) -> dict[str, Tensor]:
        """Pictures and embeddings as :func:`key_recovery` takes them, by name."""
        return key_recovery(*inputs, **named, threshold=self.threshold, metric=self.metric)
