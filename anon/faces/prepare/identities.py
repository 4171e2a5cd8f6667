"""Who is seen in which file of a folder, as ``--identities`` says.

``folder``          the first folder of its path, however deep it lies
``pattern=<regex>`` what the group ``identity`` matches in its path: ``pattern=(?P<identity>.+)_[0-9]{4}[.]jpg``
``csv=<file>``      what a table with the columns ``file`` and ``identity`` says
``none``            nobody knows: each photograph and each video is a person of its own
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from anon.errors import UserError
from anon.faces.points import file_key
from anon.faces.splits import person

NOBODY = "in no person's folder"
FOLDER, NONE, PATTERN, TABLE = "folder", "none", "pattern=", "csv="


class Rule(NamedTuple):
    """Who is seen where."""

    of: Callable[[str], str | None]  # the path of a file, relative to the root, to an identity
    nobody: str  # why a file has none
    alone: bool = False  # every face is a person of its own


def rule(given: str, files: Sequence[str]) -> Rule:
    """What ``--identities`` asks for.

    Args:
        files: all paths, relative to the root.

    Raises:
        UserError: it is none of the four, the pattern is none or has no such group, or the table cannot be used.
    """
    if given == FOLDER:
        return Rule(lambda file: file.split("/")[0] if "/" in file else None, NOBODY)
    if given == NONE:
        return Rule(_apart(files).__getitem__, "", alone=True)
    if given.startswith(PATTERN):
        return Rule(_matcher(given.removeprefix(PATTERN)), "not matched by the pattern of --identities")
    if given.startswith(TABLE):
        table = _read(Path(given.removeprefix(TABLE)).expanduser(), files)
        return Rule(lambda file: table.get(file_key(file)), "not in the table of --identities")
    raise UserError(f"--identities {given} is none of folder, none, pattern=<regular expression>, csv=<file>.")


def _apart(files: Sequence[str]) -> dict[str, str]:
    """A name for each file; those that would pass for spellings of one person get a number."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for file in files:
        name, number = file, 1
        while person(name) in taken:
            number += 1
            name = f"{file} ({number})"
        taken.add(person(name))
        names[file] = name
    return names


def _matcher(pattern: str) -> Callable[[str], str | None]:
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise UserError(f"--identities pattern={pattern} is no regular expression: {error}.") from error
    if "identity" not in expression.groupindex:
        raise UserError(f"--identities pattern={pattern} needs a group (?P<identity>...), which names the person.")

    def of(file: str) -> str | None:
        found = expression.search(file)
        return None if found is None else found["identity"] or None

    return of


def _read(path: Path, files: Sequence[str]) -> dict[str, str]:
    table: dict[str, str] = {}
    twice = 0
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            if not {"file", "identity"} <= set(rows.fieldnames or ()):
                raise UserError(f"The table '{path}' of --identities needs the columns file and identity.")
            for row in rows:
                key, who = (str(row[name] or "").strip() for name in ("file", "identity"))
                if key and who:
                    twice += table.setdefault(file_key(key), who) != who
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not a UTF-8 CSV"
        raise UserError(f"The table '{path}' of --identities cannot be read: {reason}.") from error
    if twice:
        raise UserError(f"The table '{path}' of --identities names two people for {twice:,} files; one row each.")
    if not table:
        raise UserError(f"The table '{path}' of --identities names nobody: no row has a file and an identity.")
    if not any(file_key(file) in table for file in files):
        raise UserError(
            f"None of the {len(table):,} rows of the table '{path}' names one of the {len(files):,} files; its column "
            "'file' must hold paths relative to the root."
        )
    return table
