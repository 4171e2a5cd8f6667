"""HiFD's scores of de-identified faces and its composite under three profiles, by its formulas (package hifd 0.1.0).

    P = (1 - cos) / 2                         of the embeddings of the original and the changed face
    Q = (1 - clip(LPIPS)) / 2 + clip((5 - NIQE) / 5) / 2
    U1 = mean of   age         1 - |years| / 100
                   gender, ethnicity, expression    1 - total variation of the class probabilities
                   landmarks   1 - NME / .10, with the distance of the eyes' centres as the unit
    U2 = gaze      1 - angle / 90°
    U3 = pulse     which nothing here reads

each clipped to [0, 1]; 1 is best. The composite is their weighted *harmonic* mean. Parts that nobody measured are
dropped and the other weights made larger, so a composite must be read with what it lacks. Two things are not as in the
package's own pipeline: it writes the raw NIQE in the place of Q (a NIQE of 4.2 is a "Q" of 4.2), and a face that one
side lacks costs nothing there. ``P`` rewards negation: unrelated faces have .5 and an embedding that is turned round
has 1, though whoever asks with its negative finds the person; read ¬ID beside it.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

PARTS = ("P", "Q", "U1", "U2", "U3")
PROFILES: Mapping[str, Mapping[str, float]] = {
    "privacy_first": {"P": 0.5, **dict.fromkeys(PARTS[1:], 0.125)},
    "balanced": dict.fromkeys(PARTS, 0.2),
    "clinical": {**dict.fromkeys(PARTS[:-1], 0.15), "U3": 0.4},
}


def privacy_score(cosine: Tensor) -> Tensor:
    """P of cosines (B,) between originals and changed faces, (B,).

    >>> privacy_score(torch.tensor([1.0, 0.0, -1.0]))
    tensor([0.0000, 0.5000, 1.0000])
    """
    return ((1.0 - cosine) / 2).clamp(0.0, 1.0)


def quality_score(lpips: Tensor, niqe: Tensor) -> Tensor:
    """Q of LPIPS and NIQE, each (B,).

    >>> quality_score(torch.tensor([0.1]), torch.tensor([4.2]))  # (.9 + .16) / 2
    tensor([0.5300])
    """
    return (1.0 - lpips.clamp(0.0, 1.0)) / 2 + ((5.0 - niqe) / 5).clamp(0.0, 1.0) / 2


def age_score(before: Tensor, after: Tensor) -> Tensor:
    """Of ages in years, (B,) each.

    >>> age_score(torch.tensor([30.0]), torch.tensor([55.0]))
    tensor([0.7500])
    """
    return (1.0 - (after - before).abs() / 100).clamp(0.0, 1.0)


def distribution_score(before: Tensor, after: Tensor) -> Tensor:
    """Of class probabilities (B, C): 1 minus their total variation, (B,).

    >>> distribution_score(torch.tensor([[0.75, 0.25]]), torch.tensor([[0.25, 0.75]]))
    tensor([0.5000])
    """
    return (1.0 - (after - before).abs().sum(-1) / 2).clamp(0.0, 1.0)


def landmark_score(before: Tensor, after: Tensor, left_eye: Tensor, right_eye: Tensor) -> Tensor:
    """Of landmarks (B, K, 2): 1 where they stay, 0 where they move by a tenth of the distance of the eyes, (B,).

    Args:
        left_eye, right_eye: (B, 2) centres in the original.

    >>> points = torch.tensor([[[0.0, 0.0], [10.0, 0.0]]])
    >>> landmark_score(points, points + torch.tensor([0.5, 0.0]), points[:, 0], points[:, 1])
    tensor([0.5000])
    """
    apart = (after - before).norm(dim=-1).mean(-1)
    unit = (right_eye - left_eye).norm(dim=-1)
    return (1.0 - apart / unit / 0.10).clamp(0.0, 1.0)


def gaze_score(before: Tensor, after: Tensor) -> Tensor:
    """Of gaze angles (B, 2) in degrees, x towards the image's right and y up: 0 at a right angle, (B,).

    >>> gaze_score(torch.tensor([[0.0, 0.0]]), torch.tensor([[45.0, 0.0]]))
    tensor([0.5000])
    """
    cosine = (directions(before) * directions(after)).sum(-1).clamp(-1.0, 1.0)
    return (1.0 - torch.rad2deg(torch.arccos(cosine)) / 90).clamp(0.0, 1.0).float()


def directions(gaze: Tensor) -> Tensor:
    """Unit vectors (B, 3) float64 of gaze angles (B, 2): x towards the image's right, y up, z towards the camera.

    >>> directions(torch.tensor([[0.0, 0.0], [90.0, 0.0]])).round(decimals=6).tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    across, up = torch.deg2rad(gaze.double()).unbind(-1)
    return torch.stack([across.sin() * up.cos(), up.sin(), across.cos() * up.cos()], -1)


def composite(parts: Mapping[str, Tensor], profile: str) -> Tensor:
    """The weighted harmonic mean of the parts that there are, each of one shape; 0 where one of them is 0.

    Args:
        parts: some of :data:`PARTS`, at least one.
        profile: one of :data:`PROFILES`.

    >>> half = torch.tensor(0.5)
    >>> composite({"P": torch.tensor(1.0), "Q": half, "U1": half, "U2": half}, "balanced")  # .8 / (.2 + 3 x .4)
    tensor(0.5714)
    """
    weights = PROFILES[profile]
    whole = sum(weights[name] for name in parts)
    return whole / torch.stack([weights[name] / value for name, value in parts.items()]).sum(0)


def covered(names: Mapping[str, object], profile: str) -> float:
    """Share of a profile's weights whose parts there are.

    >>> covered({"P": None, "Q": None, "U1": None, "U2": None}, "clinical")
    0.6
    """
    return round(sum(PROFILES[profile][name] for name in names), 9)
