"""Crowds of rendered people, anonymized: is every face changed, what is only masked, who is taken for whom.

    python benchmarks/crowds.py [--quick]

writes docs/benchmarks/crowds.md. The clips are :func:`anon.faces.synthetic.crowds.story` with two to four people, with
and without a pillar, so where every face is is known. They are changed as ``domain=synthetic`` does it (the shipped
FIVA, the default detector and tracks, three judges), before a codec sees them. Tracks are compared by CLEAR MOT
(:mod:`anon.metrics.tracking`) with no tracking at all (each face of each frame is somebody new) and with ByteTrack
where the package trackers is installed. M_tc (FIVA, eq. 7) is of the faces that were drawn, by the highest judge.
"""

from __future__ import annotations

import argparse
import itertools
import shlex
import sys
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from anon.apps.python import built
from anon.evaluation.results import markdown_table
from anon.faces.detection.contract import Detections
from anon.faces.detection.frames import overlaps
from anon.faces.synthetic.crowds import Crowd, crowd_of, story
from anon.faces.synthetic.dataset import people_of
from anon.metrics.tracking import ClearMot, Labelled, clear_mot
from anon.video.gate import Verdict
from anon.video.pipeline import LINGERS, MISSED, Anonymizing
from anon.video.report import Tally
from anon.video.suite.crowd import Truth
from anon.video.tracks import Seen, follow
from benchmarks.machine import description, written

RATE = 25  # frames a second
GROWN = 0.6  # of a face's sides, to each side: within it a change may be
REPORT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks" / "crowds.md"


class Clip(NamedTuple):
    """A crowd, and what became of it."""

    crowd: Crowd
    found: list[Detections]
    faces: list[list[Seen]]
    changed: list[Tensor]
    verdicts: list[list[Verdict]]


class Counts(NamedTuple):
    """Of one clip."""

    due: int  # faces that show by half or more
    missed: int  # of those, by no box with an IoU of .5 with what shows
    unchanged: int  # of those, half or more of what shows is as it was
    least: float  # share of what shows of a face that changed, of the worst
    outside: float  # share of all pixels that changed though they are far from every face
    drawn: int  # faces that were changed and shown, of all
    reasons: Counter[str]


def crowds(quick: bool) -> list[tuple[str, Crowd]]:
    """Titles and clips; people of the evaluation split, whom the shipped networks never saw."""
    height, width, face, frames = (180, 320, 34.0, 20) if quick else (360, 640, 60.0, 75)
    numbers = people_of("evaluation", 12)
    made = []
    for seed, (count, pillar) in enumerate(itertools.product((2, 3, 4), (False, True))):
        people = [numbers[(2 * seed + i) % len(numbers)] for i in range(count)]
        stands = (round(0.27 * width), round(0.27 * width + 1.2 * face)) if pillar else None
        title = f"{count} people{', a pillar' if pillar else ''}"
        made.append((title, crowd_of(story(people, frames, height, width, face), height, width, stands, seed)))
    return made[-1:] if quick else made


def anonymized(crowd: Crowd, by: Anonymizing) -> Clip:
    """Its faces found, followed and changed as those of a video."""
    found = [each for part in _parts(crowd.frames, by.batch) for each in by.detector.detect_batch(part)]
    faces = list(follow(found, MISSED, LINGERS, [t / RATE for t in range(len(found))]))
    by.change.begin()
    changed, verdicts = list[Tensor](), list[list[Verdict]]()
    for start in range(0, len(faces), by.batch):
        own = slice(start, start + by.batch)
        some, judged = by.change(crowd.frames[own], faces[own])
        changed, verdicts = changed + some, verdicts + judged
    return Clip(crowd, found, faces, changed, verdicts)


def counted(clip: Clip) -> Counts:
    """See :class:`Counts`."""
    crowd, due, missed, unchanged, least, outside = clip.crowd, 0, 0, 0, 1.0, []
    for t, (before, after, faces) in enumerate(zip(crowd.frames, clip.changed, clip.faces, strict=True)):
        other = (before != after).any(-1)  # (H, W)
        truth = showing(crowd, t)
        shared = overlaps(truth.boxes, _stacked([face.box for face in faces]))  # (P, N)
        for p, row in zip(truth.numbers, shared, strict=True):
            due += 1
            missed += not len(row) or float(row.max()) < 0.5
            share = float(other[crowd.owners[t] == p].float().mean())
            unchanged, least = unchanged + (share < 0.5), min(least, share)
        outside.append(float((other & ~_near(crowd.faces[t], other.shape)).float().mean()))
    verdicts = [verdict for frame in clip.verdicts for verdict in frame]
    reasons = Counter(verdict.reason for verdict in verdicts if verdict.reason is not None)
    return Counts(due, missed, unchanged, least, sum(outside) / len(outside), len(verdicts), reasons)


def steadiness(clip: Clip, by: Anonymizing) -> str:
    """M_tc's mu by the judge who finds it highest, and what that one finds for the originals."""
    tally = Tally(by.gate, video=True)
    for frame, (faces, verdicts) in enumerate(zip(clip.faces, clip.verdicts, strict=True)):
        tally.add(frame, faces, verdicts)
    every = [judge["M_tc"] for judge in tally.plain()["judges"].values() if "M_tc" in judge]
    worst = max(every, key=lambda found: found["mu"], default=None)
    return "-" if worst is None else f"{worst['mu']:.3f} (originals {worst['unchanged_mu']:.3f})"


