"""AnonymousNet (Li & Lin, CVPRW 2019): attributes are read, selected for a whole set and drawn, and perturbed.

    1  a classifier reads the attributes (there GoogLeNet's features and a random forest for each)
    2  selection under k-anonymity, l-diversity and t-closeness (:mod:`anon.attributes.selection`)
    3  an editor draws them (there StarGAN)
    4  a universal adversarial perturbation (:class:`anon.anonymizers.cloaks.universal.Universal`)

What is released is a set, as with k-Same: each split of the data is one, all pictures of it, and a picture that is in
none has no code and is refused. The k is of the attributes, as they were read and asked for: what is not among them
tells people apart as before, and whoever looks at the picture sees it.

    python evaluate.py suite=table1 method=anonymous_net checkpoints=last
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from anon.anonymizers.attributes.edited import AT_ONCE, Edited
from anon.anonymizers.cloaks.universal import Universal
from anon.anonymizers.filters import check_count
from anon.attributes.classifier import AttributeClassifier
from anon.attributes.selection import Anonymity, anonymity, joint, select
from anon.errors import Failed, UserError
from anon.faces.contract import FaceSet, People, batch_of, float_batch, in_eight_bits, to_uint8
from anon.faces.decoding import digest
from anon.faces.splits import next_set, searched
from anon.generators.editing.contract import Editor


class AnonymousNet(Edited):
    """See the module.

    Args:
        classifier, editor: see :class:`anon.anonymizers.attributes.edited.Edited`.
        data: its splits are the sets that are released.
        identifying: names of the attributes whose codes are made alike (quasi-identifiers).
        sensitive: names of those whose joint value shall be diverse and close in each class; they stay as they are.
        k, l, t: see :mod:`anon.attributes.selection`; k counts people.
        cloak: makes the perturbation for ``data``, a partial of :class:`Universal`; None: there is none.

    Raises:
        UserError: settings that are none, an attribute in both lists, or an evaluated set that no class can satisfy.
    """

    _handles = ("_data", "_known", "_waiting")  # of the pictures, which ``_selected`` tells

    def __init__(
        self,
        classifier: AttributeClassifier,
        editor: Editor,
        data: object,
        identifying: Sequence[str],
        sensitive: Sequence[str],
        k: int = 5,
        l: int = 2,  # noqa: E741, the field's letter
        t: float = 0.3,
        cloak: functools.partial[Universal] | None = None,
    ) -> None:
        super().__init__(classifier, editor)
        self.k, self.l = check_count(k, "k, people of a class,"), check_count(l, "l, sensitive values of a class,")
        if isinstance(t, bool) or not isinstance(t, int | float) or not 0 <= t <= 1:
            raise UserError(f"t, the distance of a class's shares from the set's, must be a number from 0 to 1: {t!r}.")
        self.t, self.identifying, self.sensitive = float(t), self.places(identifying), self.places(sensitive)
        if set(self.identifying) & set(self.sensitive):
            raise UserError("An attribute is identifying or sensitive, not both: selection changes the former alone.")
        self._data, self._waiting = cast(People, data), list(searched(data))
        self._known: dict[int, Tensor] = {}
        self.cloak = None if cloak is None else cloak(data=data)
        self.before, self.after, self._selected = self._take_in()

    def __deepcopy__(self, memo: dict[int, object]) -> AnonymousNet:
        """It remembers nobody: what it knows follows from the data."""
        return self

    def wanted(self, images: Tensor, features: Tensor, own: Tensor, rng: torch.Generator | None) -> Tensor:
        """Attributes (B, c) with the codes that were selected.

        Raises:
            Failed: a picture that is in no set, or in one that cannot be released.
        """
        found = own.clone()
        marks = [digest(face.numpy().tobytes()) for face in to_uint8(images.float()).cpu().contiguous()]
        found[:, self.identifying] = torch.stack([self._code(mark) for mark in marks]).to(own)
        return found

    def change(self, images: Tensor, rng: torch.Generator | None) -> Tensor:
        drawn = self.edited(images, rng)[0]
        return drawn if self.cloak is None else self.cloak(drawn.clamp(-1.0, 1.0), rng=rng)

    def _code(self, mark: int) -> Tensor:
        while mark not in self._known:
            if not self._waiting:
                raise Failed(f"AnonymousNet releases closed sets, and this picture is in none of {self._data.name}.")  # type: ignore[attr-defined]
            try:
                self._take_in()
            except UserError as error:  # a set that only this picture asks for
                raise Failed(str(error)) from error
        return self._known[mark]

    def _take_in(self) -> tuple[Anonymity | None, Anonymity | None, Tensor]:
        """Select for the next set: how anonymous it is and becomes, and its codes; there may be no such split."""
        found = next_set(self._data, self._waiting)
        if found is None:
            return None, None, torch.empty(0)
        _, faces = found
        marks, read = self._read(faces)
        codes, values = read[:, self.identifying], joint(read[:, self.sensitive])
        selected = select(codes, values, faces.labels, self.k, self.l, self.t)
        self._known |= dict(zip(reversed(marks), selected.flip(0), strict=True))
        return anonymity(codes, values, faces.labels), anonymity(selected, values, faces.labels), selected

    @torch.no_grad()
    def _read(self, faces: FaceSet) -> tuple[list[int], Tensor]:
        """What each picture of a set is known by, and the attributes (N, c) that are read off it."""
        device = self.classifier.spelled.device
        marks: list[int] = []
        parts = []
        for rows in torch.arange(len(faces)).split(4 * AT_ONCE):
            images = in_eight_bits(float_batch(batch_of(faces, rows.tolist()))["image"].float())
            marks += [digest(face.numpy().tobytes()) for face in to_uint8(images).contiguous()]
            parts.append(self.classifier.read(images.to(device))[1].cpu())
        return marks, torch.cat(parts)

    def notes(self) -> list[str]:
        """How anonymous the evaluated set's attributes are, as they were read and as they were asked for."""
        shown = [f"k {each.k}, l {each.l}, t {each.t:.2f}" for each in (self.before, self.after) if each is not None]
        return [
            f"AnonymousNet: the evaluated set's attributes have {shown[0]} as they are read and {shown[1]} as they are "
            "asked for; of the pictures, in which more is seen, nothing is guaranteed."
        ]
