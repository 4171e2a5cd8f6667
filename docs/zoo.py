"""Writes docs/zoo.md from the model cards of what ships: ``python docs/zoo.py``."""

from __future__ import annotations

from pathlib import Path

from anon.weights.cards import Card, cards

PAGE = Path(__file__).resolve().parent / "zoo.md"
HEAD = """# What ships

*Made by `python docs/zoo.py` from the [model cards](../anon/weights); a test sees that it is up to date.*

Weights that come with the package, trained by this code on faces that it renders: nobody's photograph is in them, and
they know no photograph. `shipped:<name>` names them wherever a checkpoint or weights are asked for. Half precision, at
most 4 MB each.

    anon zoo list              # this page in the terminal
    anon zoo verify            # every hash, and a figure of every card measured again; anon zoo verify fiva: of one

Every figure is of rendered evaluation people, whom no training has seen; brackets are 95 % intervals over people.
top1: share of the pictures whose nearest person is the right one. tar: share of the pairs of one person that are
accepted where .001 of the pairs of two people are. pose and gaze: mean error in degrees. ID: share found again in a
gallery by the worst of three recognizers; RA: the same after the attack. The others: [metrics.md](metrics.md).
"""


def page(shipped: list[Card]) -> str:
    """The whole page: a table, then how each was made."""
    rows = [f"| [{card.name}](#{card.name}) | {card.what} | {_figures(card)} | {_size(card)} |" for card in shipped]
    table = ["| name | what it is | figures | MB |", "|---|---|---|---|", *rows]
    total = f"{len(shipped)} files, {sum(card.size for card in shipped) / 1e6:.1f} MB in all."
    return "\n".join([HEAD, *table, "", total, *(line for card in shipped for line in section(card))]) + "\n"


def section(card: Card) -> list[str]:
    """How one was made."""
    learned = f", {card.people}, who are in no split of the others" if card.people else ""
    return [
        "",
        f"## {card.name}",
        "",
        f"{card.what[0].upper()}{card.what[1:]}; {card.parameters} parameters.",
        "",
        f"    {card.command}",
        "",
        f"- learned from: {card.data.partition(', from person')[0]} (split {card.split}{learned})",
        f"- made with: {card.made_with}",
        f"- licence: {card.licence}",
        f"- [{card.file}](../anon/weights/{card.file}), {card.size:,} bytes, SHA-256 `{card.sha256}`",
        f"- [card](../anon/weights/{card.name}.md) with {len(card.figures)} figures",
    ]


def _figures(card: Card) -> str:
    return "; ".join(f"{name} {figure}" for name, figure in card.headline.items())


def _size(card: Card) -> str:
    return f"{card.size / 1e6:.1f}"


if __name__ == "__main__":
    PAGE.write_text(page(cards()), encoding="utf-8")