def _near(boxes: Tensor, shape: Sequence[int]) -> Tensor:
    """Which pixels (H, W) lie in the boxes (P, 4), grown by :data:`GROWN`."""
    near = torch.zeros(tuple(shape), dtype=torch.bool)
    side = (boxes[:, 2:] - boxes[:, :2]) * GROWN
    for left, top, right, bottom in torch.cat((boxes[:, :2] - side, boxes[:, 2:] + side), 1).round().long().tolist():
        near[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = True
    return near


def showing(crowd: Crowd, frame: int) -> Labelled:
    """Whose faces show in a frame, and the boxes of what shows."""
    return Truth(crowd.shown, crowd.owners).showing(frame)


def tracked(clip: Clip) -> dict[str, ClearMot]:
    """How each tracker fares on the same detections."""
    seen = [[face for face in faces if not face.filled] for faces in clip.faces]
    ways = {
        "none": _anew(clip.found),
        "ours": [_labelled(faces) for faces in clip.faces],
        "ours, without what it fills in": [_labelled(faces) for faces in seen],
    }
    other = byte_track(clip.found)
    if other is not None:
        ways["ByteTrack"] = other
    truth = [showing(clip.crowd, t) for t in range(len(clip.crowd.frames))]
    return {name: clear_mot(zip(truth, tracks, strict=True)) for name, tracks in ways.items()}


def _labelled(faces: Sequence[Seen]) -> Labelled:
    return Labelled([face.track for face in faces], _stacked([face.box for face in faces]))


def _anew(found: Sequence[Detections]) -> list[Labelled]:
    numbers = itertools.count()
    return [Labelled([next(numbers) for _ in each.scores], each.boxes) for each in found]


def byte_track(found: Sequence[Detections]) -> list[Labelled] | None:
    """Zhang et al. 2022, by the package trackers with its own settings; None where that is missing."""
    try:
        import supervision
        import trackers
    except ImportError:
        return None
    tracker: Any = trackers.ByteTrackTracker(frame_rate=RATE)
    rows = []
    for each in found:
        given = supervision.Detections(
            xyxy=each.boxes.numpy().astype(np.float32),
            confidence=each.scores.numpy(),
            class_id=np.zeros(len(each.scores), int),
        )
        kept = tracker.update(given)
        kept = kept[kept.tracker_id >= 0]  # not yet confirmed: -1
        boxes = torch.from_numpy(np.asarray(kept.xyxy, np.float32)).view(-1, 4)
        rows.append(Labelled([int(number) for number in kept.tracker_id], boxes))
    return rows


def _stacked(boxes: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(boxes)) if boxes else torch.zeros(0, 4)


def _parts(frames: Sequence[Tensor], size: int) -> list[Sequence[Tensor]]:
    return [frames[start : start + size] for start in range(0, len(frames), size)]


def tables(made: Sequence[tuple[str, Crowd]], by: Anonymizing) -> list[str]:
    """Markdown: the faces of each clip, then the tracks of each tracker."""
    rows, sums = [], dict[str, list[ClearMot]]()
    for title, crowd in made:
        clip = anonymized(crowd, by)
        found = counted(clip)
        masked = sum(found.reasons.values())
        why = ", ".join(f"{count} {reason}" for reason, count in found.reasons.most_common()) or "-"
        rows.append(
            [
                title,
                f"{found.due}",
                f"{found.missed}",
                f"{found.unchanged}",
                f"{100 * found.least:.0f} %",
                f"{100 * found.outside:.3f} %",
                f"{masked} of {found.drawn} ({100 * masked / max(found.drawn, 1):.1f} %)",
                why,
                steadiness(clip, by),
            ]
        )
        for name, mot in tracked(clip).items():
            sums.setdefault(name, []).append(mot)
    head = [
        "clip",
        "faces due",
        "missed",
        "unchanged",
        "least changed of one",
        "changed far from faces",
        "masked",
        "why",
        "M_tc mu",
    ]
    tracks = []
    for name, every in sums.items():
        total = ClearMot(*(sum(values) for values in zip(*every, strict=True)))
        own = [total.people, total.misses, total.false_positives, total.switches]
        tracks.append(
            [name, *(f"{each}" for each in own), f"{total.mota:.3f}", ", ".join(f"{e.switches}" for e in every)]
        )
    names = ["tracks", "faces", "misses", "false positives", "switches", "MOTA", "switches of each clip"]
    return [*markdown_table(head, rows), "", *markdown_table(names, tracks)]


def main() -> None:
    """Measure and write the report; prints it too."""
    parser = argparse.ArgumentParser(description="Crowds of rendered people, anonymized.")
    parser.add_argument("--quick", action="store_true", help="one short clip")
    parser.add_argument("--out", type=Path, default=REPORT)
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    words = [Path(word).name if Path(word).is_absolute() else word for word in sys.argv[1:]]  # no folders
    lines = ["# Crowds", "", f"    python {shlex.join(['benchmarks/crowds.py', *words])}", "", *description(), ""]
    print(written(args.out, [*lines, *tables(crowds(args.quick), built("domain=synthetic"))]))


if __name__ == "__main__":
    main()
