"""Index and report of a packed data set, from the JSON of its units; a pure function of them."""

from __future__ import annotations

import collections
import hashlib
import io
import json
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors.numpy import save

from anon import checksums, plain
from anon.errors import UserError
from anon.faces import packed_index
from anon.faces.alignment import Framing
from anon.faces.cache import owners_only
from anon.faces.decoding import repeated
from anon.faces.packed import Pack
from anon.faces.prepare.options import Options
from anon.faces.prepare.report import lines, markdown, summary
from anon.faces.prepare.shard import identity
from anon.faces.prepare.sources import Aside, Source
from anon.faces.prepare.verify import SUMS, listing
from anon.faces.splits import SPLITS
from anon.printable import as_csv

log = logging.getLogger(__name__)

SHEET = (8, 8)  # faces of a contact sheet, down and across


def shard_name(unit: int) -> str:
    """Name of a unit's shard."""
    return f"shard-{unit:06d}.tar"


def write_text(path: Path, text: str) -> None:
    """Write beside and rename; its owner's only."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write beside and rename; its owner's only."""
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    with open(part, "wb", opener=owners_only) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


_MAX_UNIT = 1 << 30, 10**8  # bytes, values: a million photographs with all their faces


def read_unit(path: Path) -> dict[str, Any]:
    """A finished unit.

    Raises:
        UserError: damaged.
    """
    try:
        content = plain.read_json(path, *_MAX_UNIT)
        rows, faces = content["results"], content["faces"]
        numbers = [content["bytes"], *(row["input"] for row in rows)]
        numbers += [row[key] for row in rows for key in ("frames", "found", "others", "alike")]
        numbers += [row[key] for row in faces for key in ("input", "place", "offset", "length", "video", "frame")]
        if isinstance(rows, list) and isinstance(faces, list) and all(type(n) is int for n in numbers):
            return dict(content)
    except (UserError, KeyError, TypeError) as error:
        raise UserError(f"'{path}' is damaged; remove it and run prepare again.") from error
    raise UserError(f"'{path}' is damaged; remove it and run prepare again.")


def write(
    out: Path,
    name: str,
    sources: Sequence[Source],
    aside: Sequence[Aside],
    count: int,
    options: Options,
    contact_sheet: bool,
) -> dict[str, Any]:
    """Write index and report of ``count`` units; the index's JSON comes last, it is what the loader looks for.

    Returns:
        The report.

    Raises:
        UserError: no unit has a face.
    """
    same = _repeated(out, sources, count)
    report = summary(_units(out, count), sources, aside, len(same))
    write_text(out / "report.json", json.dumps(report, indent=1) + "\n")
    write_text(out / "report.md", markdown(name, report))
    write_text(out / "files.csv", as_csv(lines(_units(out, count), sources, aside)))
    write_text(out / "repeated.csv", as_csv([("file", "picture"), *same]))
    if same:
        log.warning(
            f"{name}: {len(same):,} faces are, byte for byte, those of another person too (listed in "
            f"{out / 'repeated.csv'}): one person under two names, or a picture in the wrong folder."
        )
    if not report["faces"]:
        reasons = ", ".join(f"{number:,} {reason}" for reason, number in report["rejected inputs"].items())
        raise UserError(f"None of the {len(sources):,} inputs gave a face: {reasons}; see '{out / 'files.csv'}'.")
    for part in out.glob(".shard-*.part"):  # of killed runs
        part.unlink(missing_ok=True)
    _index(out, name, sources, count, options)
    if contact_sheet:
        _sheet(out, options)
    return report


def _units(out: Path, count: int) -> Iterator[dict[str, Any]]:
    return (read_unit(out / "units" / f"{number:06d}.json") for number in range(count))


