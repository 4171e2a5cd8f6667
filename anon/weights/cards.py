"""What the model cards of the shipped weights say, as data: ``card("fiva").figures["plain: ssim"].low``.

``anon ship`` writes the cards (Markdown beside the weights): a list of facts, a table of figures, notes.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from anon import weights
from anon.errors import UserError

_FACT = re.compile(r"- ([a-z ]+): (.+)")
_ROW = re.compile(r"\| ([^|]+?) \| (-?[\d.]+(?:e[+-]\d+)?) \|")
_SPLIT = re.compile(r"split (\w+)|[\d,]+ (training) people")
_LICENCE = re.compile(r"Licence: ([^.]+)\.")
_FACTS = {"what", "parameters", "command", "data", "made with"}
_ENDS = {", low": 1, ", high": 2}
#: By how ``what`` begins: the figures that stand for the others.
_HEADLINES = {
    "face recognizer": ("top1", "tar", "eer"),
    "regressor of pose": ("pose", "expression", "gaze", "landmarks"),
    "regressor of what": ("top1", "EER", "R2, mean"),
    "classifier of binary": ("accuracy", "balanced accuracy, mean"),
    "expression embedder": ("accuracy", "valence CCC", "arousal CCC"),
    "anonymizer": ("plain: ssim", "plain: ID", "itm: ID", "itm: pose_error"),
    "swapper": ("swap_ID", "swap_ID_target", "pose_error"),
    "reconstruction attack": ("plain: RA", "plain: RA_rank1", "itm: RA"),
    "diffusion model": ("loss at t=0.1", "loss at t=0.2", "loss at t=0.4"),
    "diffusion anonymizer": ("loss at t=0.7", "loss at t=0.7 without a source"),
}


class Figure(NamedTuple):
    """A figure, and the ends of its 95 % interval where it has one."""

    value: float
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        """
        >>> print(Figure(0.6336, 0.6237, 0.644)), print(Figure(4.56))
        .6336 [.6237, .644]
        4.56
        (None, None)
        """
        plain = [re.sub(r"^(-?)0(?=\.)", r"\1", f"{each:.4g}") for each in self if each is not None]
        return plain[0] if len(plain) == 1 else f"{plain[0]} [{', '.join(plain[1:])}]"


class Card(NamedTuple):
    """A card and the file that it is of."""

    name: str
    what: str
    parameters: str
    command: str
    data: str
    split: str  # of the people that it learned from
    made_with: str
    licence: str
    figures: dict[str, Figure]
    file: str
    size: int  # bytes
    sha256: str
    people: str | None  # whom it learned from, where they are not the training split of the rendered faces

    @property
    def headline(self) -> dict[str, Figure]:
        """A few figures that stand for the others; of a kind of your own the first."""
        names = next((names for kind, names in _HEADLINES.items() if self.what.startswith(kind)), ())
        return {name: self.figures[name] for name in names or list(self.figures)[:4] if name in self.figures}


def cards(folder: Path = weights.FOLDER) -> list[Card]:
    """Of everything that ships, by name.

    Raises:
        UserError: see :func:`card`.
    """
    return [card(name, folder) for name in sorted(weights.index(folder))]


def card(name: str, folder: Path = weights.FOLDER) -> Card:
    """The card of what ships as ``name``.

    Raises:
        UserError: nothing ships by that name, or its card is missing or damaged.
    """
    entries = weights.index(folder)
    if name not in entries:
        raise UserError(f"No shipped weights named '{name}'; there are: {', '.join(sorted(entries)) or 'none'}.")
    entry, file = entries[name], folder / entries[name]["card"]
    if not file.is_file():
        raise UserError(f"The model card '{file}' is missing; reinstall anon-faces.")
    text = file.read_text(encoding="utf-8")
    facts = {match[1]: match[2] for line in text.splitlines() if (match := _FACT.fullmatch(line))}
    split, licence = _SPLIT.search(facts.get("data", "")), _LICENCE.search(text)
    if not facts.keys() >= _FACTS or split is None or licence is None:
        raise UserError(f"The model card '{file}' does not say how the weights were made; reinstall anon-faces.")
    return Card(
        name,
        facts["what"],
        facts["parameters"],
        facts["command"].strip("`"),
        facts["data"],
        split[1] or "train",
        facts["made with"],
        licence[1],
        _figures(text),
        **_of_file(entry),
    )


def _of_file(entry: dict[str, Any]) -> dict[str, Any]:
    return {"file": entry["file"], "size": entry["bytes"], "sha256": entry["sha256"], "people": entry.get("people")}


def _figures(text: str) -> dict[str, Figure]:
    """The table, each figure with its ends."""
    found: dict[str, list[float | None]] = {}
    for line in text.splitlines():
        if match := _ROW.fullmatch(line):
            end = next((end for end in _ENDS if match[1].endswith(end)), "")
            found.setdefault(match[1].removesuffix(end), [None, None, None])[_ENDS.get(end, 0)] = float(match[2])
    return {name: Figure(ends[0], *ends[1:]) for name, ends in found.items() if ends[0] is not None}
