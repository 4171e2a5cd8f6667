"""What ships with the package: ``anon zoo list``, and whether it is what its cards say: ``anon zoo verify``.

usage: anon zoo list [<name> ...]
       anon zoo verify [<name> ...]

  list      how each network was made: command, data, split, figures, size, hash, licence (docs/zoo.md is the same)
  verify    its file against the hash, and one figure of its card measured again, on the same rendered people

A figure that was measured again must lie in the interval that the card states; where it states none, what the card
states in that of the measurement (95 %, people as the trials). What is not measured again is named. The first time, a
few thousand faces are rendered into ANON_CACHE. Exit codes: 0 all is as stated, 2 something is not, 130 stopped.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence

from anon import weights
from anon.commands import Parser, ended, in_utf8
from anon.errors import UserError
from anon.weights.cards import Card, Figure, card, cards


def listing(card: Card) -> str:
    """A card in a few lines of text."""
    figures = "; ".join(f"{name} {figure}" for name, figure in card.headline.items())
    more = len(card.figures) - len(card.headline)
    rows = {
        "command": card.command,
        "data": card.data,
        "split": f"{card.split}; the figures: evaluation",
        "figures": f"{figures}; {more} more on its card" if more else figures,
        "size": f"{card.size / 1e6:.2f} MB, {card.parameters} parameters in half precision",
        "sha256": card.sha256,
        "licence": card.licence,
        "made with": card.made_with,
    }
    return "\n".join([f"{card.name}: {card.what}", *(f"  {name:9}  {value}" for name, value in rows.items())])


def verified(name: str) -> list[str]:
    """Check one, and print what was seen.

    Returns:
        what is not as the card says: a clause for each figure.

    Raises:
        UserError: its file or its card is missing or damaged.
    """
    stated, file = card(name), weights.path(name)
    if file.stat().st_size != stated.size:
        raise UserError(f"The shipped weights '{file}' have {file.stat().st_size} bytes, not {stated.size}.")
    print(f"{name}: {stated.file} has the stated hash, {stated.sha256[:16]}...", flush=True)
    from anon.apps.reruns import measured_again  # seconds of imports that a list does not need

    measured, wrong = measured_again(stated), []
    for figure, again in measured.items():
        agree = figure in stated.figures and within(stated.figures[figure], again)
        told = f"{figure} is {again}, the card states {stated.figures.get(figure, 'none')}"
        print(f"  {told}: {'as stated' if agree else 'NOT as stated'}", flush=True)
        wrong += [] if agree else [f"{name}: {told}"]
    rest = [each for each in stated.figures if each not in measured]
    print(textwrap.fill(f"not measured again: {', '.join(rest)}", 116, initial_indent="  ", subsequent_indent="    "))
    return wrong


def within(stated: Figure, again: Figure) -> bool:
    """Whether two measurements of one figure agree: the later in the interval of the card, or the other way round.

    >>> within(Figure(0.6336, 0.6237, 0.644), Figure(0.63)), within(Figure(0.5), Figure(0.6, 0.55, 0.65))
    (True, False)
    """
    inner, outer = (again, stated) if stated.low is not None else (stated, again)
    if outer.low is None or outer.high is None:
        raise ValueError("Neither has an interval.")
    slack = 5e-4 * max(1.0, abs(outer.value))  # cards have four digits
    return outer.low - slack <= inner.value <= outer.high + slack


def command(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = Parser(prog="anon zoo", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("verb", nargs="?", choices=("list", "verify"), default="list")
    parser.add_argument("names", nargs="*", metavar="name")

    def run() -> None:
        given = parser.parse_args(arguments)
        if given.verb == "list":
            print("\n\n".join(map(listing, [card(name) for name in given.names] or cards())))
            return
        wrong = [each for name in given.names or sorted(weights.index()) for each in verified(name)]
        if wrong:
            raise UserError(f"not as stated: {'; '.join(wrong)}.")

    return ended(run)


if __name__ == "__main__":
    in_utf8()
    sys.exit(command())
