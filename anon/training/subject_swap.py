"""Training a subject-specific swap tool: each of its people redrawn as themselves, unwarped from warped.

    given, wanted = views(X)        for each person p:  loss(own(given, p), wanted)

All people pass through the same encoder in every step, and each one's decoder learns from that person alone. What a
tool is for, one person drawn as the other, is never trained: there is no pair of pictures that would show it.

    python train.py experiment=dfaker subjects.donor=<name> subjects.original=<name>
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from typing import Any, cast

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from anon.errors import UserError
from anon.faces.alignment import template
from anon.faces.regions import face_areas
from anon.generators.contract import Redrawn
from anon.generators.subjects.contract import DONOR, ORIGINAL, SubjectSwapper
from anon.training.augment import step_rng
from anon.training.gradients import average_gradients, frozen, local_backward, mean_over_processes
from anon.training.grids import SampleGrids
from anon.training.warps import Views

Optimizer = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]


class SubjectTraining(pl.LightningModule):
    """Reconstruction alone: DFaker, SAEHD, Villain.

    Args:
        generator: the tool.
        loss: of one person's faces.
        views: what is given and wanted of a face.
        optimizer: of parameters; a partial.
        steps: of the training.
        unwarped: last share of the steps in which nothing is warped; what both people share of a code (``shared``)
            then stays as it is, as in DeepFaceLab.
        raised: how far the mask reaches over the brows, as a share of their distance from the eyes.
        seed: of the views.
    """

    def __init__(
        self,
        generator: SubjectSwapper,
        loss: nn.Module,
        views: Views,
        optimizer: Optimizer,
        steps: int,
        unwarped: float = 0.0,
        raised: float = 0.5,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.generator = generator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.loss, self.views, self.optimizer, self.steps = loss, views, optimizer, steps
        self.unwarped, self.raised, self.seed = unwarped, raised, seed

    @property
    def step(self) -> int:
        """Index of the batch, over all epochs and resumed runs."""
        return self.trainer.fit_loop.total_batch_idx

    @property
    def warped(self) -> bool:
        """Whether faces are warped in this step."""
        return self.step < (1.0 - self.unwarped) * self.steps

    def setup(self, stage: str) -> None:
        """
        Raises:
            UserError: pictures of another size than the generator's, or data of others than its people.
        """
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        if data.size != self.generator.size:
            raise UserError(
                f"the generator draws {self.generator.size} pixels and data.size={data.size}; give both one number."
            )
        self.check_people(data)

    def check_people(self, data: Any) -> None:
        """
        Raises:
            UserError: the data are of others than the generator's people.
        """
        if len(data.faces("train").names) != len(self.generator.people):
            raise UserError("this training is of two people; name subjects.donor=<name> and subjects.original=<name>.")

    def who(self, batch: Mapping[str, Tensor]) -> Tensor:
        """(B,) which of the generator's people each face is of; who comes after the last one belongs to the last."""
        return batch["identity"].clamp(max=len(self.generator.people) - 1)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        figures = self.learn(batch)
        for name, value in mean_over_processes(figures).items():
            self.log(f"train/{name}", value, prog_bar=name.endswith(("dssim", "pixel")))

    def learn(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """One step of the optimizer; the terms of each person by name."""
        found: dict[str, Tensor] = {}
        still = None if self.warped else getattr(self.generator, "shared", None)
        with local_backward(self.trainer), nullcontext() if still is None else frozen(still):
            for person, given, wanted, areas in self.shown(batch):
                redrawn = self.generator.own(given, person)
                found |= self.of(person, self.loss(*redrawn, wanted, areas))
            if found:
                self.manual_backward(torch.stack(list(found.values())).sum())
        self.take(self.optimizers(), self.generator)
        return {name: value.detach() for name, value in found.items()}

    def areas(self, batch: Mapping[str, Tensor]) -> Tensor:
        """(B, 3, S, S) in [0, 1]: the faces, their eyes and their mouths, by given points or those of the template."""
        images = batch["image"]
        size = images.shape[-1]
        points = batch.get("landmarks", template(size).to(images).expand(len(images), 5, 2))
        return face_areas(points, size, size, self.raised)

    def shown(self, batch: Mapping[str, Tensor]) -> Iterable[tuple[int, Tensor, Tensor, Tensor]]:
        """Of each person in the batch: the number, what is given and wanted (B, 3, S, S), and areas (B, 3, S, S)."""
        images, areas = batch["image"], self.areas(batch)
        rng = step_rng(self.device, self.seed, self.step, self.global_rank)
        shown = [
            part.contiguous(memory_format=torch.channels_last) for part in self.views(images, areas, rng, self.warped)
        ]
        whose = self.who(batch)
        for person in range(len(self.generator.people)):
            rows = (whose == person).nonzero()[:, 0]
            if len(rows):
                given, wanted, own = (part[rows] for part in shown)
                yield person, given, wanted, own

    def of(self, person: int, terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Terms with the person before their names."""
        return {f"{self.generator.people[person]}_{name}": value for name, value in terms.items()}

    @staticmethod
    def take(optimizer: Any, network: nn.Module) -> None:
        """A step down the gradients, averaged over all processes."""
        average_gradients(network)
        optimizer.step()
        optimizer.zero_grad()

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Each person's own pictures that no training saw, unwarped: mean difference within the face."""
        images, face, whose = batch["image"], self.areas(batch)[:, :1], self.who(batch)
        for person, who in enumerate(self.generator.people):
            rows = (whose == person).nonzero()[:, 0]
            if len(rows):
                drawn = self.generator.own(images[rows], person).image
                apart = ((drawn - images[rows]).abs() * face[rows]).sum() / face[rows].sum().clamp(min=1.0) / 3.0
                self.log(f"val/l1_{who}", apart, prog_bar=True, sync_dist=True, batch_size=len(rows))

    def configure_optimizers(self) -> Any:
        return self.optimizer(self.generator.parameters())

    def forward(self, faces: Tensor) -> Redrawn:
        """Faces (B, 3, S, S) of the original as the donor."""
        return self.generator.swap(faces)


class SubjectGrids(SampleGrids):
    """A row a picture of the original that no training saw: as it is, redrawn as itself, as the donor, the mask, the
    donor blended in; then a picture of the donor, and it redrawn as itself.
    """

    def pick(self, faces: Any) -> Tensor:
        """(n, 2, 3, H, W): pictures of the original and of the donor."""
        chosen = []
        for person in (ORIGINAL, DONOR):
            rows = (faces.labels == person).nonzero()[:, 0]
            rows = rows[torch.linspace(0, len(rows) - 1, min(self.faces, len(rows))).long()]
            chosen.append(torch.stack([faces[int(row)]["image"] for row in rows]))
        count = min(map(len, chosen))
        return torch.stack([part[:count] for part in chosen], 1)

    def columns(self, pl_module: pl.LightningModule, target: Tensor) -> list[Tensor]:
        original, donor = target.unbind(1)
        tool = cast(SubjectSwapper, pl_module.generator)
        swapped = tool.swap(original)
        mask = cast(Tensor, swapped.mask)
        own = [tool.own(faces, person).image for faces, person in ((original, ORIGINAL), (donor, DONOR))]
        return [
            original,
            own[0],
            swapped.image,
            mask.expand_as(original) * 2 - 1,
            swapped.blend(original),
            donor,
            own[1],
        ]
