"""Figure 4 of FIVA: what is published behind each defense, and what the attackers make of it; a person a column.

Rows: the target, the anonymized face, and for each defense the published face, the naive attacker's reconstruction
and, where there is one, the adaptive attacker's. Under each picture the judge's cosine distance to the target, marked
where it lies below the threshold. It shows faces, so for people who exist it is made only when asked for
(``logger.images=true``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from anon.attacks.reconstruction import Reconstruction
from anon.evaluation import results as files
from anon.evaluation.defending import Defenses, Setting, published_faces
from anon.evaluation.embeddings import read_batch
from anon.evaluation.grid import FOOT, GAP, INK, PAPER, as_png
from anon.faces.contract import to_uint8

CELL = 128  # least side of a cell in pixels
SIDE = 190  # width of the labels
FOUND = (190, 30, 30)  # ink of a distance below the threshold


class Line(NamedTuple):
    """A row of the strip."""

    title: str
    images: Tensor  # (B, 3, H, W)
    distances: Sequence[float]  # to the target, by the judge
    begins: bool  # a defense begins here: a rule above


def publish(
    path: Path, setting: Setting, defenses: Defenses, adaptive: Mapping[str, Reconstruction], images: bool
) -> None:
    """Write the strip of the first ``grid_faces`` people, or say why not.

    Args:
        defenses: those that are shown, by name.
        adaptive: attacks by the name of the defense that they learned from.
        images: show people who exist too.

    Raises:
        UserError: it cannot be written.
    """
    if not (setting.faces.synthetic or images):
        print("strip not written: these faces belong to somebody (logger.images=true writes it)")
        return
    labels = setting.labels
    firsts = [
        int(setting.probe[(labels == label).nonzero()[0, 0]]) for label in labels.unique()[: setting.rule.grid_faces]
    ]
    target = read_batch(setting.faces, firsts)["image"].to(setting.device)
    files.write(path, as_png(draw(lines(setting, defenses, adaptive, target), setting.gallery.threshold)))
    print(f"strip {path}")


@torch.no_grad()
def lines(setting: Setting, defenses: Defenses, adaptive: Mapping[str, Reconstruction], target: Tensor) -> list[Line]:
    """The rows for the targets (B, 3, H, W)."""
    rng = torch.Generator().manual_seed(setting.seed)
    z = setting.judge(target)

    def line(title: str, images: Tensor, begins: bool = False) -> Line:
        return Line(title, images, (1.0 - (setting.judge(images) * z).sum(1)).clamp_min(0.0).tolist(), begins)

    plainly = setting.anonymizer(target, rng=rng)
    found = [line("target", target), line("anonymized", plainly)]
    for key, face in published_faces(setting.anonymizer, defenses, target, plainly, rng):
        found.append(line(f"{key}\npublished", face, begins=True))
        found.append(line("naive attacker", setting.naive.images(face)))
        if key in adaptive:
            found.append(line("adaptive attacker", adaptive[key].images(face)))
    return found


def draw(rows: Sequence[Line], threshold: float) -> Image.Image:
    """The rows as one picture, small faces enlarged; distances below ``threshold`` in red with an asterisk."""
    side = rows[0].images.shape[-1]
    cell = side * max(1, math.ceil(CELL / side))
    step = cell + FOOT + GAP
    width = SIDE + len(rows[0].images) * (cell + GAP)
    sheet = Image.new("RGB", (width, GAP + len(rows) * step + FOOT), PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=15)
    for number, row in enumerate(rows):
        top = GAP + number * step
        if row.begins:
            pen.line((GAP, top - GAP // 2, width - GAP, top - GAP // 2), INK)
        pen.multiline_text((GAP, top + cell // 2 - 18), row.title, INK, font=font)
        for column, (pixels, distance) in enumerate(
            zip(to_uint8(row.images).cpu().numpy(), row.distances, strict=True)
        ):
            left = SIDE + column * (cell + GAP)
            face = Image.fromarray(np.ascontiguousarray(pixels)).resize((cell, cell), Image.Resampling.LANCZOS)
            sheet.paste(face, (left, top))
            found = distance < threshold
            caption = f"distance {distance:.2f}{' *' if found else ''}"
            pen.text((left, top + cell + 2), caption, FOUND if found else INK, font=font)
    legend = f"* the judge's cosine distance to the target is below its threshold, {threshold:.2f}"
    pen.text((GAP, GAP + len(rows) * step), legend, FOUND, font=font)
    return sheet
