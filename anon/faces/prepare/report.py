"""What became of every file, in counts (``report.json``, ``report.md``, the terminal) and by name (``files.csv``).

``files.csv`` has a line a file, those that were not opened included::

    file       relative to the root; a folder that was not entered, or that holds the frames of a video, is one line
    identity   who it was taken for; empty where nobody
    kind       photograph, video, frames; other: by its name neither, tried as a photograph; hidden, folder: not opened
    outcome    kept, or why it gave no face
    kept       faces that were packed
    found      faces that the detector saw, or 1 where points were given; of a video in all frames
    note       ambiguous: several faces of similar size, so the chosen one may be another person; of a video that
               broke off: why
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from anon.faces.prepare.identities import NOBODY
from anon.faces.prepare.shard import identity
from anon.faces.prepare.sources import Aside, Source, kind_of, mixed
from anon.faces.splits import SPLITS
from anon.faces.video import is_video
from anon.printable import flat

COLUMNS = ("file", "identity", "kind", "outcome", "kept", "found", "note")


def lines(
    units: Iterable[dict[str, Any]], sources: Sequence[Source], aside: Sequence[Aside]
) -> Iterator[tuple[object, ...]]:
    """The rows of ``files.csv`` from the content of the units, by name."""
    rows: list[tuple[object, ...]] = [(file, "", kind, reason, 0, 0, "") for file, kind, reason in aside]
    for unit in units:
        kept = Counter(row["input"] for row in unit["faces"])
        for result in unit["results"]:
            source = sources[result["input"]]
            kind = kind_of(source.file)
            if source.video != is_video(source.file):
                kind = "frames" if source.video else "photograph"
            note = f"ambiguous: {result['alike']} faces of similar size" if result["alike"] else result["remark"] or ""
            outcome = result["reason"] or "kept"
            rows.append((source.file, source.identity, kind, outcome, kept[source.number], result["found"], note))
    yield COLUMNS
    yield from sorted(rows, key=lambda row: str(row[0]))


def summary(
    units: Iterable[dict[str, Any]], sources: Sequence[Source], aside: Sequence[Aside], same: int
) -> dict[str, Any]:
    """The counts; ``same``: faces that several people have."""
    inputs: Counter[str] = Counter()
    remarks: Counter[str] = Counter()
    rejected: Counter[str] = Counter()
    totals: Counter[str] = Counter()
    splits: Counter[str] = Counter()
    people = set()
    for unit in units:
        for result in unit["results"]:
            totals["frames"] += result["frames"]
            totals["others"] += result["others"]
            totals["ambiguous"] += result["alike"] > 0
            if result["reason"] is not None:
                inputs[result["reason"]] += 1
            if result["remark"] is not None:
                remarks[result["remark"]] += 1
            if sources[result["input"]].video:
                rejected.update(result["rejected"])
        for row in unit["faces"]:
            people.add(identity(sources[row["input"]], row))
            splits[sources[row["input"]].split] += 1
    return {
        "files": len(sources) + len(aside),
        "files not opened": _sorted(Counter(reason for _, _, reason in aside)),
        "inputs": len(sources),
        "videos": sum(source.video for source in sources),
        "pictures and frames read": totals["frames"],
        "faces": sum(splits.values()),
        "people": len(people),
        "faces of each split": {split: splits[split] for split in SPLITS},
        "rejected inputs": _sorted(inputs),
        "ambiguous photographs": totals["ambiguous"],
        "videos that ended early": _sorted(remarks),
        "video frames without a face": _sorted(rejected),
        "faces beside the chosen one": totals["others"],
        "people in several official splits": len(mixed(sources)),
        "faces that several people have": same,
    }


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def told(report: dict[str, Any]) -> str:
    """A few lines for the terminal: how many files, what became of them."""
    rejected, unopened = report["rejected inputs"], report["files not opened"]
    said = [
        f"{report['faces']:,} faces of {report['people']:,} people from {report['inputs']:,} inputs, "
        f"{sum(rejected.values()):,} rejected, {sum(unopened.values()):,} files not opened"
    ]
    for counts in (rejected, unopened):
        said += [f"  {count:,} {flat(reason)}" for reason, count in counts.items()]
    said += [f"  {NOBODY}: --identities pattern=... or csv=... says who they are"] if unopened.get(NOBODY) else []
    shares = ", ".join(f"{split} {count:,}" for split, count in report["faces of each split"].items())
    said.append(f"  faces of each split: {shares} (data.everyone=true evaluates all people of a small set)")
    if report["ambiguous photographs"]:
        said.append(f"  {report['ambiguous photographs']:,} ambiguous: of several faces of similar size one was taken")
    return "\n".join(said)


def markdown(name: str, report: dict[str, Any]) -> str:
    """The content of ``report.md``."""
    rows = [f"# {flat(name)}", "", "| | |", "|---|---|"]
    for key, value in report.items():
        if isinstance(value, dict):
            rows += [f"| {key} | {sum(value.values()):,} |"]
            rows += [f"| - {flat(reason)} | {number:,} |" for reason, number in value.items()]
        else:
            rows += [f"| {key} | {value:,} |"]
    return "\n".join(rows) + "\n"
