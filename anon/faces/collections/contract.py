"""What a published data set is to the rest of the project: a list of its files with everything its annotation says.

An adapter reads listings and annotation files, never pixels. Packing (:mod:`anon.faces.prepare`) reads the pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

#: Names of the official splits that an adapter may state; None: the data set has no split of its own.
OFFICIAL = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class Item:
    """One photograph or one video of a data set.

    ``labels`` holds plain numbers, strings and lists (they travel as JSON). Names with a fixed meaning, shared by all
    adapters: ``pose`` [yaw, pitch, roll] degrees; ``expression_class`` index into the collection's ``expressions``;
    ``valence``, ``arousal`` in [-1, 1]; ``attributes`` {name: bool}; ``landmarks68`` 68 x 2 pixels; ``source`` the
    identity that a manipulated video shows, ``method`` how it was manipulated, ``compression``.
    """

    file: str  # relative to the collection's root, with forward slashes
    identity: str  # who is seen; the name that the splits hash
    video: bool = False  # True: a video file, or a folder that holds its frames in order
    official: str | None = None  # one of OFFICIAL
    box: tuple[float, float, float, float] | None = None  # left, top, right, bottom in pixels, where annotated
    points: tuple[tuple[float, float], ...] | None = None  # five points, where annotated
    labels: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class Collection(Protocol):
    """A data set on disk. ``items()`` is in a fixed order, the same on every machine.

    Building one checks the layout and raises ``UserError`` naming what is missing and where users get it.
    """

    name: str
    root: Path

    def items(self) -> Sequence[Item]: ...
