"""What became of a file, as JSON beside it: counts, distances, settings, hashes of weights; no face, no embedding."""

from __future__ import annotations

import json
import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anon
from anon import checksums
from anon.video.consistency import Consistency
from anon.video.gate import COVERED, UNVERIFIED, VERIFIED, Gate, Verdict
from anon.video.tracks import Seen

SUFFIX = ".json"  # after the whole name of the file that it tells of
PAGE = ".html"  # of the same as a page
STATUSES = (VERIFIED, COVERED, UNVERIFIED)
SUMMED = ("frames", "faces", "filled_in", *STATUSES, "fallbacks", "judges", "seconds")  # what :func:`summed` reads
NOT_JUDGED = "not verified by a recognizer"


@dataclass
class Tally:
    """Faces as they are written."""

    gate: Gate
    video: bool = False  # then tracks are told, too
    frames: int = 0
    faces: int = 0
    filled: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    _distances: list[list[float]] = field(default_factory=list)  # of each judge
    _consistency: list[Consistency] = field(default_factory=list)  # of each judge, in a video
    _tracks: dict[int, dict[str, int]] = field(default_factory=dict)

    def add(self, frame: int, faces: Sequence[Seen], verdicts: Sequence[Verdict]) -> None:
        """A frame's faces."""
        self.frames += 1
        for face, verdict in zip(faces, verdicts, strict=True):
            self.faces += 1
            self.filled += face.filled
            self.statuses[verdict.status] += 1
            track = self._tracks.setdefault(face.track, {"first_frame": frame, "last_frame": frame, "faces": 0})
            track["last_frame"], track["faces"] = frame, track["faces"] + 1
            if verdict.reason is not None:
                self.reasons[verdict.reason] += 1
                track["fallbacks"] = track.get("fallbacks", 0) + 1
            elif verdict.distances:  # of what is written; a fallback is not judged
                self._distances = self._distances or [[] for _ in verdict.distances]
                for every, one in zip(self._distances, verdict.distances, strict=True):
                    every.append(one)
                if self.video:
                    self._follow(face.track, verdict)
        present = {face.track for face in faces}
        for consistency in self._consistency:
            consistency.keep(present)

    def _follow(self, track: int, verdict: Verdict) -> None:
        self._consistency = self._consistency or [Consistency(each.judge.metric) for each in self.gate.judging]
        for consistency, z in zip(self._consistency, verdict.z, strict=True):
            consistency.add(track, *z)

    @property
    def consistency(self) -> Sequence[Consistency]:
        """Of each judge, in a video; none before a face was judged."""
        return self._consistency

    @property
    def unverified(self) -> int:
        """Faces that nobody judged and no filter covers."""
        return self.statuses[UNVERIFIED]

    def label(self) -> str:
        """What a reader must know first."""
        if not self.faces:
            return "no face was found"
        judged = self.statuses[VERIFIED]
        return f"{judged} of {self.faces} faces verified by a recognizer" if judged else NOT_JUDGED

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        judges = {}
        for number, each in enumerate(self.gate.judging):
            values = self._distances[number] if self._distances else []
            steady = self._consistency[number].plain() if self._consistency else {}
            judges[each.judge.name] = {
                "threshold": each.threshold,
                "metric": each.judge.metric,
                "faces": len(values),
                **({"least": _round(min(values)), "median": _round(statistics.median(values))} if values else {}),
                **({"M_tc": steady} if steady else {}),
            }
        return {
            "label": self.label(),
            "frames": self.frames,
            "faces": self.faces,
            "filled_in": self.filled,
            **{name: self.statuses[name] for name in STATUSES},
            "fallbacks": dict(self.reasons.most_common()),
            "judges": judges,
            **(
                {"tracks": [{"track": number, **row} for number, row in sorted(self._tracks.items())]}
                if self.video
                else {}
            ),
        }


def document(tally: Tally, seconds: float, about: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The whole report.

    Args:
        seconds: that the file took.
        about: what kind of file it is, and what of it was left out.
        settings: by which it was made, with ``weights``, the SHA-256 of every network's.
    """
    rate = round(tally.frames / seconds, 2) if seconds > 0 else None
    return {
        "anon": anon.__version__,
        **about,
        **tally.plain(),
        "seconds": round(seconds, 2),
        "frames_per_second": rate,
        "settings": settings,
    }


def summed(
    reports: Iterable[Mapping[str, Any]], settings: Mapping[str, Any], failed: int, aside: int
) -> dict[str, Any]:
    """One account of several files.

    Args:
        reports: of those that were written, each as :func:`document` made it; :data:`SUMMED` will do.
        failed: how many could not be written.
        aside: how many were not read.
    """
    counts: Counter[str] = Counter(dict.fromkeys(("files", "frames", "faces", "filled_in", *STATUSES), 0))
    reasons, judges, seconds = Counter[str](), dict[str, dict[str, Any]](), 0.0
    for one in reports:
        counts.update({"files": 1, **{name: int(one[name]) for name in counts if name != "files"}})
        reasons.update(one["fallbacks"])
        seconds += one["seconds"]
        for name, judge in one["judges"].items():
            whole = judges.setdefault(name, {**{key: judge[key] for key in ("threshold", "metric")}, "faces": 0})
            whole["faces"] += judge["faces"]
            if judge.get("least") is not None:
                whole["least"] = min(judge["least"], whole.get("least", math.inf))
    return {
        "anon": anon.__version__,
        "kind": "files",
        **counts,
        "failed": failed,
        "not_read": aside,
        "fallbacks": dict(reasons.most_common()),
        "judges": judges,
        "seconds": round(seconds, 2),
        "settings": settings,
    }


def report_of(output: Path) -> Path:
    """Where the report of an output lies."""
    return output.with_name(output.name + SUFFIX)


def page_of(output: Path) -> Path:
    """Where the report of an output lies as a page."""
    return output.with_name(output.name + PAGE)


def write(path: Path, content: Mapping[str, Any] | str) -> None:
    """Write JSON, or a page's text, in one go.

    Raises:
        OSError: it cannot be written.
    """
    text = content if isinstance(content, str) else json.dumps(content, indent=1) + "\n"
    with checksums.written_whole(path) as stream:
        stream.write(text.encode())


def _round(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None
