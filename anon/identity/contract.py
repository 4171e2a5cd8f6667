"""Who a face is: the forms that encoders, judges and policies share.

An *encoder* conditions the generator and gives the training loss: gradients reach the image. A *judge* only measures,
and is never the network that trained. A *policy* turns the identity that a face has into the identity it shall seem to
have.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from anon.errors import Failed, UserError

#: What a call to a policy or an anonymizer may leave out, and where its random draws come from.
Given = Tensor | None
Draws = torch.Generator | None
#: How a judge's embeddings are compared: :func:`anon.identity.verification.distance`.
METRICS = ("cosine", "euclidean")
#: How plots and sentences name them.
DISTANCES = {"cosine": "cosine distance", "euclidean": "Euclidean distance"}


class Embedded(NamedTuple):
    """What one pass of an encoder gives: ``z`` is (B, D) with unit L2 norm, ``maps`` the asked-for feature maps."""

    z: Tensor
    maps: tuple[Tensor, ...]


@runtime_checkable
class EncoderLike(Protocol):
    """Frozen recognizer in eval mode. Takes image batches of any H x W and does its own resizing and normalization."""

    name: str
    dim: int

    def __call__(self, images: Tensor, layers: Sequence[str] = ()) -> Embedded: ...


@runtime_checkable
class JudgeLike(Protocol):
    """A recognizer that measures. ``metric`` is "cosine" (unit vectors) or "euclidean" (raw vectors, as dlib).

    ``threshold`` is the distance below which two faces are one person, as its makers or a calibration found it, or
    None; ``fingerprint`` tells whether it is the network that trained; ``embed`` gives no gradient.
    """

    name: str
    metric: str
    threshold: float | None
    fingerprint: str

    def embed(self, images: Tensor) -> Tensor: ...


def check_judge(judge: object) -> None:
    """The door of whatever takes a judge.

    Raises:
        UserError: it lacks a part of :class:`JudgeLike`, or its metric or threshold cannot be.
    """
    name = getattr(judge, "name", None) or type(judge).__name__
    missing = [part for part in ("name", "metric", "threshold", "fingerprint", "embed") if part not in dir(judge)]
    if missing or not callable(judge.embed):  # type: ignore[attr-defined]
        raise UserError(f"The judge '{name}' is none: it has no {', '.join(missing) or 'embed() to call'}.")
    metric, threshold = judge.metric, judge.threshold  # type: ignore[attr-defined]
    if metric not in METRICS:
        raise UserError(f"The judge '{name}' declares the metric {metric!r}; known are {' and '.join(METRICS)}.")
    if threshold is not None and not (math.isfinite(threshold) and threshold > 0):
        raise UserError(f"The judge '{name}' declares the threshold {threshold}, which is no distance above 0.")


def check_embeddings(z: Tensor, count: int, judge: JudgeLike) -> Tensor:
    """What a recognizer gave for ``count`` faces, if it is ``count`` embeddings.

    Raises:
        Failed: another shape, NaN or infinite numbers, or, where directions are compared, lengths that are not 1. All
            distances to such a vector would be far, or NaN, and so below no threshold.
    """
    who = f"The recognizer '{judge.name}'"
    if z.ndim != 2 or len(z) != count:
        raise Failed(f"{who} gave {tuple(z.shape)} for {count} faces, which are not their embeddings.")
    if not bool(z.isfinite().all()):
        raise Failed(f"{who} gave embeddings with NaN or infinite numbers.")
    if judge.metric == "cosine" and count and float((z.float().norm(dim=1) - 1).abs().max()) > 0.01:
        raise Failed(f"{who} gave embeddings whose length is not 1.")
    return z


@runtime_checkable
class PolicyLike(Protocol):
    """``z`` (B, D) unit norm -> the *wanted* identity z_a (B, D) unit norm, whatever the generator's ``steers`` is.

    ``source`` (B, D) another person's embedding, ``key`` (B,) or (B, n) int64 secret, ``track`` (B,) int64 track number
    of a video; random draws come only from ``rng``. A policy that does not use an argument ignores it; one that needs
    it raises ``UserError`` when it is None.
    """

    def __call__(
        self, z: Tensor, *, source: Given = None, key: Given = None, track: Given = None, rng: Draws = None
    ) -> Tensor: ...
