"""Text that came from files, made safe to show: in a terminal, on a page, in a table, in a spreadsheet.

Names of folders and files, and sentences about them, are written by strangers: they may hold escape sequences that a
terminal obeys, marks that turn the direction of a line, or a formula that a spreadsheet runs when it opens a CSV.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence

_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
_FORMULA = re.compile("[\\s\\x00-\\x1f]*[=+\\-@\uff1d\uff0b\uff0d\uff20]")


def visible(text: str) -> str:
    r"""What cannot be seen is shown as its number; ends of lines stay.

    >>> visible("Ann\x1b[31m\u202eB")
    'Ann\\x1b[31m\\u202eB'
    """
    return _HIDDEN.sub(lambda found: ascii(found[0])[1:-1], text)


def flat(text: str) -> str:
    r"""The same on one line, in which white space is one space.

    >>> flat("Ann\x07 \n B")
    'Ann\\x07 B'
    """
    return visible(re.sub(r"\s+", " ", text))


def cell(value: object) -> object:
    """A value as it may stand in a CSV: text that a spreadsheet would run begins with an apostrophe.

    Numbers stay numbers, also those that are written as text, and so does a single sign.

    >>> cell("=1+1"), cell("-0.12"), cell(-0.12), cell("-"), cell("FIVA")
    ("'=1+1", '-0.12', -0.12, '-', 'FIVA')
    """
    text = "" if value is None else str(value)
    if len(text) < 2 or not _FORMULA.match(text):
        return value
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return value


def as_csv(rows: Iterable[Sequence[object]]) -> str:
    """The text of a CSV; None is an empty cell."""
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\n").writerows([cell(value) for value in row] for row in rows)
    return buffer.getvalue()
