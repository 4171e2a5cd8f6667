"""The report as a page: what was done to the faces, in words and tables; nothing to load, no script, no face, no name.

    python anonymize.py input=clip.mp4 output=out.mp4      # writes out.mp4.json and out.mp4.html beside the result

It says what the JSON says (:mod:`anon.video.report`), in the style of an evaluation's report.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from anon.evaluation.report.page import rendered
from anon.printable import visible
from anon.video.gate import (
    COVERED,
    FAILED,
    RECOGNIZED,
    SMALL,
    TURNED,
    UNVERIFIED,
    VERIFIED,
    WITHOUT,
)

SHOWN = 12  # tracks; more are folded away
_MEANS = {
    VERIFIED: "every judge takes it for another person",
    COVERED: "nothing of it is left but one colour",
    UNVERIFIED: "changed, and no recognizer judged it",
}
_WHY = {
    RECOGNIZED: "a judge's distance is below its threshold, or the judge failed",
    FAILED: "its picture was none, or the face too small for it",
    SMALL: "the box is below gate.min_size",
    TURNED: "the five points are far from a frontal face's (gate.max_turn)",
    WITHOUT: "no detector saw it in this frame, or it gives no points",
}


class Row(NamedTuple):
    """A line of a table: what, how many, their share, and what that means."""

    name: str
    faces: int
    share: str
    about: str


def page(report: Mapping[str, Any]) -> str:
    """The page of a report: of one file (:func:`anon.video.report.document`), or of several (``summed``)."""
    settings = {name: value for name, value in report["settings"].items() if name != "weights"}
    tracks = report.get("tracks", [])
    return visible(
        rendered(
            Path(__file__).parent,
            {},
            title=_title(report),
            told=sentence(report),
            statuses=[_row(report, name, int(report[name]), about) for name, about in _MEANS.items()],
            fallbacks=[_row(report, name, int(count), _WHY[name]) for name, count in report["fallbacks"].items()],
            filled=int(report["filled_in"]),
            judges=report["judges"],
            steady={name: judge["M_tc"] for name, judge in report["judges"].items() if "M_tc" in judge},
            tracks=tracks[:SHOWN],
            further=tracks[SHOWN:],
            facts=list(_facts(report)),
            settings=list(_flat(settings)),
            weights=list(_flat(report["settings"].get("weights", {}))),
        )
    )


def sentence(report: Mapping[str, Any]) -> str:
    """What was done, in one sentence.

    >>> sentence({"kind": "photograph", "faces": 2, "verified": 0, "covered": 2, "unverified": 0, "judges": {}})
    'In this photograph, 2 faces were found and changed: 2 are covered by one colour. No recognizer judged them.'
    """
    faces = int(report["faces"])
    where = {"photograph": "this photograph", "video": f"the {counted(report.get('frames', 0), 'frame')} of this video"}
    place = where.get(report["kind"], counted(report.get("files", 0), "file"))
    if not faces:
        return f"In {place}, no face was found, so none was changed."
    judges = counted(len(report["judges"]), "recognizer")
    parts = {
        VERIFIED: f"taken for somebody else by {judges}",
        COVERED: "covered by one colour",
        UNVERIFIED: "changed, and not verified by a recognizer",
    }
    told = [
        f"{report[name]:,} {'is' if report[name] == 1 else 'are'} {what}"
        for name, what in parts.items()
        if report[name]
    ]
    found = (
        f"In {place}, {counted(faces, 'face')} {'was' if faces == 1 else 'were'} found and changed: {'; '.join(told)}."
    )
    if report["judges"] or report[UNVERIFIED]:
        return found
    return f"{found} No recognizer judged {'it' if faces == 1 else 'them'}."


def _title(report: Mapping[str, Any]) -> str:
    return {"photograph": "Anonymized photograph", "video": "Anonymized video"}.get(report["kind"], "Anonymized files")


def counted(count: int, what: str) -> str:
    """In words: 1 face, 2 faces."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _row(report: Mapping[str, Any], name: str, count: int, about: str) -> Row:
    return Row(name, count, f"{100 * count / report['faces']:.1f} %" if report["faces"] else "-", about)


def _facts(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What kind of file it is, and how fast it went."""
    if "width" in report:
        yield "size", f"{report['width']} x {report['height']} pixels"
    names = {"files": "files", "failed": "not written", "not_read": "not read", "frames": "frames", "faces": "faces"}
    for name, title in names.items():
        if name in report and not (name == "frames" and report["kind"] == "photograph"):
            yield title, f"{report[name]:,}"
    if "tracks" in report:
        yield "tracks of faces", f"{len(report['tracks']):,}"
    if report["kind"] == "photograph":
        least = report.get("smallest_face")
        yield "smallest face that could be found", "not known" if least is None else f"{least} pixels"
    if report["kind"] == "video":
        yield "sound", report["sound"] or "none"
        yield "left out", ", ".join(report["left_out"]) or "nothing"
    if report.get("frames_per_second") is not None and report["kind"] == "video":
        yield "frames a second", f"{report['frames_per_second']:,}"
    yield "seconds", f"{report['seconds']:,}"
    yield "anon", str(report["anon"])


def _flat(node: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Settings by their dotted names, as on the command line."""
    if isinstance(node, Mapping) and node:
        for name, value in node.items():
            yield from _flat(value, f"{key}.{name}" if key else str(name))
    elif key:
        plain = {True: "true", False: "false", None: "null"}
        yield key, plain[node] if node is None or isinstance(node, bool) else str(node)
