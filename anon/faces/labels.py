"""Labels of pictures or people from a CSV: what figures are told by group for (gender, age, skin tone, glasses, ...).

    python evaluate.py suite=groups data=folder data.root=<folder> data.labels=<csv>

The column ``file`` names photographs by their path relative to ``data.root``, or ``identity`` names people; where both
are there, ``file`` does. Every further column is a label. Its cells are classes, or numbers where all of them are and
more than :data:`CLASSES` differ; what is empty or one of :data:`UNKNOWN` is unknown. A column of more than
:data:`MOST` classes is no grouping and is left out. Rows of other pictures or people are ignored; of several rows for
one the first counts.
"""

from __future__ import annotations

import csv
import io
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from anon import plain
from anon.errors import UserError
from anon.faces.contract import Label
from anon.faces.points import file_key
from anon.faces.splits import EVERYONE, person, tell_once

CLASSES = 10  # different numbers, at most, that are classes
MOST = 24  # classes of a label
UNKNOWN = ("na", "n/a", "nan", "null", "unknown", "?")  # in any case; "none" is a class: of glasses, of beards


def annotated(sets: Callable[..., Any], path: str | Path, split: str) -> Any:
    """One split of a data set, a :class:`anon.faces.contract.Collated`, with the labels of a CSV.

    The table must have some of those who are evaluated; of others, whom it may leave out, it says what it says.

    Raises:
        UserError: see :func:`read_labels` and :func:`labels_for`.
    """
    faces = sets(split=split)
    files = getattr(faces, "files", None)
    place = Path(path).expanduser()
    table = read_labels(place)
    if split in ("evaluation", EVERYONE) or named(table, faces.names, faces.labels, files):
        faces.given = labels_for(table, faces.names, faces.labels, files, place)
    return faces


class Table:
    """Rows of a CSV: ``cells`` by the name of a picture or of a person, in the order of ``names``, the labels'."""

    def __init__(self, key: str, names: Sequence[str], cells: Mapping[str, Sequence[str]]) -> None:
        self.key, self.names, self.cells = key, names, cells


