"""What each judge of a panel found, and the judges themselves; the tables show the worst case of all.

Nothing of this is in the report of one judge.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from anon.evaluation.document import Document, Table, by
from anon.evaluation.document.estimates import short
from anon.evaluation.document.recognizer import Recognizer
from anon.evaluation.judges.provenance import listed
from anon.evaluation.report.sheet import datasets, limit


@dataclass(frozen=True)
class Facts:
    """The judges on one data set: a fact a row, a judge a column."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def judges(document: Document) -> list[str]:
    """The names of the panel's judges in order; none of one judge alone."""
    return list(dict.fromkeys(each.name for panel in document.panel.values() for each in panel))


def by_judge(document: Document, table: Table) -> Table | None:
    """The table with a column for each judge in the place of each that shows a worst case; None where there is none."""
    names = judges(document)
    columns = tuple(
        replace(column, judge=name) for column in table.columns if document.info(column).has_worst for name in names
    )
    if not columns:
        return None
    return replace(
        table, name=by(table.name, "judge"), title=by(table.title, "judge"), columns=columns, published=None, about=""
    )


def with_own(document: Document) -> list[Table]:
    """The tables, each followed by its own by judge."""
    both = ((table, by_judge(document, table)) for table in document.tables)
    return [each for pair in both for each in pair if each is not None]


def worst_of(document: Document) -> str:
    """What the figures of a panel are, in a sentence; nothing of one judge."""
    names = judges(document)
    if not names:
        return ""
    return f"Shares are those of the judge who finds most, of {listed(names)}, with that judge's own interval."


def facts(document: Document) -> list[Facts]:
    """The judges of each data set, with the correlation of their impostor scores."""
    several = len(document.panel) > 1
    return [
        Facts(
            "The judges" + (f", {data}" if several else ""),
            ("", *(judge.name for judge in document.panel[data])),
            _rows(document, data, document.panel[data]),
        )
        for data in datasets(document)
        if data in document.panel
    ]


def _rows(document: Document, data: str, panel: tuple[Recognizer, ...]) -> tuple[tuple[str, ...], ...]:
    told = {
        "architecture": [judge.architecture or "not known" for judge in panel],
        "learned from the same people as the encoder of": [", ".join(judge.kin) or "nobody known" for judge in panel],
        "distance": [judge.metric for judge in panel],
        "threshold": [limit(judge, "threshold") for judge in panel],
        "threshold of two pictures": [limit(judge, "picture_threshold") for judge in panel],
        "FAR achieved": [f"{judge.far_achieved:.2g}" for judge in panel],
        "EER": ["" if judge.eer is None else f"{judge.eer:.2%}" for judge in panel],
    }
    found = {
        frozenset((pair.first, pair.second)): short(pair.value) for pair in document.correlations if pair.data == data
    }
    for judge in panel:
        row = [found.get(frozenset((judge.name, other.name)), "") for other in panel]
        told[f"impostor scores correlate with {judge.name}"] = row
    return tuple((name, *values) for name, values in told.items() if any(values))
