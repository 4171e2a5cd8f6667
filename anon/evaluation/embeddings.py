"""Pictures of a face set in batches, and their embeddings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import cast

from torch import Tensor
from torch.utils.data import default_collate

from anon.faces.contract import FaceSet, Sample
from anon.identity.contract import JudgeLike, check_embeddings
from anon.progress import track


def read_batch(faces: FaceSet, indices: list[int]) -> Sample:
    """A collated batch, at once where the set can do that."""
    fetch = getattr(faces, "__getitems__", None)
    if fetch is None:
        return cast(Sample, default_collate([faces[index] for index in indices]))
    batch = fetch(indices)
    return cast(Sample, batch if isinstance(batch, dict) else default_collate(batch))


def batches(
    faces: FaceSet, indices: Tensor, size: int, what: str, read: Callable[[list[int]], Sample] | None = None
) -> Iterator[Sample]:
    """Batches in order, with a bar that says ``what`` and the time left; ``read``: instead of :func:`read_batch`."""
    rows = (part.tolist() for part in indices.split(size))
    parts = (read_batch(faces, some) if read is None else read(some) for some in rows)
    return track(parts, what, len(indices), size)


def embedded(recognizer: JudgeLike, images: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B, D) float32: every embedding that is measured comes in by this door.

    Raises:
        Failed: the recognizer gave something else, see :func:`anon.identity.contract.check_embeddings`.
    """
    return check_embeddings(recognizer.embed(images), len(images), recognizer).float()
