"""Pictures in batches, and their embeddings, kept on disk under a key of everything that made them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import default_collate

from anon.faces.contract import FaceSet, Sample
from anon.progress import track

PROBED = 16  # pictures whose bytes stand for the whole set in a key


def read_batch(faces: FaceSet, indices: list[int]) -> Sample:
    """A collated batch, at once where the set can do that."""
    fetch = getattr(faces, "__getitems__", None)
    if fetch is None:
        return cast(Sample, default_collate([faces[index] for index in indices]))
    batch = fetch(indices)
    return cast(Sample, batch if isinstance(batch, dict) else default_collate(batch))


def batches(faces: FaceSet, indices: Tensor, size: int, what: str) -> Iterator[Sample]:
    """Batches in order, with a bar that says ``what`` and the time left."""
    parts = (read_batch(faces, part.tolist()) for part in indices.split(size))
    return track(parts, what, len(indices), size)


@torch.no_grad()
def embed(
    recognizer: Callable[[Tensor], Tensor],
    faces: FaceSet,
    indices: Tensor,
    what: str,
    size: int = 64,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Embeddings (N, D) of the pictures with these indices, on the CPU."""
    parts = [recognizer(batch["image"].to(device)).float().cpu() for batch in batches(faces, indices, size, what)]
    return torch.cat(parts)


def kept(folder: Path | None, key: str, make: Callable[[], Tensor]) -> Tensor:
    """The tensor kept under ``key``, or ``make()``, which is then kept. A damaged file is made again."""
    if folder is None:
        return make()
    file = folder / f"{key}.safetensors"
    if file.is_file():
        try:
            return load_file(file)["tensor"]
        except (SafetensorError, KeyError, OSError):
            pass
    tensor = make()
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / f".{key}.{os.getpid()}"
    save_file({"tensor": tensor.contiguous()}, beside)
    beside.chmod(0o600)  # embeddings are biometric data
    os.replace(beside, file)
    return tensor


def key_of(faces: FaceSet, indices: Tensor, *made_by: object) -> str:
    """Names the embeddings of these pictures: by who they are, some of their bytes, and what ``made_by`` says."""
    digest = hashlib.sha256(json.dumps([faces.names, [str(part) for part in made_by]]).encode())
    for values in (faces.labels, faces.videos, faces.frames, indices):
        digest.update(values.cpu().contiguous().numpy().tobytes())
    probed = indices[torch.linspace(0, len(indices) - 1, min(PROBED, len(indices))).long()]
    digest.update(read_batch(faces, probed.tolist())["image"].contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]
