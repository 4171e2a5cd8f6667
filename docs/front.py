"""Makes what the first screen of README.md shows: its table, its plot and its picture of faces.

    python docs/front.py          # the table and docs/figures/tradeoff.svg, from docs/results/*.json
    python docs/front.py faces    # docs/figures/faces.png: rendered people, changed and attacked by what ships

A test sees that the table and the plot are those of the results.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional as F

import anon
from anon.evaluation.document import Document, Estimate, Line, read
from anon.evaluation.document.estimates import known
from anon.evaluation.report.drawing import Plot
from anon.evaluation.report.tradeoff import tradeoffs
from anon.faces.contract import to_uint8
from anon.faces.synthetic.dataset import SyntheticFaces

DOCS = Path(__file__).resolve().parent
README = DOCS.parent / "README.md"
BEGIN, END = "<!-- made by python docs/front.py -->\n", "<!-- to here -->\n"
UTILITY = {"ssim": "SSIM ↑", "pose_error": "pose error ° ↓"}
SIDE, GAP, FOOT, LEFT = 96, 4, 14, 118  # of the picture, pixels
RED, INK, PAPER = (190, 40, 20), (20, 20, 20), (255, 255, 255)


def table(document: Document, *further: Document) -> str:
    """Table 1 in a few columns: who is found as published, after the strongest attack tried, and what is kept.

    Args:
        document: suite=all.
        further: other suites of what ships, whose attacks are tried, too.
    """
    tried = [line for each in (document, *further) for line in each.lines]
    head = ["method", "found as published ↓", "found after the strongest attack tried ↓", *UTILITY.values()]
    rows = [head, ["---"] * len(head)]
    for line in (document.lines[number] for number in document.tables[0].lines):
        if line.needs is None and line.attack == "none":
            after = strongest(line, tried)
            told = f"{_cell(after[0])} {after[1]}" if after else "not attacked"
            kept = [figure.printed[0] if known(figure := line.metrics.get(name)) else "-" for name in UTILITY]
            rows.append([line.label, _cell(line.metrics["ID"]), "" if line.method == "Real" else told, *kept])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def strongest(line: Line, lines: list[Line]) -> tuple[Estimate, str] | None:
    """RA under the attack that finds most of what was treated as in ``line``, and the attack; None: there is none."""
    place = (line.data, line.method, line.policy, line.defense, line.input)
    found = {
        each.attack: figure
        for each in lines
        if (each.data, each.method, each.policy, each.defense, each.input) == place
        and each.needs is None
        and each.dial is None
        and each.attack != "none"
        and known(figure := each.metrics.get("RA"))
    }
    if not found:
        return None
    worst = max(found, key=lambda attack: found[attack].number)
    return found[worst], f"({worst.replace('_', ' ')})"


def _cell(figure: Estimate | None) -> str:
    """A share and its interval, on one line.

    >>> _cell(Estimate(0.5, 0.25, 0.75))
    '.500&nbsp;[.250,&nbsp;.750]'
    """
    return " ".join(figure.printed).replace(" ", "&nbsp;") if known(figure) else "-"


def plot(document: Document) -> Plot:
    """SSIM against the share that is found, by the adversaries that every method met."""
    return tradeoffs(document, document.tables[0])[0]


def filled(readme: str, made: str) -> str:
    """The page with ``made`` between the marks."""
    before, _, rest = readme.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n{made}\n{END}{after}"


def faces(people: int = 6) -> Image.Image:
    """A column a person of the evaluation, a row a treatment; red: the judge's distance to the original is below
    its threshold, so that the person is recognized.
    """
    panel = read(DOCS / "results" / "all.json").panel["synthetic"]
    threshold = next(each.threshold for each in panel if each.name == "synthetic_d")
    shown = SyntheticFaces("evaluation", identities=people, images=1)
    images = torch.stack([shown[index]["image"] for index in range(people)])
    with torch.no_grad():
        changed = anon.load("fiva", domain="synthetic")(images, rng=torch.Generator().manual_seed(0))
        rows = {"original": images, "FIVA + ITM": changed}
        rows["… attacked:\nreconstruction"] = anon.attack(changed)
        rows |= {"pixelate": anon.load("pixelate")(images), "weak blur": anon.load("blur_weak")(images)}
        z = {name: anon.embed(row, "synthetic_d") for name, row in rows.items()}
    told = {name: (1 - F.cosine_similarity(each, z["original"])).relu().tolist() for name, each in z.items()}
    return drawn(rows, told, float(threshold))


def drawn(rows: dict[str, Tensor], told: dict[str, list[float]], threshold: float) -> Image.Image:
    """Rows of images (B, 3, H, W) with the distances of each below it."""
    count = len(next(iter(rows.values())))
    step = SIDE + FOOT + GAP
    sheet = Image.new("RGB", (LEFT + count * (SIDE + GAP), len(rows) * step), PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for place, (name, row) in enumerate(rows.items()):
        pen.text((4, place * step + SIDE // 3), name, INK, font)
        for number, image in enumerate(row):
            pixels = to_uint8(image).numpy()
            left = LEFT + number * (SIDE + GAP)
            sheet.paste(
                Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BICUBIC),
                (left, place * step),
            )
            found = told[name][number] < threshold
            pen.text(
                (left + 2, place * step + SIDE),
                f"{told[name][number]:.2f}",
                RED if found else INK,
                ImageFont.load_default(12),
            )
            if found and place:
                pen.rectangle((left, place * step, left + SIDE - 1, place * step + SIDE - 1), outline=RED, width=2)
    return sheet


def made() -> Iterator[tuple[Path, str]]:
    """Files and what stands in them."""
    every, *further = (read(DOCS / "results" / f"{name}.json") for name in ("all", "attackers", "table1"))
    yield README, filled(README.read_text(encoding="utf-8"), table(every, *further))
    yield DOCS / "figures" / "tradeoff.svg", plot(every).file


if __name__ == "__main__":
    if sys.argv[1:] == ["faces"]:
        faces().quantize(128).save(DOCS / "figures" / "faces.png", optimize=True)
    else:
        for file, text in made():
            file.write_text(text, encoding="utf-8")
