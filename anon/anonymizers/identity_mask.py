"""IdentityMask: a clip's first frame is anonymized, and moved as the clip moves; the key gives the clip back.

    v'_1 = A(v_1, key)                       any generator with a policy; policy=rotation is the book's
    v'_i = v'_1 moved by the clip's motion between its frames 1 and i        (first-order motion, relative)
    back:  v''_1 = A^-1(v'_1, key), moved by the motion that is read anew off v'

(Wen, Liu, Cao, Xie, Song and Li, *IdentityMask: Deep Motion Flow Guided Reversible Face Video De-identification*, IEEE
TCSVT 2022; chapter 8 of *Face De-identification*, Springer 2024, algorithms 2 and 3, eqs. 8.4 to 8.21.) Of later frames
nothing but their motion is used, so a person stays one person over a clip as far as the motion is right. Which motion
is ``flow``:

    relative   from the first frame, by how keypoints moved since (table 8.8, RLT; section 8.6.4)
    absolute   from the first frame, to where the clip's own keypoints are, with its face shape (table 8.8, STD)
    chained    from each frame to the next (eq. 8.21 as printed): errors add up
    none       every frame through A with the clip's key (table 8.9, w/o MF): per-frame protection

The book aligns with five points first and pastes back behind a mask (eqs. 8.13 to 8.20); here crops come aligned, as
everywhere in this package.

    python evaluate.py suite=identity_mask
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from anon.anonymizers.composed import AnonymizationError, Anonymizer
from anon.errors import UserError
from anon.faces.contract import check_images
from anon.generators.first_order.keypoints import Keypoints, relative
from anon.generators.first_order.network import FirstOrderMotion
from anon.identity.contract import Draws, Given
from anon.identity.rotation import WORDS

#: First frames (B, 3, H, W) and their keys -> what becomes of them.
Act = Callable[[Tensor, Given], Tensor]
FLOWS = RELATIVE, ABSOLUTE, CHAINED, NONE = "relative", "absolute", "chained", "none"


class _Clip(NamedTuple):
    """What is remembered of a clip, in batches of one.

    Its ``key`` (1, n), and of the frame that is moved on the ``picture`` (1, 3, H, W), that picture's ``own`` keypoints
    and those of the clip's frame that it was made of, ``first``.
    """

    key: Tensor | None
    picture: Tensor
    own: Keypoints
    first: Keypoints


class IdentityMask(nn.Module):
    """The method, an :class:`anon.anonymizers.contract.AnonymizerLike` of clips alone.

    Args:
        parts: one anonymizer of pictures, a generator with its policy, by any name.
        network: first-order motion.
        flow: one of :data:`FLOWS`.

    Raises:
        UserError: several parts or one without a policy, or no such flow.
    """

    temporal = True

    def __init__(self, parts: Mapping[str, nn.Module], network: FirstOrderMotion, flow: str = RELATIVE) -> None:
        super().__init__()
        if len(parts) != 1 or not isinstance(next(iter(parts.values())), Anonymizer):
            raise UserError("IdentityMask changes first frames by one generator: /method@methods.image: reversible.")
        if flow not in FLOWS:
            raise UserError(f"IdentityMask has no flow '{flow}'; there are: {', '.join(FLOWS)}.")
        self.image, self.network, self.flow = cast(Anonymizer, next(iter(parts.values()))), network, flow
        self._clips: dict[int, _Clip] = {}
        self._recovered: dict[int, _Clip] = {}

    @property
    def reversible(self) -> bool:
        """Whether a key undoes it."""
        return self.image.reversible

    def forward(
        self, images: Tensor, *, source: Given = None, key: Given = None, track: Given = None, rng: Draws = None
    ) -> Tensor:
        """Frames (B, 3, H, W) in [-1, 1] -> the same form.

        Args:
            track: (B,) int64 which clip each frame is of, 0 or more; a clip's frames come in order over all calls.
            key: (B,) or (B, n) int64, or (1, n) of all; what a clip's first frame has is its key. None: one is drawn
                for each clip.

        Raises:
            UserError: stills, or neither a key nor an ``rng`` for a policy with keys.
            AnonymizationError: no picture was drawn; the frame was not changed.
        """

        def changed(first: Tensor, keys: Given) -> Tensor:
            return self.image(first, source=source, key=keys, rng=rng)

        return self._moved(images, track, self._keys(key, len(images), rng), changed, self._clips)

    def recover(self, images: Tensor, key: Given, track: Given = None) -> Tensor:
        """Changed frames with the key that changed them -> as they were, as far as generator and motion get.

        Args: as in :meth:`forward`. With another key it gives somebody else; nothing tells which it was.

        Raises:
            UserError: stills, no key, or a policy that cannot be undone.
            AnonymizationError: as in :meth:`forward`.
        """
        if key is None:
            raise UserError("IdentityMask recovers a clip with its key: key=<int64 tensor>, and none was given.")
        return self._moved(images, track, self._keys(key, len(images), None), self.image.recover, self._recovered)

    def reset(self) -> None:
        """Forget all clips."""
        self._clips, self._recovered = {}, {}

    def _keys(self, key: Given, count: int, rng: Draws) -> Tensor | None:
        """(B, n): a row a frame; None where none is given and none can be drawn."""
        if key is not None:
            rows = key[:, None] if key.ndim == 1 else key
            return rows.expand(count, -1) if len(rows) == 1 else rows
        if rng is None:
            return None
        return torch.randint(-(2**63), 2**63 - 1, (count, WORDS), generator=rng, device=rng.device)

    def _moved(self, images: Tensor, track: Given, keys: Tensor | None, act: Act, clips: dict[int, _Clip]) -> Tensor:
        """Frames moved from what ``act`` makes of their clips' first ones; ``clips`` remembers them."""
        check_images(images)
        if track is None or bool((track < 0).any()):
            raise UserError(
                "IdentityMask moves the first frame of a clip and was given a still; stills have method=reversible, "
                "and suite=identity_mask evaluates clips alone."
            )
        numbers = track.tolist()
        begun = [row for row, number in enumerate(numbers) if number not in clips and number not in numbers[:row]]
        at = self.network.keypoints(images)
        rows = torch.tensor(begun, dtype=torch.long)
        own = None if keys is None else keys[rows.to(keys.device)]
        if begun:
            first = at.of(rows.to(images.device))
            pictures = images[begun] if self.flow == NONE else act(images[begun], own)
            seen = first if self.flow == NONE else self.network.keypoints(pictures)
            for place, row in enumerate(begun):
                one = slice(place, place + 1)
                key = None if own is None else own[one]
                clips[numbers[row]] = _Clip(key, pictures[one], seen.of(one), first.of(one))
        if self.flow == NONE:
            every = [clips[number].key for number in numbers]
            return act(images, None if None in every else torch.cat(cast("list[Tensor]", every)))
        if self.flow == CHAINED:
            drawn = self._chained(numbers, set(begun), clips, at)
        else:
            drawn = self._at_once([clips[number] for number in numbers], at)
            for row in begun:
                drawn[row] = clips[numbers[row]].picture[0]  # what the key made of it
        if not bool(drawn.isfinite().all()):
            raise AnonymizationError("The motion gave no image (NaN or infinite); the frame was not changed.")
        return drawn.clamp(-1.0, 1.0)

    def _at_once(self, clips: list[_Clip], at: Keypoints) -> Tensor:
        """Every frame (B) from the first one of its clip (B)."""
        own = Keypoints.joined([clip.own for clip in clips])
        to = at if self.flow == ABSOLUTE else relative(own, at, Keypoints.joined([clip.first for clip in clips]))
        return self.network(torch.cat([clip.picture for clip in clips]), own, to).image

    def _chained(self, numbers: list[int], begun: set[int], clips: dict[int, _Clip], at: Keypoints) -> Tensor:
        """Every frame from what the one before it became (eq. 8.21)."""
        drawn = []
        for row, number in enumerate(numbers):
            clip, now = clips[number], at.of(slice(row, row + 1))
            if row not in begun:
                to = relative(clip.own, now, clip.first)
                clips[number] = _Clip(clip.key, self.network(clip.picture, clip.own, to).image, to, now)
            drawn.append(clips[number].picture)
        return torch.cat(drawn)
