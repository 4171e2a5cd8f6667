"""What became of every face of a clip, face by face, kept under all that made it.

The clip goes through :meth:`anon.video.pipeline.Anonymizing.video`, which is what ``anon anonymize`` runs, into a file
that is thrown away; a :class:`Watch` looks on while frames are written. Kept are numbers: no pixel, no embedding.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from anon.anonymizers.filters import Filter
from anon.evaluation.harness.pictures import failing
from anon.evaluation.harness.store import Store, Tensors, key_of
from anon.faces.detection.frames import overlaps
from anon.machine import computes
from anon.metrics.tracking import IOU, ClearMot, Labelled, clear_mot
from anon.provenance import code, made_of
from anon.video import clips
from anon.video.changer import FaceChanger
from anon.video.gate import Gate, Verdict
from anon.video.paste import ellipse
from anon.video.pipeline import Anonymizing
from anon.video.report import STATUSES, Tally
from anon.video.suite.crowd import Clip, Truth
from anon.video.tracks import Seen

UNCHANGED = 0.5  # a face of whose pixels so many, or more, are as they were is unchanged
NOBODY = -1  # a face of which the frame shows nothing


class Record(NamedTuple):
    """A clip that was anonymized."""

    frames: int
    seconds: float  # that it took, reading, drawing, judging and writing
    #: (N, 4) of every face of every frame: its track, its place in :data:`anon.video.report.STATUSES`, whether no
    #: detector saw it, and whether it is unchanged (:data:`NOBODY`: outside of the frame)
    faces: Tensor
    fallbacks: Tensor  # (N,) place in ``reasons``, or -1
    reasons: list[str]
    consistency: list[Tensor]  # of each judge (T, 5): track, mu before and after, sigma before and after
    truth: Tensor | None  # (M, 3) of every face that is due: the person, whether it was missed, whether it is unchanged
    mot: ClearMot | None


class Watch:
    """Looks on while a clip is changed.

    Args:
        gate: whose judges' embeddings say whether a track stays one person.
        truth: who is where; None: nobody knows, and the faces that were found are those that are due.
    """

    def __init__(self, gate: Gate, truth: Truth | None) -> None:
        self.truth, self.tally = truth, Tally(gate, video=True)
        self._faces, self._due = list[tuple[int, int, int, int]](), list[tuple[int, int, int]]()
        self._reasons, self._pairs = list[str | None](), list[tuple[Labelled, Labelled]]()

    def __call__(
        self, number: int, before: Tensor, after: Tensor, faces: Sequence[Seen], verdicts: Sequence[Verdict]
    ) -> None:
        """A frame uint8 (H, W, 3), as it was and as it is written, its faces, and what became of them."""
        self.tally.add(number, faces, verdicts)
        changed = (before != after).any(-1)  # (H, W)
        for face, verdict in zip(faces, verdicts, strict=True):
            same = unchanged(face.box, changed)
            self._faces.append((face.track, STATUSES.index(verdict.status), int(face.filled), same))
            self._reasons.append(verdict.reason)
        if self.truth is None:
            return
        owners, due = self.truth.owners[number], self.truth.showing(number)
        boxes = torch.stack([face.box for face in faces]) if faces else torch.zeros(0, 4)
        for person, row in zip(due.numbers, overlaps(due.boxes, boxes), strict=True):
            missed = not len(row) or float(row.max()) < IOU
            same = float(changed[owners == person].float().mean()) <= 1.0 - UNCHANGED
            self._due.append((person, int(missed), int(same)))
        self._pairs.append((due, Labelled([face.track for face in faces], boxes)))

    def tensors(self, seconds: float) -> Tensors:
        """A :class:`Record` as the store keeps it."""
        names = list(dict.fromkeys(filter(None, self._reasons)))
        found = {
            "made": torch.tensor([self.tally.frames, seconds], dtype=torch.float64),
            "faces": torch.tensor(self._faces, dtype=torch.int64).view(-1, 4),
            "fallbacks": torch.tensor([-1 if each is None else names.index(each) for each in self._reasons]).long(),
            "reasons": torch.tensor(list(json.dumps(names).encode()), dtype=torch.uint8),
        }
        for judge in range(len(self.tally.gate.judging)):
            tracks = self.tally.consistency[judge].tracks() if self.tally.consistency else []
            rows = [torch.cat((torch.tensor([float(track)]), figures)) for track, figures in tracks]
            found[f"judge {judge}"] = torch.stack(rows).double() if rows else torch.zeros(0, 5, dtype=torch.float64)
        if self.truth is not None:
            found["truth"] = torch.tensor(self._due, dtype=torch.int64).view(-1, 3)
            found["mot"] = torch.tensor(clear_mot(self._pairs), dtype=torch.int64)
        return found


def unchanged(box: Tensor, changed: Tensor) -> int:
    """Whether a face is as it was in the ellipse of its box (4,).

    Args:
        changed: (H, W), which pixels of the frame are others than before.

    Returns:
        1 or 0; :data:`NOBODY` of a box outside of the frame.
    """
    place, mask = ellipse(box, 0.0, (changed.shape[0], changed.shape[1]))
    inside = place.of(changed[..., None])[..., 0][mask >= 1.0]
    return NOBODY if not len(inside) else int(float(inside.float().mean()) <= 1.0 - UNCHANGED)


def record_of(clip: Clip, by: Anonymizing, store: Store, folder: Path) -> Record:
    """Anonymize a clip, or find what became of it.

    Args:
        folder: where the result lies for a moment.

    Raises:
        UserError: it cannot be anonymized; :class:`anon.errors.Failed`: a part raised.
    """
    change, gate = by.change, by.gate
    key = key_of(
        of=clip.key,
        truth=clip.truth is not None,
        settings=by.settings,
        batch=by.batch,
        made_by=made_of(change.method, change.fallback),
        change=[change.size, change.margin, gate.min_size, gate.max_turn],
        judges=[[each.judge.fingerprint, each.threshold] for each in gate.judging],
        machine=computes("cpu"),  # on which the frames a second were taken
        code=code(Anonymizing, FaceChanger, Gate, Filter, Watch, type(by.detector)),
    )

    def make() -> Tensors:
        watch, began = Watch(gate, clip.truth), time.monotonic()
        suffix = clip.file.suffix.lower()
        target = folder / f"result{suffix if suffix in clips.FORMATS else '.mp4'}"
        try:
            with failing(f"the clip {clip.name}"):
                by.video(clip.file, target, watch)
        finally:
            target.unlink(missing_ok=True)
        return watch.tensors(time.monotonic() - began)

    return _read(store.get("clips", key, make), len(gate.judging))


def _read(kept: Tensors, judges: int) -> Record:
    frames, seconds = kept["made"].tolist()
    return Record(
        frames=int(frames),
        seconds=seconds,
        faces=kept["faces"],
        fallbacks=kept["fallbacks"],
        reasons=json.loads(bytes(kept["reasons"].tolist())),
        consistency=[kept[f"judge {judge}"] for judge in range(judges)],
        truth=kept.get("truth"),
        mot=ClearMot(*kept["mot"].tolist()) if "mot" in kept else None,
    )
