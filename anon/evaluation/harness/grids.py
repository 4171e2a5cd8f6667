"""Picture grids of the report: a person a row, a combination a column, the judge's distance to the target below each.

They show faces, so for people who exist they are made only when asked for (``logger.images=true``) and
only their owner may read the file.
"""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from anon.evaluation import results as files
from anon.evaluation.document import Document
from anon.evaluation.harness.context import ATTACKED, PUBLISHED, TARGET, MeasureContext
from anon.evaluation.harness.suite import CLEAN, NONE, Combination, Plan
from anon.faces.contract import to_float, to_uint8
from anon.identity.contract import DISTANCES
from anon.identity.verification import distance

COLUMNS = 7  # of a grid besides the target; more make another grid
CELL = 176  # least side of a cell in pixels
HEAD, FOOT, GAP = 24, 22, 6
INK, PAPER = (20, 20, 20), (255, 255, 255)


def write_grids(
    folder: Path,
    tables: Sequence[Plan],
    contexts: Mapping[Combination, MeasureContext],
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
        there = [one for one in there if contexts[one].people.synthetic or images]
        there = [] if shown.issuperset(there) else there
        shown.update(there)
        groups: dict[tuple[object, ...], list[Combination]] = {}
        for one in there:  # what stands side by side shares its targets
            group = (one.data, one.input, one.policy == "source", one.method if one.dial is not None else None)
            groups.setdefault(group, []).append(one)
        parts = [part for group in groups.values() for part in _split(group)]
        for number, part in enumerate(parts):
            file = f"grid_{plan.name}{'' if len(parts) == 1 else f'_{number + 1}'}.png"
            content = draw(_columns([contexts[one] for one in part], document, count))
            files.write(folder / file, content, owners=not all(contexts[one].people.synthetic for one in part))
            found[file] = _caption(plan, part, contexts)
    return found


def _split(group: Sequence[Combination]) -> list[Sequence[Combination]]:
    parts = -(-len(group) // COLUMNS)
    size = -(-len(group) // parts)
    return [group[start : start + size] for start in range(0, len(group), size)]


def _caption(plan: Plan, part: Sequence[Combination], contexts: Mapping[Combination, MeasureContext]) -> str:
    what = "the anonymized face"
    if any(one.attack != NONE for one in part):
        what += ", or what the attack makes of it"
    if part[0].input != CLEAN:
        what = f"the target ({part[0].input}) and {what}"
    if part[0].dial is not None:
        what += f"; the dial of {contexts[part[0]].title}"
    apart = DISTANCES[contexts[part[0]].metric]
    return f"{plan.title}: {what}; below each picture the judge's {apart} to the target."


def _columns(contexts: Sequence[MeasureContext], document: Document, count: int) -> list[tuple[str, Tensor, list[str]]]:
    """Title, pictures and captions of each column: the same people and pictures in all."""
    common = contexts[0].rows
    for context in contexts[1:]:
        common = common[torch.isin(common, context.rows)]
    labels = contexts[0].people.items.labels[common]
    firsts = torch.tensor([int(common[(labels == label).nonzero()[0, 0]]) for label in labels.unique()[:count]])
    z = _at(contexts[0], firsts, contexts[0].z(TARGET))
    found = [("target", _pictures(contexts[0], firsts, TARGET), [""] * len(firsts))]
    for context in contexts:
        attacked = context.one.attack != NONE
        of = ATTACKED if attacked else PUBLISHED
        apart = distance(_at(context, firsts, context.z(of)), z, context.metric).clamp_min(0.0).tolist()
        found.append((_title(context), _pictures(context, firsts, of), [f"distance {value:.2f}" for value in apart]))
    return found


def _title(context: MeasureContext) -> str:
    one = context.one
    names = [context.title, "" if one.policy in (NONE, "plain") else one.policy]
    names += [part for part in (one.defense, one.attack) if part != NONE]
    return " ".join(filter(None, [*names, "" if one.dial is None else f"{one.dial:g}"]))


def _pictures(context: MeasureContext, items: Tensor, of: str) -> Tensor:
    return to_float(_at(context, items, context.view(of).eight_bits()))


def _at(context: MeasureContext, items: Tensor, values: Tensor) -> Tensor:
    """The rows of some items; a context's rows rise, for they are places among the items."""
    order = context.rows.argsort()
    return values[order[torch.searchsorted(context.rows[order], items)]]


def draw(parts: Sequence[tuple[str, Tensor, list[str]]]) -> bytes:
    """The columns as one picture, a PNG file, small faces enlarged.

    Args:
        parts: title, pictures (B, 3, H, W) in [-1, 1] and captions of each column.
    """
    side = parts[0][1].shape[-1]
    scale = max(1, math.ceil(CELL / side))
    cell = side * scale
    rows = len(parts[0][1])
    width = GAP + len(parts) * (cell + GAP)
    sheet = Image.new("RGB", (width, HEAD + rows * (cell + FOOT + GAP)), PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=15)
    for column, (title, images, captions) in enumerate(parts):
        left = GAP + column * (cell + GAP)
        pen.text((left, 3), title, INK, font=font)
        for row, (pixels, caption) in enumerate(zip(to_uint8(images).cpu().numpy(), captions, strict=True)):
            top = HEAD + row * (cell + FOOT + GAP)
            face = Image.fromarray(np.ascontiguousarray(pixels)).resize((cell, cell), Image.Resampling.LANCZOS)
            sheet.paste(face, (left, top))
            pen.text((left, top + cell + 2), caption, INK, font=font)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()
