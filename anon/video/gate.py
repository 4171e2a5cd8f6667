"""Who may be shown: every changed face is judged again, by recognizers that did not make it, against its original.

A face passes that every judge holds for another person: beyond each one's calibrated threshold. What is nearer, what no
generator could draw and what is not worth asking one for is covered by a filter. A judge that never saw such pictures
says nothing about them, so it is refused and never asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from anon import weights
from anon.anonymizers.filters import SolidMask
from anon.errors import Failed, UserError
from anon.faces.alignment import misfit, template
from anon.faces.learned import DOMAINS, learned_of
from anon.identity.contract import JudgeLike, check_embeddings, check_judge
from anon.identity.verification import distance
from anon.video.tracks import Seen

#: What becomes of a face.
VERIFIED = "verified"  # every judge holds it for another person
COVERED = "covered"  # by a filter that leaves nothing of it
UNVERIFIED = "unverified"  # changed, and nobody has judged it
#: Why the fallback covers a face.
RECOGNIZED, FAILED = "still recognized", "the method failed"
SMALL, TURNED, WITHOUT = "too small", "too turned", "without points"
REASONS = (RECOGNIZED, FAILED, SMALL, TURNED, WITHOUT)
SIZE = 112  # of the crops that are judged; judges frame them anew


class Judging(NamedTuple):
    """A recognizer and the distance below which it takes two faces for one person."""

    judge: JudgeLike
    threshold: float


class Verdict(NamedTuple):
    """What became of a face."""

    status: str
    reason: str | None = None  # why the fallback covers it
    distances: tuple[float, ...] = ()  # of each judge, between the original and what was written
    z: tuple[Tensor, ...] = ()  # (2, D) of each judge: the original, and what was written; never in a report


class Gate:
    """Judges faces, and says which are not worth a generator's try.

    Args:
        judging: the judges with their thresholds; none: nothing is ever verified.
        min_size: least shorter side of a face's box, in pixels of the frame, that a generator is asked for.
        max_turn: largest misfit of the five points with those of a frontal face (:func:`anon.faces.alignment.misfit`);
            rendered faces have .39 at a yaw of 45 degrees and .67 at 75.
    """

    def __init__(self, judging: Sequence[Judging] = (), min_size: float = 20.0, max_turn: float = 0.5) -> None:
        for each in judging:
            check_judge(each.judge)
        self.judging, self.min_size, self.max_turn = tuple(judging), min_size, max_turn

    def unfit(self, face: Seen) -> str | None:
        """Why no generator is asked for a face; None where one is."""
        if not bool(face.points.isfinite().all()):
            return WITHOUT
        if float((face.box[2:] - face.box[:2]).min()) < self.min_size:
            return SMALL
        return None if float(misfit(face.points[None], template(SIZE))[0]) <= self.max_turn else TURNED

    @torch.no_grad()
    def compared(self, before: Tensor, after: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Changed crops (B, 3, S, S) and their originals, as each judge sees them.

        Returns:
            How far they are apart, (B, J), NaN where a judge fails; and each judge's embeddings (B, 2, D) of the
            originals and of what was changed, NaN (B, 2, 1) of one that fails.
        """
        found, every = [], list[Tensor]()
        for judge, _ in self.judging:
            try:
                z = check_embeddings(judge.embed(torch.cat((before, after))), 2 * len(before), judge)
                every.append(torch.stack(z.float().split(len(before)), 1))
                found.append(distance(z[: len(before)], z[len(before) :], judge.metric).float())
            except Failed:
                every.append(torch.full((len(before), 2, 1), torch.nan))
                found.append(torch.full((len(before),), torch.nan))
        return torch.stack(found, 1) if found else torch.empty(len(before), 0), every

    def passes(self, distances: Tensor) -> Tensor:
        """Whether every judge holds the faces for other people's, (B,) bool; NaN passes nowhere."""
        return (distances >= torch.tensor([each.threshold for each in self.judging])).all(1)


def leaves_nothing(anonymizer: object) -> bool:
    """Whether what it gives is the same for every face."""
    return isinstance(anonymizer, SolidMask)


def check_domain(judge: JudgeLike, domain: str) -> None:
    """See that a judge learned from such pictures, as far as it tells.

    Raises:
        UserError: it learned from others alone.
    """
    index = weights.index()
    networks = getattr(judge, "modules", lambda: [judge])()
    for learned in filter(None, (learned_of(part, index) for part in networks)):
        if learned.domains and domain not in learned.domains:
            what = {DOMAINS[0]: ("rendered faces", "photographs"), DOMAINS[1]: ("photographs", "rendered faces")}
            own, others = what[next(iter(learned.domains))]
            raise UserError(
                f"The judge {judge.name} learned from {own} alone and never verifies {others}: name one that learned "
                "from them (judge=edgeface judge.encoder.weights=<file> judge.threshold=<distance>), or none."
            )
