"""What the attribute path tells of a person: who is found again from a generator's maps of the target, without z.

    path_ID            ID of an adversary who is given the maps alone, those of the side that tells most: his choice
    path_rank1         the same without a threshold; beside path_chance
    path_ID_<side>     from the maps of one side, in pixels
    path_rank1_<side>
    path_chance        rank-1 of somebody who is given nothing: 1 / the gallery's people

IdentityDP's budget is of the identity vector. This is what it leaves out, the same at every epsilon: to be read beside
ID, the share who are found in the changed picture. The adversary (:mod:`anon.attacks.attribute_path`) learns on people
of the split 'attacker' to draw pictures from maps; the judge finds the evaluation people in these, with its gallery and
threshold of unchanged faces. A generator whose picture side cannot be told from its condition has none of these.

    python evaluate.py suite=epsilon
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn

from anon.attacks.attribute_path import Redrawer, learned
from anon.errors import UserError
from anon.evaluation.document.estimates import Estimate
from anon.evaluation.document.metric_info import MetricInfo, share
from anon.evaluation.harness.attackers import Unavailable
from anon.evaluation.harness.context import TARGET, MeasureContext
from anon.evaluation.harness.pictures import READING, Originals, failing
from anon.evaluation.harness.store import Tensors, key_of
from anon.evaluation.harness.subjects import Group
from anon.evaluation.harness.suite import NONE
from anon.metrics.retrieval import RankRates, RetrievalRate, retrieval_distances
from anon.provenance import code

NO_PATH = "n/a (no attribute path)"
WHO = "the adversary on the attribute path"


class AttributePath:
    """The measure.

    Args:
        pictures: of the attacker's people that the adversary learns from, at most: as many of each as of the others.

    Raises:
        UserError: fewer than one.
    """

    # Nobody publishes maps, so they are none of what identifies a published picture.
    metrics: ClassVar[Mapping[str, MetricInfo]] = {
        "path_ID": share("ID by the maps", "privacy", RetrievalRate.higher_is_better),
        "path_rank1": share("rank-1 by the maps", "privacy", RankRates.higher_is_better),
        "path_ID_<side>": share("ID by the maps of <side> px", "privacy", RetrievalRate.higher_is_better),
        "path_rank1_<side>": share("rank-1 by the maps of <side> px", "privacy", RankRates.higher_is_better),
        "path_chance": share("rank-1 by chance", "privacy", None),
    }

    def __init__(self, pictures: int = 768) -> None:
        if pictures < 1:
            raise UserError(f"suite.measures.attribute_path.pictures is a number from 1 on, not {pictures}.")
        self.pictures = pictures

    def __call__(self, context: MeasureContext) -> dict[str, Estimate]:
        """The figures; none with an attack, of a filter and of unchanged faces."""
        generator = getattr(context.method.pristine, "generator", None)
        if context.one.attack != NONE or generator is None:
            return {}
        if not callable(getattr(generator, "attributes", None)):
            return dict.fromkeys(("path_ID", "path_rank1"), Estimate.absent(NO_PATH))
        try:
            weights = self._learned(context, generator)
        except Unavailable as missing:
            return dict.fromkeys(("path_ID", "path_rank1"), Estimate.absent(str(missing)))
        gallery, figures = context.gallery, dict[str, Estimate]()
        found: dict[str, dict[str, Estimate]] = {"ID": {}, "rank1": {}}
        for side, weight in sorted(weights.items(), key=lambda part: int(part[0])):
            z = _seen(context, Redrawer(generator, int(side), weight))
            apart = retrieval_distances(z, context.labels, gallery.averages, gallery.people, metric=gallery.metric)
            found["ID"][side] = context.below(apart, gallery.threshold, gallery.levels)
            found["rank1"][side] = context.below(apart, math.inf)
        for name, by_side in found.items():
            figures[f"path_{name}"] = max(by_side.values(), key=lambda figure: figure.number)
            figures |= {f"path_{name}_{side}": figure for side, figure in by_side.items()}
        people = len(gallery.people)
        return figures | {"path_chance": Estimate(1 / people, n=people)}

    def _learned(self, context: MeasureContext, generator: nn.Module) -> Tensors:
        """What the adversary made of his own people, by the side of the maps; once for all policies and judges.

        Raises:
            Unavailable: nobody is in his split.
        """
        stages, size = context.stages, context.stages.suite.batch_size
        group = stages.factory.attackers.people(context.one.data)
        step = math.ceil(len(group) / self.pictures)  # they lie person by person
        own = Group(group.faces, group.indices[::step], key_of(of=group.key, step=step))

        def make() -> Tensors:
            batches = Originals(own).batches(size, f"{WHO}, learning")
            with failing(WHO):
                found = learned(generator.eval(), (images.to(stages.device) for images in batches))
            return {str(side): weight for side, weight in found.items()}

        by, device = stages.made_of(generator), stages.device.type
        key = key_of(of=own.key, by=by, batch=size, device=device, code=code(learned, *READING))
        return stages.store.get("figures", key, make)


def _seen(context: MeasureContext, redrawer: Redrawer) -> Tensor:
    """(R, D) embeddings by the judge of what the adversary draws."""
    stages = context.stages
    view = stages.processed(context.view(TARGET), redrawer.to(stages.device).eval(), redrawer, WHO)
    return stages.z(view.pictures, stages.judge)[view.places]
