"""What attribute anonymizers share: a classifier reads a face, somebody says what it shall have, an editor draws it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from anon.anonymizers.filters import Filter
from anon.attributes.classifier import AttributeClassifier
from anon.errors import UserError
from anon.faces.attributes import check_names
from anon.faces.contract import FaceSet
from anon.generators.editing.contract import Editor

AT_ONCE = 64  # faces


class Edited(Filter):
    """``edit(X, own, wanted)``; a kind of it says what is wanted.

    Args:
        classifier: reads the editor's attributes off a face.
        editor: draws them.

    Raises:
        UserError: a classifier of other attributes.
    """

    def __init__(self, classifier: AttributeClassifier, editor: Editor) -> None:
        super().__init__()
        if classifier.attributes != editor.attributes:
            raise UserError(
                f"The classifier reads {', '.join(classifier.attributes)}, and the editor changes "
                f"{', '.join(editor.attributes)}; train both on the same attributes."
            )
        self.classifier, self.editor = classifier.eval(), editor.eval()

    @abstractmethod
    def wanted(self, images: Tensor, features: Tensor, own: Tensor, rng: torch.Generator | None) -> Tensor:
        """The attributes (B, c) that faces (B, 3, H, W) with ``own`` (B, c) shall have."""

    @torch.no_grad()
    def edited(self, images: Tensor, rng: torch.Generator | None) -> tuple[Tensor, Tensor, Tensor]:
        """The faces drawn again, and the attributes (B, c) that they had and were given."""
        features, own = self.classifier.read(images)
        wanted = self.wanted(images, features, own, rng)
        parts = zip(images.split(AT_ONCE), own.split(AT_ONCE), wanted.split(AT_ONCE), strict=True)
        return torch.cat([self.editor(*part) for part in parts]), own, wanted

    def change(self, images: Tensor, rng: torch.Generator | None) -> Tensor:
        return self.edited(images, rng)[0]

    def places(self, names: Sequence[str]) -> list[int]:
        """The columns of some attributes.

        Raises:
            UserError: one that the editor does not change.
        """
        known = list(self.editor.attributes)
        odd = [name for name in check_names(names) if name not in known]
        if odd:
            raise UserError(f"The editor changes {', '.join(known)}, and no '{odd[0]}'.")
        return [known.index(name) for name in names]


def first_pictures(faces: FaceSet) -> Tensor:
    """(P,) rows of the first picture of each person of a set, stills where there are some."""
    rows = torch.arange(len(faces))
    rows = rows[faces.videos < 0] if bool((faces.videos < 0).any()) else rows
    people = faces.labels[rows]
    return torch.stack([rows[people == person][0] for person in people.unique()])
