"""Picture grids of the report: a person a row, a combination a column, the judge's distance to the target below each.

They show faces, so for people who exist they are made only when asked for (``logger.images=true``) and
only their owner may read the file.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from anon.evaluation import results as files
from anon.evaluation.document import Document
from anon.evaluation.grid import as_png, draw
from anon.evaluation.harness.cell import PUBLISHED, SEEN, TARGET, Cell
from anon.evaluation.harness.suite import CLEAN, NONE, Combination, Plan
from anon.faces.contract import to_float

COLUMNS = 7  # of a grid besides the target; more make another grid


def write_grids(
    folder: Path,
    tables: Sequence[Plan],
    cells: Mapping[Combination, Cell],
    needs: Mapping[Combination, str | None],
    document: Document,
    count: int,
    images: bool,
) -> dict[str, str]:
    """Write grids of every table; none of one whose combinations an earlier table has shown already.

    Args:
        count: people of a grid; 0: none.
        images: show people who exist too.

    Returns:
        What each shows, by file name.
    """
    found: dict[str, str] = {}
    if count > 0:
        print("drawing the grids of faces", file=sys.stderr, flush=True)
    shown: set[Combination] = set()
    for plan in tables if count > 0 else ():
        there = [one for one in plan.combinations if needs[one] is None and one.method != "real"]
        there = [one for one in there if cells[one].people.synthetic or images]
        there = [] if shown.issuperset(there) else there
        shown.update(there)
        groups: dict[tuple[object, ...], list[Combination]] = {}
        for one in there:  # what stands side by side shares its targets
            group = (one.data, one.input, one.policy == "source", one.method if one.dial is not None else None)
            groups.setdefault(group, []).append(one)
        parts = [part for group in groups.values() for part in _split(group)]
        for number, part in enumerate(parts):
            file = f"grid_{plan.name}{'' if len(parts) == 1 else f'_{number + 1}'}.png"
            content = as_png(draw(_columns([cells[one] for one in part], document, count)))
            files.write(folder / file, content, owners=not all(cells[one].people.synthetic for one in part))
            found[file] = _caption(plan, part, cells)
    return found


def _split(group: Sequence[Combination]) -> list[Sequence[Combination]]:
    parts = -(-len(group) // COLUMNS)
    size = -(-len(group) // parts)
    return [group[start : start + size] for start in range(0, len(group), size)]


def _caption(plan: Plan, part: Sequence[Combination], cells: Mapping[Combination, Cell]) -> str:
    what = "the anonymized face"
    if any(one.attack != NONE for one in part):
        what += ", or what the attack makes of it"
    if part[0].input != CLEAN:
        what = f"the target ({part[0].input}) and {what}"
    if part[0].dial is not None:
        what += f"; the dial of {cells[part[0]].title}"
    return f"{plan.title}: {what}; below each picture the judge's cosine distance to the target."


def _columns(cells: Sequence[Cell], document: Document, count: int) -> list[tuple[str, Tensor, list[str]]]:
    """Title, pictures and captions of each column: the same people and pictures in all."""
    common = cells[0].rows
    for cell in cells[1:]:
        common = common[torch.isin(common, cell.rows)]
    labels = cells[0].people.items.labels[common]
    firsts = torch.tensor([int(common[(labels == label).nonzero()[0, 0]]) for label in labels.unique()[:count]])
    z = _at(cells[0], firsts, cells[0].z(TARGET))
    found = [("target", _pictures(cells[0], firsts, TARGET), [""] * len(firsts))]
    for cell in cells:
        attacked = cell.one.attack != NONE
        of = SEEN if attacked else PUBLISHED
        apart = (1.0 - (_at(cell, firsts, cell.z(of)) * z).sum(1)).clamp_min(0.0).tolist()
        found.append((_title(cell), _pictures(cell, firsts, of), [f"distance {value:.2f}" for value in apart]))
    return found


def _title(cell: Cell) -> str:
    one = cell.one
    names = [cell.title, "" if one.policy in (NONE, "plain") else one.policy]
    names += [part for part in (one.defense, one.attack) if part != NONE]
    return " ".join(filter(None, [*names, "" if one.dial is None else f"{one.dial:g}"]))


def _pictures(cell: Cell, items: Tensor, of: str) -> Tensor:
    return to_float(_at(cell, items, cell.view(of).eight_bits()))


def _at(cell: Cell, items: Tensor, values: Tensor) -> Tensor:
    """The rows of some items; a cell's rows rise, for they are places among the items."""
    order = cell.rows.argsort()
    return values[order[torch.searchsorted(cell.rows[order], items)]]
