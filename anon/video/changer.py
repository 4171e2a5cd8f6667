"""The faces of some frames changed together: crops of all frames in one batch, each put back, judged, or covered.

Faces of a frame that overlap are changed one after the other, each on what the one before it became: the crop of the
second holds a part of the first, and would put the original back.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from anon.anonymizers.composed import Anonymizer
from anon.anonymizers.filters import Filter
from anon.errors import Failed, UserError
from anon.faces.alignment import crop_box, similarity, template
from anon.faces.contract import check_made, to_float
from anon.faces.detection.frames import overlaps
from anon.identity.store.remembering import Remembering
from anon.parallel import threads
from anon.video.gate import (
    COVERED,
    FAILED,
    RECOGNIZED,
    SIZE,
    UNVERIFIED,
    VERIFIED,
    WITHOUT,
    Gate,
    Verdict,
    leaves_nothing,
)
from anon.video.paste import Place, blend, crop_of, ellipse, put_back, seamless
from anon.video.tracks import Seen

FEW = 32  # faces that are drawn at once: bounds the memory of a crowd
Spot = tuple[int, Seen]  # the number of a frame among those that are changed together, and a face of it


class FaceChanger:
    """Changes faces where they are in their frames.

    Args:
        method: a generator with its policy, a filter, or any other anonymizer of crops.
        fallback: the filter that covers what the gate stops.
        gate: judges.
        size: side of the crops in pixels that the method redraws; a filter takes faces as they are.
        margin: how much larger than a face's box what a filter covers is; 0.3: by three tenths.
    """

    def __init__(self, method: nn.Module, fallback: Filter, gate: Gate, size: int, margin: float = 0.3) -> None:
        self.method, self.fallback, self.gate, self.size, self.margin = method, fallback, gate, size, margin
        self._wanted: dict[int, Tensor] = {}  # of each track, the identity that it got when it was first drawn
        self._threads = 1  # of torch, for networks
        self._rng = torch.Generator().manual_seed(secrets.randbits(63))  # noise that nobody can draw again

    def begin(self) -> None:
        """A new file: its people are nobody of the last one's, but for those whom a store knows."""
        self._wanted.clear()
        policy = getattr(self.method, "policy", None)
        reset = policy.begin if isinstance(policy, Remembering) else getattr(policy, "reset", None)
        if reset is not None:
            reset()

    def finish(self) -> dict[str, Any]:
        """A file is as it shall be: its people are kept where there is a store. What a report says of that.

        Raises:
            UserError: the store cannot be written.
        """
        policy = getattr(self.method, "policy", None)
        return {"people": policy.finish()} if isinstance(policy, Remembering) else {}

    @contextlib.contextmanager
    def remembering(self) -> Iterator[None]:
        """Inside, files are anonymized with the store, where there is one: no other process may use it meanwhile.

        Raises:
            UserError: another one does, or the store cannot be read or written.
        """
        policy = getattr(self.method, "policy", None)
        if not isinstance(policy, Remembering):
            yield
            return
        with policy.store as store:
            store.create()
            yield

    def reach(self, faces: Sequence[Seen], canvas: tuple[int, int]) -> list[Place]:
        """All that a change of faces may touch on a frame of ``canvas`` (H, W): what filters cover, what is redrawn."""
        places = list[Place]()
        for face in faces:
            places.append(ellipse(face.box, self.margin, canvas)[0])
            if not isinstance(self.method, Filter) and bool(face.points.isfinite().all()):
                with contextlib.suppress(ValueError):  # points that are one: not redrawn
                    matrix = similarity(face.points[None], template(self.size))[0]
                    places.append(Place(*crop_box(matrix, self.size, canvas)))
        return [place for place in places if place.left < place.right and place.top < place.bottom]

    @torch.no_grad()
    def __call__(
        self, frames: Sequence[Tensor], faces: Sequence[Sequence[Seen]]
    ) -> tuple[list[Tensor], list[list[Verdict]]]:
        """Frames uint8 (H, W, 3) RGB and the faces of each -> changed copies, and what became of every face."""
        self._threads = torch.get_num_threads()
        with threads(1):  # but for networks: the rest is small
            return self._changed(frames, faces)

    def _changed(
        self, frames: Sequence[Tensor], faces: Sequence[Sequence[Seen]]
    ) -> tuple[list[Tensor], list[list[Verdict]]]:
        changed = [frame.clone() for frame in frames]
        verdicts: dict[tuple[int, int], Verdict] = {}
        orders = [sorted(range(len(found)), key=lambda i: self.gate.unfit(found[i]) is not None) for found in faces]
        for wave in _waves(faces, orders, 1.0 + 2.0 * self.margin):
            for start in range(0, len(wave), FEW):
                part = wave[start : start + FEW]
                spots = [(frame, faces[frame][place]) for frame, place in part]
                for key, verdict in zip(part, self._change(frames, changed, spots), strict=True):
                    verdicts[key] = verdict
        return changed, [[verdicts[i, j] for j in range(len(faces[i]))] for i in range(len(faces))]

    def _change(self, frames: Sequence[Tensor], changed: list[Tensor], spots: list[Spot]) -> list[Verdict]:
        filters = isinstance(self.method, Filter)
        reasons = [None if filters else self.gate.unfit(face) for _, face in spots]
        asked = [i for i, reason in enumerate(reasons) if reason is None]
        tried = [spots[i] for i in asked]
        for i, reason in zip(
            asked, self._filter(changed, tried) if filters else self._draw(changed, tried), strict=True
        ):
            reasons[i] = reason
        drawn = [i for i in asked if reasons[i] is None]
        found = self._judge(frames, changed, [spots[i] for i in drawn])
        verdicts = dict(zip(drawn, found, strict=True))
        for i, (frame, face) in enumerate(spots):
            verdict = verdicts.get(i, Verdict(COVERED, reasons[i]))
            if verdict.reason is not None:
                verdict = verdict._replace(status=self._cover(changed[frame], face))
            verdicts[i] = verdict
        return [verdicts[i] for i in range(len(spots))]

    def _draw(self, changed: list[Tensor], spots: list[Spot]) -> list[str | None]:
        """Redraw and paste; why not, for each face that could not be."""
        crops: list[Tensor] = []
        reasons: list[str | None] = [None] * len(spots)
        for i, (frame, face) in enumerate(spots):
            try:
                crops.append(crop_of(changed[frame], face.points, self.size))
            except ValueError:  # points that are one, or outside of the frame
                reasons[i] = WITHOUT
        rows = [i for i, reason in enumerate(reasons) if reason is None]
        if not rows:
            return reasons
        batch, tracks = torch.stack(crops), torch.tensor([spots[i][1].track for i in rows])
        for i, target, drawn in zip(rows, batch, self._redrawn(batch, tracks), strict=True):
            frame, face = spots[i]
            if drawn is None:
                reasons[i] = FAILED
            else:
                put_back(changed[frame], face.points, seamless(drawn[None], target[None])[0])
        return reasons

    def _redrawn(self, crops: Tensor, tracks: Tensor) -> list[Tensor | None]:
        """The method's pictures; None for a face that it fails on, which is tried by itself first."""
        try:
            with threads(self._threads):
                return list(check_made(self._method(crops, tracks), crops, "The method"))
        except (Failed, ValueError, RuntimeError):
            if len(crops) == 1:
                return [None]
            return [self._redrawn(crops[i : i + 1], tracks[i : i + 1])[0] for i in range(len(crops))]

    def _method(self, crops: Tensor, tracks: Tensor) -> Tensor:
        if not isinstance(self.method, Anonymizer):
            return self.method(crops, track=tracks, rng=self._rng)
        names: list[int] = tracks.tolist()
        first = [i for i, name in enumerate(names) if name not in self._wanted and name not in names[:i]]
        if first:  # a later, turned face of a track would be a stranger, and be kept as one
            z = self.method.identify(crops[first])
            policy = self.method.policy(z, track=tracks[first], rng=self._rng)
            self._wanted.update(zip((names[i] for i in first), policy, strict=True))
        wanted = torch.stack([self._wanted[name] for name in names])
        return self.method.draw(crops, wanted).blend(crops).clamp(-1.0, 1.0)

    def _filter(self, changed: list[Tensor], spots: list[Spot]) -> list[str | None]:
        return [self._filtered(changed[frame], face, self.method) for frame, face in spots]

    def _filtered(self, frame: Tensor, face: Seen, by: nn.Module) -> str | None:
        """Filter what the ellipse covers, in place; why not, where the filter refuses so small a face."""
        place, mask = ellipse(face.box, self.margin, (frame.shape[0], frame.shape[1]))
        part = to_float(place.of(frame))[None].contiguous()
        try:
            blend(frame, place, by(part, rng=self._rng)[0], mask)
        except (UserError, ValueError, RuntimeError):
            return FAILED
        return None

    def _cover(self, frame: Tensor, face: Seen) -> str:
        """The fallback over a face; its status.

        Raises:
            Failed: the fallback itself fails.
        """
        if self._filtered(frame, face, self.fallback) is not None:
            raise Failed("A face could not be covered: the fallback filter failed on it, so nothing is written.")
        return COVERED if leaves_nothing(self.fallback) else UNVERIFIED

    def _judge(self, frames: Sequence[Tensor], changed: list[Tensor], spots: list[Spot]) -> list[Verdict]:
        """Compare what is in the frames now with what was there."""
        if leaves_nothing(self.method):
            return [Verdict(COVERED)] * len(spots)
        if not self.gate.judging:
            return [Verdict(UNVERIFIED)] * len(spots)
        verdicts, rows, pairs = [Verdict(UNVERIFIED)] * len(spots), list[int](), list[Tensor]()
        for i, (frame, face) in enumerate(spots):
            try:
                pairs.append(torch.stack([crop_of(each[frame], face.points, SIZE) for each in (frames, changed)]))
                rows.append(i)
            except ValueError:  # without points: nobody can judge it
                continue
        if not rows:
            return verdicts
        before, after = torch.stack(pairs).unbind(1)  # (B, 3, S, S) each
        with threads(self._threads):
            distances, z = self.gate.compared(before, after)
        seen = list(zip(*z, strict=True))  # of each face, each judge's
        for i, row, own, passed in zip(
            rows, distances.tolist(), seen, self.gate.passes(distances).tolist(), strict=True
        ):
            status, reason = (VERIFIED, None) if passed else (UNVERIFIED, RECOGNIZED)
            verdicts[i] = Verdict(status, reason, tuple(row), own)
        return verdicts


def _waves(
    faces: Sequence[Sequence[Seen]], orders: Sequence[Sequence[int]], reach: float
) -> list[list[tuple[int, int]]]:
    """(frame, place among its faces) of all faces, in groups in which no two of a frame overlap when enlarged.

    Args:
        orders: of each frame, the order of its faces; those that are only covered come last, on top of the drawn ones.
        reach: by how much boxes are enlarged.
    """
    waves: list[list[tuple[int, int]]] = []
    for frame, found in enumerate(faces):
        if not found:
            continue
        boxes = torch.stack([face.box for face in found])
        middle, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2 * reach
        touching = overlaps(*([torch.cat((middle - half, middle + half), 1)] * 2)) > 0
        wave: dict[int, int] = {}
        for i in orders[frame]:
            wave[i] = max((wave[j] for j in wave if bool(touching[i, j])), default=-1) + 1
            while len(waves) <= wave[i]:
                waves.append([])
            waves[wave[i]].append((frame, i))
    return waves
