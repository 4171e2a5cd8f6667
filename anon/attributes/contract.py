"""What must stay when a face changes, and the one form in which every estimator tells it.

* ``pose``: (B, 3) degrees: yaw, pitch, roll, right-handed, as in ``anon.faces.contract.Sample``
* ``expression``: (B, E) the estimator's own expression vector: class probabilities, coefficients or an embedding
* ``gaze``: (B, 2) degrees: x towards the image's right, y up
* ``landmarks``: (B, K, 2) pixels of the image that was given
* ``action_units``: (B, A) intensities in [0, 5] (FACS, as OpenFace prints them)
* ``age``: (B,) years
* ``gender``: (B,) probability of "female" in [0, 1], as the network's authors labelled it
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from anon.errors import Failed

FLOAT_MAX = torch.finfo(torch.float32).max

#: All that an estimator may read.
READABLE = ("pose", "expression", "gaze", "landmarks", "action_units", "age", "gender")

#: What a reading can be at most, with some slack for networks that overshoot; the others have no bounds.
BOUNDS = {
    "pose": (-360.0, 360.0),
    "gaze": (-360.0, 360.0),
    "action_units": (-1.0, 6.0),
    "age": (-20.0, 150.0),
    "gender": (-0.01, 1.01),
}


def check_readings(found: Mapping[str, Tensor], count: int, who: str) -> dict[str, Tensor]:
    """The door of readings: ``found`` if each has one row for each of ``count`` faces and lies within its bounds.

    NaN passes: it says that nothing could be read off a face, and no measure takes it for a number.

    Raises:
        Failed: anything else.
    """
    for name, value in found.items():
        if len(value) != count:
            raise Failed(f"{who} gave {len(value)} readings of {name} for {count} faces.")
        low, high = BOUNDS.get(name, (-FLOAT_MAX, FLOAT_MAX))
        if bool(((value < low) | (value > high)).any()):
            raise Failed(f"{who} read a {name} of {float(value[~value.isnan()].abs().max()):.3g}, which none has.")
    return dict(found)


@runtime_checkable
class Estimator(Protocol):
    """Reads some of :data:`READABLE` off faces.

    ``images`` is (B, 3, H, W) in [-1, 1]. ``points`` (B, 5, 2) says where the face lies in it, so that an estimator can
    frame the face as its network was trained; None: the image is an aligned crop (``anon.faces.alignment.template``).
    """

    name: str
    reads: tuple[str, ...]  # the keys that a call returns

    def __call__(self, images: Tensor, points: Tensor | None = None) -> dict[str, Tensor]: ...
