"""What a reconstruction attacker owns: photographs of people of its own, and what the anonymizer made of them.

The anonymizer is a black box. It is called as anybody may call it, ``anonymizer(images)``, without key or source, and
never asked for more; its answers are kept in the eight bits in which pictures are published.
"""

from __future__ import annotations

from typing import cast

import torch

from anon.anonymizers.contract import AnonymizerLike
from anon.errors import UserError
from anon.faces.contract import FaceSet, Sample, check_made, to_float, to_uint8
from anon.progress import track


class ChangedFaces:
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
        self.faces, self.chosen = faces, chosen
        self.names, self.synthetic = faces.names, faces.synthetic
        self.labels, self.videos, self.frames = (part[chosen] for part in (faces.labels, faces.videos, faces.frames))
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

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, index: int) -> Sample:
        sample = self.faces[int(self.chosen[index])]
        return cast(Sample, {**sample, "changed": to_float(self.changed[index][None])[0]})
