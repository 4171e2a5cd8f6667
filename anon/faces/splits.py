"""Four identity-disjoint splits by a hash of the identity's name, the same for every data set and forever.

Shipped weights depend on them: an identity that trained a recognizer must never be evaluated. The split of a name is a
pure function of the name as it is written, so it does not change when a data set grows, is subsampled or is read on
another machine. One person may be written in several ways: :func:`one_spelling` finds those of a data set, and
:func:`person` is what is compared where two data sets, or training and evaluation, meet.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from anon.errors import UserError

if TYPE_CHECKING:
    from anon.faces.contract import FaceSet, People

log = logging.getLogger(__name__)

#: Split names with their share of the identities. ``train``: generators and recognizers. ``background``: thresholds and
#: other calibration. ``attacker``: the people whose pairs an attacker owns. ``evaluation``: figures only.
SHARES: dict[str, float] = {"train": 0.5, "background": 0.1, "attacker": 0.2, "evaluation": 0.2}
SPLITS: tuple[str, ...] = tuple(SHARES)
#: In the place of a split's name: all identities, of data that is evaluated whole (``data.everyone=true``).
EVERYONE = "everyone"
#: The order in which a picture is looked for: whose pictures are asked for most come first.
SEARCHED: tuple[str, ...] = ("evaluation", "attacker", "background", "train")
_APOSTROPHES = re.compile("[\u2018-\u201b\u02b9\u02bb-\u02bd\u02c8\u02ee\u2032\ua78b\ua78c`\u00b4]")
# Default_Ignorable_Code_Point of Unicode 16 without Cf; the standard library has no such property.
_IGNORABLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u3164\ufe00-\ufe0f\uffa0\ufff0-\ufff8\U000e0000-\U000e0fff]"
)
_OFFICIAL = {"val": "background", "test": "evaluation"}


class EmptySplit(UserError):
    """A data set whose identities all fall into other splits."""


def searched(data: object) -> tuple[str, ...]:
    """The splits of a data module in the order in which a picture is looked for: one, where it is evaluated whole."""
    return SEARCHED[:1] if getattr(data, "everyone", False) or hasattr(data, "pairs") else SEARCHED


def next_set(data: People, waiting: list[str]) -> tuple[str, FaceSet] | None:
    """The first of the splits ``waiting`` that has somebody, taken out with those before it; None: there is none left.

    Raises:
        EmptySplit: nobody is evaluated.
    """
    while waiting:
        split = waiting.pop(0)
        try:
            return split, data.faces(split)
        except EmptySplit:
            if split == SEARCHED[0]:
                raise
    return None


def person(name: str) -> str:
    """What the spellings of one name have in common; nothing is split by it, names are compared by it.

    Letters are composed and of normal width (NFKC) and lower case, a dot over an i counts for nothing (İ), what cannot
    be seen is left out, apostrophes are one, and spaces, underscores, hyphens and dots between words are one space.
    "Müller" and "Mueller" may be two people and stay two.

    >>> person("Anna_B.") == person("ANNA  B") == person("\uff21nna-b"), person("Müller") == person("Mueller")
    (True, False)
    """
    composed = unicodedata.normalize("NFKC", _APOSTROPHES.sub("'", name))
    folded = unicodedata.normalize("NFKC", composed.casefold()).replace("i\u0307", "i")
    seen = "".join(letter for letter in folded if letter.isspace() or not _is_unseen(letter))
    return re.sub(r"[\s_.\u2010-\u2015\u2212-]+", " ", seen).strip() or name


def _is_unseen(letter: str) -> bool:
    """Controls, and what Unicode calls default-ignorable: joiners, fillers and selectors of variants among them."""
    return unicodedata.category(letter) in ("Cf", "Cc") or _IGNORABLE.match(letter) is not None


def one_spelling(names: Iterable[str], where: str) -> dict[str, str]:
    """Each name of a data set with the spelling that its person goes by: the first of them in the order of letters.

    Says in one line of the log how many people were written in several ways; ``where`` names the data set there.
    """
    first: dict[str, str] = {}
    given = sorted(set(names))
    for name in given:
        first.setdefault(person(name), name)
    if len(first) < len(given):
        tell_once(
            f"{where}: {len(given):,} names are {len(first):,} people in several spellings (case, separators, width or "
            "composition of letters); each is one person, under the first spelling. Rename them where that is wrong."
        )
    return {name: first[person(name)] for name in given}


@functools.cache
def tell_once(text: str) -> None:
    """In the log; every split of a data set finds the same."""
    log.warning(text)


def split_of(identity: str) -> str:
    """Split of an identity, by the first 8 bytes of the SHA-256 of its UTF-8 name.

    >>> split_of("n000001"), split_of("n000001") == split_of("n000001")
    ('attacker', True)
    """
    return _share_out(identity, SHARES)


def _share_out(identity: str, shares: Mapping[str, float]) -> str:
    """A name of ``shares``, by the first 8 bytes of the SHA-256 of the identity."""
    position = int.from_bytes(hashlib.sha256(identity.encode()).digest()[:8], "big") / 2**64 * sum(shares.values())
    edge = 0.0
    for name, share in shares.items():
        edge += share
        if position < edge:
            return name
    return list(shares)[-1]


def members(identities: Iterable[str], split: str) -> list[str]:
    """The identities of one split, or :data:`EVERYONE`, sorted by name.

    Raises:
        UserError: unknown split.
    """
    if split == EVERYONE:
        return sorted(identities)
    if split not in SHARES:
        raise UserError(f"Unknown split '{split}'; choose one of {', '.join(SPLITS)}.")
    return sorted(name for name in identities if split_of(name) == split)


def assign(identity: str, official: str | None = None, has_val: bool = False) -> str:
    """Split of an identity of a data set that publishes its own train, val and test lists: those are honoured.

    ``test`` is evaluation, ``val`` background; ``train`` is shared out by the name's hash to train and attacker and,
    where the data set has no ``val``, to background, in the proportions of :data:`SHARES`. Without an official split
    this is :func:`split_of`.

    >>> assign("000", "test"), assign("000", "val"), assign("n000001", "train", has_val=True)
    ('evaluation', 'background', 'train')

    Raises:
        UserError: unknown official split.
    """
    if official is None:
        return split_of(identity)
    if official in _OFFICIAL:
        return _OFFICIAL[official]
    if official != "train":
        raise UserError(f"Unknown official split '{official}'; choose one of train, val, test.")
    taken = ("evaluation", "background") if has_val else ("evaluation",)
    return _share_out(identity, {name: share for name, share in SHARES.items() if name not in taken})
