"""What must stay when a face changes, and the one form in which every estimator tells it.

===============  ==================================================================================================
``pose``         (B, 3) degrees: yaw, pitch, roll, right-handed, as in ``anon.faces.contract.Sample``
``expression``   (B, E) the estimator's own expression vector: class probabilities, coefficients or an embedding
``gaze``         (B, 2) degrees: x towards the image's right, y up
``landmarks``    (B, K, 2) pixels of the image that was given
``action_units`` (B, A) intensities in [0, 5] (FACS, as OpenFace prints them)
``age``          (B,) years
``gender``       (B,) probability of "female" in [0, 1], as the network's authors labelled it
===============  ==================================================================================================
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor

#: All that an estimator may read.
READABLE = ("pose", "expression", "gaze", "landmarks", "action_units", "age", "gender")


@runtime_checkable
class Estimator(Protocol):
    """Reads some of :data:`READABLE` off faces.

    ``images`` is (B, 3, H, W) in [-1, 1]. ``points`` (B, 5, 2) says where the face lies in it, so that an estimator can
    frame the face as its network was trained; None: the image is an aligned crop (``anon.faces.alignment.template``).
    """

    name: str
    reads: tuple[str, ...]  # the keys that a call returns

    def __call__(self, images: Tensor, points: Tensor | None = None) -> dict[str, Tensor]: ...
