"""Binary attributes of a set's pictures: what a classifier reads, an editor changes and a selection keeps.

They are labels of two classes (:func:`anon.faces.contract.annotations_of`), of which the second has it: CelebA's forty
columns of -1 and 1 or of 0 and 1, packed or by ``data.labels``; a rendered face has CelebA's names of what it shows
(:mod:`anon.faces.synthetic.attributes`).

    python train.py experiment=attribute_classifier data=folder data.root=<folder> data.labels=<csv>
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from anon.errors import UserError
from anon.faces.contract import FaceSet, Label, annotations_of


def known_attributes(faces: FaceSet) -> Mapping[str, Label]:
    """The labels of two classes that a set has."""
    shown = getattr(faces, "attributes", None)
    found = {**(shown() if callable(shown) else {}), **annotations_of(faces)}
    return {name: label for name, label in found.items() if len(label.classes) == 2}


def binary(faces: FaceSet, names: Sequence[str]) -> Tensor:
    """(N, c) float32 of a set's N pictures: 1 has the attribute, 0 has it not, NaN unknown.

    Raises:
        UserError: no names, one twice, or an attribute that the set does not have.
    """
    check_names(names)
    found = known_attributes(faces)
    lacking = [name for name in names if name not in found]
    if lacking:
        there = f"it has {', '.join(sorted(found))}" if found else "it has none: data.labels=<csv>"
        raise UserError(f"These faces have no attribute '{lacking[0]}' of two classes; {there}.")
    columns = [torch.where(found[name].values < 0, torch.nan, found[name].values.float()) for name in names]
    return torch.stack(columns, 1)


def check_names(names: Sequence[str]) -> tuple[str, ...]:
    """The names, if there are some and each is there once.

    Raises:
        UserError: otherwise.
    """
    if isinstance(names, str) or not names or len(set(names)) < len(names):
        raise UserError(f"attributes are a list of names, each once, such as [Bald, Eyeglasses], not {names!r:.80}.")
    return tuple(map(str, names))


def check_groups(groups: Sequence[Sequence[str]], names: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """The places of the attributes of groups that exclude each other.

    Raises:
        UserError: a group of fewer than two, or an attribute that is none or in two groups.
    """
    flat = [name for group in groups for name in group]
    odd = [name for name in flat if name not in names or flat.count(name) > 1]
    if odd or any(len(group) < 2 for group in groups):
        what = f"'{odd[0]}' is none of them or in two" if odd else "one has fewer than two attributes"
        raise UserError(f"groups are of attributes that exclude each other, of {', '.join(names)}; {what}.")
    return tuple(tuple(list(names).index(name) for name in group) for group in groups)


class Rows:
    """Where the faces of a batch stand in a set, by person, clip and frame, which every batch has."""

    def __init__(self, faces: FaceSet) -> None:
        self._spread = int(faces.videos.max()) + 2, int(faces.frames.max()) + 1
        keys = self._keys(faces.labels, faces.videos, faces.frames)
        self._sorted, self._order = keys.sort()
        if len(self._sorted.unique()) < len(keys):
            raise UserError("Two pictures of a person have the same clip and frame, so labels cannot tell them apart.")

    def _keys(self, people: Tensor, videos: Tensor, frames: Tensor) -> Tensor:
        clips, length = self._spread
        return (people * clips + videos + 1) * length + frames

    def of(self, batch: Mapping[str, Tensor]) -> Tensor:
        """(B,) int64 rows of the set, for a batch of it."""
        keys = self._keys(batch["identity"].cpu(), batch["video"].cpu(), batch["frame"].cpu())
        return self._order[torch.searchsorted(self._sorted, keys)]
