"""What a reconstruction attacker owns: photographs of people of its own, and what the anonymizer made of them.

The anonymizer is a black box. It is called as anybody may call it, ``anonymizer(images)``, without key or source, and
never asked for more; its answers are kept in the eight bits in which pictures are published.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from anon.anonymizers.contract import AnonymizerLike
from anon.errors import UserError
from anon.faces.contract import FaceSet, Sample, check_made, to_float, to_uint8
from anon.progress import track


class SomeFaces:
    """Pictures of a face set, by their indices (N,), in that order."""

    def __init__(self, faces: FaceSet, rows: Tensor) -> None:
        self.faces, self.rows = faces, rows
        self.names, self.synthetic = faces.names, faces.synthetic
        self.labels, self.videos, self.frames = (part[rows] for part in (faces.labels, faces.videos, faces.frames))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Sample:
        return self.faces[int(self.rows[index])]


class ChangedFaces(SomeFaces):
    """A face set whose samples have ``changed`` (3, H, W) beside ``image``.

    Every picture is anonymized once, when the set is built, in the order of the set, so a tracker in the anonymizer
    sees the frames of a clip one after the other, and a picture has one anonymized version, as in the world.

    Args:
        faces: the attacker's photographs.
        victim: the anonymizer.
        count: pairs that the attacker owns: a random choice of the pictures; None: all.
        seed: of that choice and of the anonymizer's own randomness.
        batch_size: faces at a time.

    Raises:
        UserError: fewer pictures than ``count``.
    """

    def __init__(
        self,
        faces: FaceSet,
        victim: AnonymizerLike,
        count: int | None = None,
        seed: int = 0,
        batch_size: int = 64,
        device: torch.device | str = "cpu",
    ) -> None:
        if count is not None and not 1 <= count <= len(faces):
            raise UserError(f"attack.pairs={count} is more than the {len(faces):,} pictures of the attacker's people.")
        rng = torch.Generator().manual_seed(seed)
        chosen = torch.arange(len(faces))
        if count is not None:
            chosen = torch.randperm(len(faces), generator=rng)[:count].sort().values
        super().__init__(faces, chosen)
        own = torch.Generator(device).manual_seed(seed)
        parts = []
        for start in track(
            range(0, len(chosen), batch_size), "anonymizing the attacker's faces", len(chosen), batch_size
        ):
            rows = chosen[start : start + batch_size].tolist()
            images = torch.stack([faces[row]["image"] for row in rows]).to(device)
            with torch.no_grad():
                made = check_made(victim(images, rng=own).float(), images, "The anonymizer that is attacked")
            parts.append(to_uint8(made.cpu()))
        self.changed = torch.cat(parts)  # uint8 (N, H, W, 3)

    def __getitem__(self, index: int) -> Sample:
        return cast(Sample, {**super().__getitem__(index), "changed": to_float(self.changed[index][None])[0]})