def read_labels(path: Path) -> Table:
    """The rows of a CSV.

    Raises:
        UserError: no such file, no CSV, no column ``file`` or ``identity``, or none beside it.
    """
    where = f"data.labels='{path}'"
    cells: dict[str, Sequence[str]] = {}
    try:
        with io.TextIOWrapper(plain.opened(path), "utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            head = [name.strip() for name in next(reader, [])]
            key = next((name for name in ("file", "identity") if name in head), None)
            names = [name for name in head if name not in ("file", "identity", "")]
            if key is None or not names or len(set(head)) < len(head):
                raise UserError(
                    f"{where} needs a column 'file' (<identity>/<image>, relative to data.root) or 'identity', and "
                    "beside it one column for each label, each under a name of its own."
                )
            if odd := next((name for name in names if set(name) & set("=:")), None):
                raise UserError(
                    f"{where} has a column '{odd}'; figures are named by it, so it may hold no = and no ':'."
                )
            places = [head.index(name) for name in names]
            for row in reader:
                if len(row) >= len(head) and row[head.index(key)].strip():
                    cells.setdefault(_spelled(row[head.index(key)].strip(), key), [row[at].strip() for at in places])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not a UTF-8 CSV"
        raise UserError(f"{where} cannot be read: {reason}.") from error
    return Table(key, names, cells)


def named(
    table: Table, people: Sequence[str], owners: Tensor, files: Callable[[], Sequence[str]] | None
) -> list[Sequence[str] | None]:
    """The row of each of a set's N pictures, None without one; an empty list where no picture has one."""
    if table.key == "file" and files is None:
        return []
    names = files() if table.key == "file" and files is not None else [people[owner] for owner in owners.tolist()]
    rows = [table.cells.get(_spelled(name, table.key)) for name in names]
    return rows if any(row is not None for row in rows) else []


def labels_for(
    table: Table, people: Sequence[str], owners: Tensor, files: Callable[[], Sequence[str]] | None, path: Path
) -> dict[str, Label]:
    """What the rows say of a set's N pictures.

    Args:
        people: names of the set's people, and
        owners: (N,) whose each picture is, among them.
        files: gives the N relative paths of the pictures; None: the set knows none.

    Raises:
        UserError: the rows name none of them.
    """
    if table.key == "file" and files is None:
        raise UserError(
            f"data.labels='{path}' names files, and this data has none; name people in a column 'identity'."
        )
    rows = named(table, people, owners, files)
    if not rows:
        raise UserError(
            f"None of the {len(table.cells):,} rows of data.labels='{path}' names a {table.key} of the evaluated "
            "people; 'file' is <identity>/<image> relative to data.root, 'identity' the name of its folder."
        )
    found = {}
    for column, name in enumerate(table.names):
        label = label_of(["" if row is None else row[column] for row in rows])
        if label is None:
            tell_once(f"data.labels='{path}': the column '{name}' has more than {MOST} classes and is left out.")
        else:
            found[name] = label
    return found


def label_of(cells: Sequence[str]) -> Label | None:
    """The label of N cells; None where it has too many classes.

    >>> label_of(["old", "", "young"])
    Label(values=tensor([ 0, -1,  1]), classes=('old', 'young'))
    >>> label_of([str(year) for year in range(20, 31)]).values[:2]  # eleven numbers
    tensor([20., 21.])
    """
    cells = ["" if cell.lower() in UNKNOWN else cell for cell in cells]
    known = sorted({cell for cell in cells if cell})
    numbers = [_number(cell) for cell in known]
    if len(known) > CLASSES and None not in numbers:
        return Label(torch.tensor([math.nan if not cell else float(cell) for cell in cells]))
    if len(known) > MOST:
        return None
    if None not in numbers:
        known.sort(key=float)
    place = {cell: at for at, cell in enumerate(known)}
    return Label(torch.tensor([place.get(cell, -1) for cell in cells], dtype=torch.int64), tuple(known))


def label_of_numbers(values: Tensor) -> Label | None:
    """The label of a column (N,) of numbers, by the same rule; None of more dimensions.

    >>> label_of_numbers(torch.tensor([1, -1, 1]))
    Label(values=tensor([1, 0, 1]), classes=('-1', '1'))
    """
    if values.ndim != 1:
        return None
    known = values[~values.isnan()].unique() if values.is_floating_point() else values.unique()
    if len(known) > CLASSES:
        return Label(values.float())
    place = torch.searchsorted(known, values.nan_to_num() if values.is_floating_point() else values)
    unknown = values.isnan() if values.is_floating_point() else torch.zeros_like(values, dtype=torch.bool)
    return Label(place.masked_fill(unknown, -1), tuple(f"{value:.17g}" for value in known.tolist()))


def groups(label: Label, quantiles: Sequence[float]) -> dict[str, Tensor]:
    """Which pictures (N,) bool are in each group: of each class, or between quantiles of the known numbers.

    The names of the latter state where the cuts are, rounded to four digits.

    >>> found = groups(Label(torch.tensor([1.0, 2.0, 3.0, 9.0])), [0.5])
    >>> {name: chosen.tolist() for name, chosen in found.items()}
    {'below 2.5': [True, True, False, False], '2.5 or more': [False, False, True, True]}
    """
    if label.classes:
        return {name: label.values == at for at, name in enumerate(label.classes)}
    known = label.values[~label.values.isnan()].double()
    if len(known) == 0:
        return {}
    cuts = [float(f"{cut:.4g}") for cut in np.quantile(known.numpy(), sorted(quantiles))]
    found = {}
    for low, high in itertools.pairwise([-math.inf, *dict.fromkeys(cuts), math.inf]):
        name = f"{low:.4g} or more" if high == math.inf else f"{low:.4g} to {high:.4g}"
        name = f"below {high:.4g}" if low == -math.inf else name
        found[name] = (label.values >= low) & (label.values < high)
    return {name: chosen for name, chosen in found.items() if bool(chosen.any())}


def _number(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _spelled(name: str, key: str) -> str:
    return file_key(name) if key == "file" else person(name)
