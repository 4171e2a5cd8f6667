"""The image contract that every room shares, and the checks at the door.

* *image batch*: float32 ``(B, 3, H, W)``, RGB, range [-1, 1]; an aligned crop shows what
  :class:`anon.faces.alignment.Framing` says for its side
* *frame*: uint8 ``(H, W, 3)``, RGB, as on disk or from a video
* *five points*: float32 ``(B, 5, 2)``, pixels, x then y; left eye, right eye, nose, left and right mouth corner, as
  seen in the image. Pixel (0, 0) is the *centre* of the first pixel.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol, TypedDict, TypeGuard, cast, runtime_checkable

import torch
from torch import Tensor
from torch.utils.data import default_collate

from anon.errors import Failed


class Sample(TypedDict, total=False):
    """One face of a data set (or a collated batch of them, with a leading ``B``).

    ``image``, ``identity``, ``video`` and ``frame`` are always there; the rest only where the data has them.
    """

    image: Tensor  # (3, H, W) float32 in [-1, 1]
    identity: Tensor  # () int64, index into FaceSet.names
    video: Tensor  # () int64, index of the clip among the identity's clips, -1 for a still
    frame: Tensor  # () int64, frame in the clip, or the number of the still
    pose: Tensor  # (3,) degrees: yaw, pitch, roll, right-handed
    expression: Tensor  # (4,) mouth opening [0, 1], smile [-1, 1], brow raise [-1, 1], blink [0, 1]
    gaze: Tensor  # (2,) degrees: x (towards the image's right), y (up)
    light: Tensor  # (3,) azimuth, elevation in degrees, strength in [0, 1]
    landmarks: Tensor  # (5, 2) pixels, the five points
    pulse: Tensor  # () float32 beats a minute of the clip, NaN of a still
    expression_class: Tensor  # () int64, index into the data set's classes, -1 unknown
    valence: Tensor  # () float32 in [-1, 1], NaN unknown
    arousal: Tensor  # () float32 in [-1, 1], NaN unknown


class Label(NamedTuple):
    """What a data set says of its pictures under one name, such as skin tone or glasses.

    ``values`` (N,): int64 indices into ``classes``, -1 unknown; without classes float32 numbers, NaN unknown.
    """

    values: Tensor
    classes: tuple[str, ...] = ()


@runtime_checkable
class FaceSet(Protocol):
    """One identity-disjoint split of a data set: map-style, indexable, with its labels known without reading images."""

    names: list[str]  # identity names; `labels` indexes into it
    labels: Tensor  # (N,) int64
    videos: Tensor  # (N,) int64, -1 for stills
    frames: Tensor  # (N,) int64
    synthetic: bool  # True: the faces belong to nobody and may be shown and logged

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...


class Collated(ABC):
    """A :class:`FaceSet` that collates its batches itself: an item is a batch of one.

    ``given``: labels of its pictures by name, from a table (:mod:`anon.faces.labels`).
    """

    labels: Tensor
    videos: Tensor
    frames: Tensor
    given: Mapping[str, Label] = MappingProxyType({})

    def __len__(self) -> int:
        return len(self.labels)

    def annotations(self) -> Mapping[str, Label]:
        """Named labels of the pictures, each of all N: those that the set brings, and those of a table."""
        return self.given

    @abstractmethod
    def __getitems__(self, indices: list[int]) -> Sample:
        """The batch of ``indices``: every entry has a leading ``B``."""

    def __getitem__(self, index: int) -> Sample:
        return cast(Sample, {key: cast(Tensor, value)[0] for key, value in self.__getitems__([index]).items()})

    def sample(self, indices: list[int], image: Tensor) -> Sample:
        """The batch of ``indices`` with what every set knows of its faces, and their pictures."""
        return Sample(
            image=image, identity=self.labels[indices], video=self.videos[indices], frame=self.frames[indices]
        )


def annotations_of(faces: FaceSet) -> Mapping[str, Label]:
    """The named labels of a set's pictures; none where it brings none."""
    found = getattr(faces, "annotations", None)
    return found() if callable(found) else {}


class People(Protocol):
    """A data module: the faces of each of its splits."""

    name: str

    def faces(self, split: str) -> FaceSet: ...


class RawFaces(FaceSet, Protocol):
    """A face set that keeps square frames and gives them as they are, a quarter of the bytes of an image batch."""

    size: int  # side of the frames in pixels
    raw: bool  # False: its images are not frames as they lie on disk, and raw_batch must not be called

    def raw_batch(self, indices: list[int], out: Tensor | None = None) -> Sample:
        """The collated batch of ``indices`` with ``image`` uint8 ``(B, size, size, 3)``, written to ``out`` if given;
        :func:`float_batch` makes of it what ``__getitems__`` gives.
        """


