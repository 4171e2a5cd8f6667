"""Pictures of other people, or other pictures of the same ones, that a cloak is fitted on."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from anon.faces.contract import FaceSet, batch_of, float_batch, in_eight_bits

AT_ONCE = 256  # pictures that are read together


class Photos(NamedTuple):
    """Pictures (N, 3, H, W) in the eight bits in which they are published, and whose they are (N,)."""

    images: Tensor
    labels: Tensor


def photos(faces: FaceSet, indices: Tensor) -> Photos:
    """The pictures of a set at ``indices`` (N,)."""
    parts = [float_batch(batch_of(faces, part.tolist()))["image"].float() for part in indices.split(AT_ONCE)]
    return Photos(in_eight_bits(torch.cat(parts)).contiguous(), faces.labels[indices])


def some(faces: FaceSet, people: int, each: int) -> Photos:
    """The first pictures of the first people of a set, ``each`` of a person at most; stills where there are some."""
    rows = torch.arange(len(faces))
    stills = rows[faces.videos < 0] if bool((faces.videos < 0).any()) else rows
    chosen = []
    for label in faces.labels[stills].unique()[:people].tolist():
        chosen.append(stills[faces.labels[stills] == label][:each])
    return photos(faces, torch.cat(chosen))
