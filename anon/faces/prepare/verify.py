"""Is a finished packed data set still as it was written: ``anon prepare --verify --out <folder>``.

``SHA256SUMS`` holds the checksum of each file that the loader reads, as they were when the set was finished; those of
shards were taken when each was packed. ``sha256sum -c SHA256SUMS`` in the folder does the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from anon import checksums, plain
from anon.errors import UserError
from anon.faces.packed import Pack
from anon.progress import track

SUMS = "SHA256SUMS"
_MAX_SUMS = 16 * 1024**2  # bytes; that of a set of a million shards has 100
_LINE = re.compile(r"([0-9a-f]{64})  ([^/\s]+)")


def listing(sums: Mapping[str, str]) -> str:
    """The content of ``SHA256SUMS``."""
    return "".join(f"{checksum}  {name}\n" for name, checksum in sorted(sums.items()))


def verify(out: Path) -> int:
    """Read every file of a finished set.

    Returns:
        How many files there are.

    Raises:
        UserError: not finished, without checksums, or the files that are not as they were written, by name.
    """
    try:
        sums = _read(out)
        wrong = []
        for name in track(sorted(sums), "verifying files", len(sums)):
            file = out / name
            if file.is_symlink() or not file.is_file():  # the loader follows none either
                wrong.append(f"'{name}' is missing or a link")
            elif checksums.of_file(file) != sums[name]:
                wrong.append(f"'{name}' has another content")
        if not wrong:
            used = {"index.json", "index.safetensors", "files.jsonl"}
            used |= {str(shard["name"]) for shard in Pack(out).info["shards"]}
            wrong = [f"'{name}' has no checksum" for name in sorted(used - set(sums))]
    except OSError as error:
        raise UserError(f"The packed data set '{out}' cannot be read: {error.strerror or error}.") from error
    if wrong:
        raise UserError(
            f"The packed data set '{out}' is not as it was written: {', '.join(wrong)}; remove these files and run the "
            "same prepare command again."
        )
    return len(sums)


def _read(out: Path) -> dict[str, str]:
    path = out / SUMS
    if not path.is_file():
        finished = (out / "index.json").is_file()
        state = f"has no {SUMS}, as sets of older versions" if finished else "is no finished packed data set"
        raise UserError(f"'{out}' {state}; run the same prepare command again.")
    lines = [_LINE.fullmatch(line) for line in plain.read_text(path, _MAX_SUMS, "replace").splitlines()]
    sums = {line[2]: line[1] for line in lines if line is not None}
    if not sums or len(sums) != len(lines):
        raise UserError(f"'{path}' is damaged; run the same prepare command again.")
    return sums
