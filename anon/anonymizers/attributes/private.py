"""Differential private k-anonymity of attributes: neighbours vote, and what is drawn of their votes is edited into X.

What is guaranteed, of what, and for how long is in :mod:`anon.attributes.private`, which has the equations. In short:
of the reference people, whose attributes vote, and of the vector of attributes; next to nothing of the person shown.

    python evaluate.py suite=table1 method=dp_k_anonymity checkpoints=last
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from anon.anonymizers.attributes.edited import Edited, first_pictures
from anon.anonymizers.cloaks.photos import photos
from anon.anonymizers.filters import check_count, check_positive, needed
from anon.attributes.classifier import AttributeClassifier
from anon.attributes.private import chances, drawn, of_faces, of_references, poisson, votes
from anon.errors import UserError
from anon.faces.attributes import binary, check_groups
from anon.faces.contract import People
from anon.generators.editing.contract import Editor


class DPkAnonymity(Edited):
    """See the module; the references are training people, one picture of each, so that a record is a person.

    Args:
        classifier, editor: see :class:`anon.anonymizers.attributes.edited.Edited`.
        data: whose training people vote.
        k: neighbours.
        epsilon: the budget of one draw; 0 draws all attributes evenly.
        gamma: share of the references that is kept for each face, in (0, 1].
        sensitivity: D of the equations.
        tau: what a neighbour may vote in all; None: as it is.
        groups: names of attributes that exclude each other; of each exactly one is drawn, of a bald head, too.
        protected: names of what is drawn; None: all. The others stay as they are read.

    Raises:
        UserError: settings that are none, fewer than k references in the share that is kept, or an attribute that is
            none.
    """

    def __init__(
        self,
        classifier: AttributeClassifier,
        editor: Editor,
        data: object,
        k: int = 20,
        epsilon: float = 0.25,
        gamma: float = 0.25,
        sensitivity: float = 1.0,
        tau: float | None = None,
        groups: Sequence[Sequence[str]] = (),
        protected: Sequence[str] | None = None,
    ) -> None:
        super().__init__(classifier, editor)
        self.k = check_count(k, "The number of neighbours k")
        self.epsilon = 0.0 if epsilon == 0 else check_positive(epsilon, "The privacy budget epsilon")
        self.gamma = check_positive(gamma, "The share gamma of the references", 1.0)
        self.sensitivity = check_positive(sensitivity, "The sensitivity")
        self.tau = None if tau is None else check_positive(tau, "What a neighbour may vote in all, tau,")
        self.chosen = self.places(editor.attributes if protected is None else protected)
        names = [editor.attributes[place] for place in self.chosen]
        self.groups = check_groups(groups, names)  # places among what is drawn
        faces = cast(People, data).faces("train")
        rows = first_pictures(faces)
        known = binary(faces, names)[rows]
        rows, known = rows[~known.isnan().any(1)], known[~known.isnan().any(1)]  # what is not known is no vote against
        if self.gamma * len(rows) < self.k:  # fewer would vote, and whoever does not counts as one against
            raise UserError(
                f"{self.k} neighbours cannot be found among {self.gamma:g} of {len(rows)} training people whose "
                "attributes are known; take a smaller k, a larger gamma or more people."
            )
        with torch.no_grad():
            parts = [self.classifier.features(part) for part in photos(faces, rows).images.split(256)]
        self.register_buffer("references", torch.cat(parts), persistent=False)
        self.register_buffer("attributes", known, persistent=False)

    def probabilities(self, features: Tensor, rng: torch.Generator) -> Tensor:
        """Chances (B, m) of the drawn attributes, for features (B, D) and a subsample for each face."""
        references, attributes = cast(Tensor, self.references), cast(Tensor, self.attributes)
        kept = poisson(len(features), len(references), self.gamma, rng)
        counted = votes(features, references, attributes, kept.to(features.device), self.k, self.tau)
        return chances(counted, self.k, self.epsilon, self.sensitivity, self.groups)

    def wanted(self, images: Tensor, features: Tensor, own: Tensor, rng: torch.Generator | None) -> Tensor:
        """Attributes (B, c) of which the protected ones are drawn."""
        rng, found = needed(rng, images), own.clone()
        found[:, self.chosen] = drawn(self.probabilities(features, rng), self.groups, rng)
        return found

    def notes(self) -> list[str]:
        """What one release spends, for the report."""
        alone = len(self.chosen) - sum(map(len, self.groups))
        draws, sizes = alone + len(self.groups), [len(group) for group in self.groups]
        budget = of_references(self.epsilon, self.sensitivity, draws, self.tau, self.gamma)
        faces = of_faces(self.epsilon, self.sensitivity, self.k, alone, sizes)
        return [
            f"dp k-anonymity, eps {self.epsilon:g}, k {self.k}, gamma {self.gamma:g}: one release of the attributes is "
            f"{budget:.3g}-private for each of {len(cast(Tensor, self.references)):,} reference people and {faces:.3g}-"
            "private between any two faces; of the picture nothing is guaranteed."
        ]
