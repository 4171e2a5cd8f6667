"""The whole of preparing: what is already there is skipped, the rest is packed, whoever comes last writes the index.

``out`` comes to hold::

    prepare.json            options and a digest of the inputs: other ones into the same folder are refused
    units/000000.json       a finished unit: what became of its inputs, where its faces lie
    shard-000000.tar        its faces; no file where it has none
    index.json, index.safetensors, files.jsonl       what the loader reads (anon.faces.packed)
    SHA256SUMS              checksums of all that, which prepare --verify compares (anon.faces.prepare.verify)
    report.json, report.md, files.csv                counts; what became of every file (anon.faces.prepare.report)
    repeated.csv            faces that are those of several people, byte for byte

A folder that prepare makes, and all that it writes, is its owner's only: it holds faces and names.
Everything is written beside and renamed, and a unit's JSON after its shard: a run that is killed leaves whole units and
one part file a worker, which the next run throws away.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from anon import checksums, plain
from anon.errors import UserError
from anon.faces.prepare import finish
from anon.faces.prepare.options import Options
from anon.faces.prepare.sources import Aside, Source, digest, units
from anon.faces.prepare.workers import Limits, Unit, pack
from anon.faces.tree import spelled
from anon.progress import track

LIMITS = Limits(seconds=120.0, memory=0.0)
BEGUN = "prepare.json"  # what a packed set was begun with


def prepare(
    sources: Sequence[Source],
    name: str,
    out: Path,
    options: Options,
    workers: int = 1,
    limits: Limits = LIMITS,
    task: int = 0,
    tasks: int = 1,
    contact_sheet: bool = False,
    aside: Sequence[Aside] = (),
) -> dict[str, Any] | None:
    """Pack ``sources`` into ``out``.

    Args:
        name: of the data set, in its index.
        workers: processes.
        task, tasks: this task of an array of them; unit i is task i % tasks's.
        contact_sheet: also write ``contact-sheet.png``; it shows the people.
        aside: files that are in the report only.

    Returns:
        The report, or None where other tasks have units to finish.

    Raises:
        UserError: the folder was begun with other options or inputs, is in use or cannot be written; no face in all.
    """
    if not 0 <= task < tasks:
        raise UserError(f"Task {task} of {tasks} cannot be; SLURM arrays for prepare begin at 0.")
    if workers < 1 or limits.seconds <= 0 or limits.memory < 0:
        raise UserError("--workers must be at least 1, --timeout above 0 and --memory not negative.")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.mkdir(mode=0o700, exist_ok=True)
        (out / "units").mkdir(mode=0o700, exist_ok=True)
        _claim(out, sources, options)
        lock = FileLock(out / f".task-{task}-of-{tasks}.lock")
        with lock.acquire(timeout=0):
            ranges = units(sources, options.unit)
            todo = []
            for number in range(task, len(ranges), tasks):
                if not finished(out, number, ranges[number]):
                    part = out / f".shard-{number:06d}.{task}-of-{tasks}.part"
                    part.unlink(missing_ok=True)  # what a worker of a killed run still writes is lost
                    todo.append(Unit(number, [sources[i] for i in ranges[number]], part))
            inputs = sum(len(unit.sources) for unit in todo)
            for _ in track(_packed(out, pack(todo, options, workers, limits)), "packing faces", inputs):
                pass
            if not all(finished(out, number, inputs) for number, inputs in enumerate(ranges)):
                return None
            with FileLock(out / ".index.lock"):
                return finish.write(out, name, sources, aside, len(ranges), options, contact_sheet)
    except Timeout as error:
        raise UserError(f"Another prepare is filling '{out}'; wait for it or choose another --out.") from error
    except OSError as error:
        raise UserError(f"--out '{out}' cannot be written: {error.strerror or type(error).__name__}.") from error


def _packed(out: Path, events: Iterator[Unit | None]) -> Iterator[None]:
    """Put whole units in their place; yields once an input."""
    for unit in events:
        if unit is None:
            yield None
        else:
            _keep(out, unit)


def _keep(out: Path, unit: Unit) -> None:
    size, checksum = 0, ""
    if unit.faces:
        size, checksum = unit.part.stat().st_size, checksums.of_file(unit.part)
        os.replace(unit.part, out / finish.shard_name(unit.number))
    else:
        unit.part.unlink()
    content = {"results": unit.results, "faces": unit.faces, "bytes": size, "sha256": checksum}
    finish.write_text(out / "units" / f"{unit.number:06d}.json", json.dumps(content, sort_keys=True))


def finished(out: Path, number: int, inputs: range) -> bool:
    """Whether a unit is whole: its JSON says so, and its shard has the size that this states."""
    path = out / "units" / f"{number:06d}.json"
    if not path.is_file():
        return False
    content = finish.read_unit(path)
    shard = out / finish.shard_name(number)
    size = shard.stat().st_size if shard.is_file() else 0
    return [result["input"] for result in content["results"]] == list(inputs) and size == content["bytes"]


def check_place(out: Path) -> None:
    """See that the packed set gets a folder of its own, before anything is read.

    Raises:
        UserError: it holds files that no packed set has; those would neither be packed nor told apart from it.
    """
    try:
        names = sorted(entry.name for entry in os.scandir(out)) if out.is_dir() else []
    except OSError as error:
        raise UserError(f"--out '{out}' cannot be read: {error.strerror}.") from error
    strange = [name for name in names if name != "units" and not name.startswith(".")]
    if strange and not (out / BEGUN).is_file():
        first = f"'{spelled(strange[0])}'{', ...' * (len(strange) > 1)}"
        raise UserError(f"--out '{out}' holds what is no packed set's ({first}): name a new folder, or an empty one.")


def _claim(out: Path, sources: Sequence[Source], options: Options) -> None:
    """Begin the folder, or see that it was begun with the same options and inputs."""
    wanted: dict[str, Any] = {"options": options.plain(), "inputs": digest(sources), "count": len(sources)}
    path = out / BEGUN
    with FileLock(out / ".prepare.lock"):
        if not path.exists():
            finish.write_text(path, json.dumps(wanted, indent=1, sort_keys=True))
            return
        try:
            begun = plain.read_json(path)
            differing = sorted(key for key, value in wanted["options"].items() if begun["options"].get(key) != value)
            same_inputs = begun["inputs"] == wanted["inputs"]
        except (UserError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"'{path}' is damaged; choose another --out.") from error
    if differing:
        raise UserError(
            f"--out '{out}' was begun with other options ({', '.join(differing)}); give those again or another --out."
        )
    if not same_inputs:
        raise UserError(
            f"--out '{out}' was begun with other inputs, --identities, --points or --frames, or they changed since; "
            "choose another --out, or remove that folder to pack anew."
        )
