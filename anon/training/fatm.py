"""Training FATM: donors and everybody else redrawn as themselves through one encoder (Li & Lyu, arXiv:1902.04202).

    python train.py experiment=fatm

A step is that of a swap tool (:mod:`anon.training.subject_swap`), for more people: each donor's decoder learns from
that donor alone, everybody's from the training people. What FATM is for, a stranger drawn as a donor, is never trained.
"""

from __future__ import annotations

from typing import Any, cast

import pytorch_lightning as pl
import torch
from torch import Tensor

from anon.errors import UserError
from anon.faces.donors import Donors
from anon.generators.subjects.fatm import FATM
from anon.training.grids import SampleGrids
from anon.training.subject_swap import SubjectTraining


class FATMTraining(SubjectTraining):
    """``generator`` is a :class:`anon.generators.subjects.fatm.FATM`, the data :class:`anon.faces.donors.Donors`."""

    def check_people(self, data: Any) -> None:
        donors = cast(FATM, self.generator).donors
        if not isinstance(data, Donors) or len(data.donors) != donors:
            named = len(data.donors) if isinstance(data, Donors) else "no"
            raise UserError(
                f"the generator has {donors} donors and subjects.donors {named} names; name as many, and give "
                "generator.donors their number."
            )
        if len(data.faces("train").names) == donors:
            raise UserError("the training split has nobody who is no donor, and strangers could not be read; add some.")


class FATMGrids(SampleGrids):
    """A row a background person who is no donor: as he or she is, redrawn by everybody's decoder, drawn as each donor,
    the mask, and each donor blended in. A last row has the donors, in the columns that draw them.
    """

    def pick(self, faces: Any) -> Tensor:
        """(n, 1 + donors, 3, H, W): pictures of strangers, each with one of each donor; empty where all are donors."""
        donors = len(faces.people) - 1
        last = faces.whose == donors
        starts = [int(((faces.labels == label) & last).nonzero()[0]) for label in faces.labels[last].unique()]
        chosen = torch.linspace(0, len(starts) - 1, min(self.faces, len(starts))).long().tolist()
        known = [int((faces.whose == donor).nonzero()[0]) for donor in range(donors)]
        rows = [torch.stack([faces[row]["image"] for row in (starts[place], *known)]) for place in chosen]
        return torch.stack(rows) if rows else torch.empty(0)

    def columns(self, pl_module: pl.LightningModule, target: Tensor) -> list[Tensor]:
        tool, strangers = cast(FATM, pl_module.generator), target[:, 0]
        *donors, own = tool.drawn(strangers, range(len(tool.people)))
        mask = tool.hull(strangers)
        blended = [torch.lerp(strangers, drawn, mask) for drawn in donors]
        grey = torch.zeros_like(strangers[:1])
        last = [grey, grey, *target[:1, 1:].unbind(1), grey, *target[:1, 1:].unbind(1)]
        whole = [strangers, own, *donors, mask.expand_as(strangers) * 2 - 1, *blended]
        return [torch.cat(both) for both in zip(whole, last, strict=True)]