def batch_of(faces: FaceSet, indices: list[int]) -> Sample:
    """The collated batch of ``indices``; a set that collates batches itself is faster."""
    fetch = getattr(faces, "__getitems__", None)
    return cast(Sample, default_collate([faces[index] for index in indices]) if fetch is None else fetch(indices))


def is_raw(faces: FaceSet) -> TypeGuard[RawFaces]:
    """Whether a set has frames to give."""
    return bool(getattr(faces, "raw", False))


def check_images(images: Tensor, name: str = "images") -> Tensor:
    """Return ``images`` if they are a float ``(B, 3, H, W)`` batch in [-1, 1] (0.01 of slack for resampling).

    Raises:
        ValueError: naming what is wrong. An all-[0, 1] or a 0..255 batch is the classic mistake; the latter is caught.
    """
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"{name} must be (B, 3, H, W), got {tuple(images.shape)}.")
    if not images.is_floating_point():
        raise ValueError(f"{name} must be floating point in [-1, 1], got {images.dtype}; see to_float().")
    if images.numel() and not bool(torch.isfinite(images).all()):
        raise ValueError(f"{name} holds NaN or infinite values.")
    if images.numel() and float(images.detach().abs().amax()) > 1.01:
        raise ValueError(f"{name} must lie in [-1, 1], got up to {float(images.detach().abs().amax()):.3g}.")
    return images


def to_float(frames: Tensor) -> Tensor:
    """uint8 ``(..., H, W, 3)`` in 0..255 to float32 ``(..., 3, H, W)`` in [-1, 1], the same numbers on every device."""
    # A number on the device: by a Python one, CUDA multiplies with the reciprocal, which rounds otherwise.
    half = torch.full((), 127.5, device=frames.device)
    return frames.movedim(-1, -3).to(torch.float32).div_(half).sub_(1.0)


def float_batch(batch: Sample) -> Sample:
    """A loader's batch with ``image`` as an image batch, where it is; its memory stays in the order of the frames
    (channels last). A batch that has none, or floats already, passes unchanged.
    """
    image = batch.get("image")
    if image is None or image.dtype != torch.uint8:
        return batch
    return cast(Sample, {**batch, "image": to_float(image)})


def check_made(images: Tensor, target: Tensor, who: str) -> Tensor:
    """What ``who`` made of ``target`` (B, 3, H, W), detached, if it is such pictures.

    A picture of one colour is one; NaN, which would become some level or other, is none.

    Raises:
        Failed: another shape, NaN or infinite values, or values outside [-1, 1] (0.01 of slack).
    """
    if not isinstance(images, Tensor) or images.is_meta or images.layout != torch.strided:
        given = (
            f"a {type(images).__name__}" if not isinstance(images, Tensor) else f"a {images.layout} {images.device} one"
        )
        raise Failed(f"{who} gave {given} for a batch of pictures; nothing is measured on it.")
    if images.shape != target.shape or not images.is_floating_point():
        wanted = tuple(target.shape)
        raise Failed(
            f"{who} gave {images.dtype} {tuple(images.shape)} for pictures {wanted}; nothing is measured on it."
        )
    if not bool(images.isfinite().all()):
        raise Failed(f"{who} gave pictures with NaN or infinite values; nothing is measured on them.")
    most = float(images.detach().abs().amax()) if images.numel() else 0.0
    if most > 1.01:
        raise Failed(f"{who} gave pictures with values up to {most:.3g}, outside [-1, 1]; nothing is measured on them.")
    return images.detach()


def published(images: Tensor, target: Tensor, who: str) -> Tensor:
    """:func:`check_made` in the 256 levels in which pictures are published."""
    return in_eight_bits(check_made(images, target, who))


def in_eight_bits(images: Tensor) -> Tensor:
    """float ``(..., 3, H, W)`` in [-1, 1] -> the same, in the 256 levels in which pictures are published."""
    return to_float(to_uint8(images)).to(images)


def to_uint8(images: Tensor) -> Tensor:
    """float ``(..., 3, H, W)`` in [-1, 1] to uint8 ``(..., H, W, 3)`` in 0..255, rounded and clamped.

    Raises:
        Failed: NaN, which has no level.
    """
    if bool(images.detach().isnan().any()):
        raise Failed("Pictures hold NaN, which is no colour: what made them failed.")
    return images.detach().add(1.0).mul(127.5).round().clamp(0, 255).to(torch.uint8).movedim(-3, -1)