def _index(out: Path, name: str, sources: Sequence[Source], count: int, options: Options) -> None:
    columns: dict[str, list[Any]] = collections.defaultdict(list)
    labels: dict[str, list[Any]] = {}
    sizes, sums = {}, {}
    for number, unit in enumerate(_units(out, count)):
        if unit["faces"]:
            shard = shard_name(number)
            sizes[shard] = unit["bytes"]
            sums[shard] = unit["sha256"]
        for row in unit["faces"]:
            source = sources[row["input"]]
            columns["identity"].append(identity(source, row))
            columns["split"].append(SPLITS.index(source.split))
            columns["shard"].append(len(sizes) - 1)
            for field in ("input", "offset", "length", "video", "frame", "landmarks"):
                columns[field].append(row[field])
            columns["score"].append(np.nan if row["score"] is None else row["score"])
            _add_labels(labels, row["labels"], len(columns["input"]) - 1)
    names = sorted(set(columns["identity"]))
    position = {identity: i for i, identity in enumerate(names)}
    arrays: dict[str, np.ndarray] = {
        "label": np.array([position[identity] for identity in columns["identity"]], np.int64),
        "split": np.array(columns["split"], np.uint8),
        "shard": np.array(columns["shard"], np.int32),
        **{key: np.array(columns[key], np.int64) for key in ("input", "offset", "length", "video", "frame")},
        "landmarks": np.array(columns["landmarks"], np.float32),
        "score": np.array(columns["score"], np.float32),
    }
    for key in sorted(labels):
        array = np.array(labels[key])
        kind = np.int64 if array.dtype.kind in "iub" else np.float32
        arrays[f"labels.{key}"] = array.astype(kind)
    write_bytes(out / "index.safetensors", save(arrays))
    write_text(out / "files.jsonl", "".join(json.dumps(source.file) + "\n" for source in sources))
    content = {
        "version": packed_index.VERSION,
        "name": name,
        "size": options.size,
        "framing": Framing.of(options.size).view,
        "margin": options.margin,
        "codec": options.codec,
        "faces": len(columns["input"]),
        "shards": [{"name": shard, "bytes": size} for shard, size in sizes.items()],
        "splits": list(SPLITS),
        "names": names,
    }
    text = json.dumps(content, sort_keys=True)
    sums |= {name: checksums.of_file(out / name) for name in ("index.safetensors", "files.jsonl")}
    sums["index.json"] = hashlib.sha256(text.encode()).hexdigest()
    write_text(out / SUMS, listing(sums))
    write_text(out / "index.json", text)


def _add_labels(labels: dict[str, list[Any]], given: dict[str, Any], row: int) -> None:
    """Keep the columns of numbers that every face has, all of one shape."""
    if row == 0:
        labels.update({key: [] for key, value in given.items() if _shape(value) is not None})
    for key in list(labels):
        value = given.get(key)
        if _shape(value) is None or (labels[key] and _shape(labels[key][0]) != _shape(value)):
            del labels[key]
        else:
            labels[key].append(value)


def _shape(value: Any) -> tuple[int, ...] | None:
    """Of a number or a regular list of numbers; None for anything else."""
    if isinstance(value, (bool, int, float)):
        return ()
    if not isinstance(value, list) or not value:
        return None
    shapes = {_shape(each) for each in value}
    inner = shapes.pop()
    return None if shapes or inner is None else (len(value), *inner)


def _repeated(out: Path, sources: Sequence[Source], count: int) -> list[tuple[str, str]]:
    """File and picture of the faces that several people have byte for byte."""
    rows = [row for unit in _units(out, count) for row in unit["faces"]]
    digests = [row["digest"] for row in rows]
    found = repeated(digests, [identity(sources[row["input"]], row) for row in rows])
    return [(sources[rows[place]["input"]].file, f"{digests[place] % 2**64:016x}") for place in found]


def _sheet(out: Path, options: Options) -> None:
    """Faces at even distances through the data set."""
    pack = Pack(out)
    down, across = SHEET
    side = min(options.size, 128)
    sheet = Image.new("RGB", (across * side, down * side))
    chosen = np.linspace(0, pack.count - 1, min(pack.count, down * across)).round().astype(int)
    for place, row in enumerate(dict.fromkeys(chosen.tolist())):
        face = Image.fromarray(pack.frame(row)).resize((side, side), Image.Resampling.LANCZOS)
        sheet.paste(face, (place % across * side, place // across * side))
    encoded = io.BytesIO()
    sheet.save(encoded, "PNG", optimize=True)
    write_bytes(out / "contact-sheet.png", encoded.getvalue())
