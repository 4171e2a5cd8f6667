"""Training FATM: who learns from whom, what becomes of a stranger, resuming, and what is refused."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from anon.errors import UserError
from anon.faces.datamodule import FaceData
from anon.faces.donors import Donors
from anon.generators.subjects.contract import DONOR
from anon.generators.subjects.fatm import FATM
from anon.losses.dssim import SubjectLoss
from anon.training.fatm import FATMGrids, FATMTraining
from anon.training.warps import GridWarp, Views
from tests.generators.test_fatm import Points, of
from tests.training import small

ANNA, BERTA = 0, 1


class Crowd:
    """Of the background split Anna, who is bright, Berta, who is dark, and Cleo; of the other ten people between."""

    synthetic = True

    def __init__(self, split: str, size: int) -> None:
        background = split == "background"
        self.names = ["Anna", "Berta", "Cleo"] if background else [f"{split}{number}" for number in range(10)]
        count = 24 if background else 4
        self.labels = torch.arange(len(self.names)).repeat_interleave(count)
        coarse = torch.rand(len(self.labels), 3, 4, 4, generator=torch.Generator().manual_seed(len(split))) - 0.5
        light = torch.tensor([0.4, -0.4, 0.0]) if background else torch.linspace(-0.2, 0.2, 10)
        coarse = coarse * 0.6 + light[self.labels].view(-1, 1, 1, 1)
        self.images = torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear")
        self.videos, self.frames = torch.full_like(self.labels, -1), torch.arange(len(self.labels)) % count

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Any]:
        whose = {"identity": self.labels[index], "video": self.videos[index], "frame": self.frames[index]}
        return {"image": self.images[index], **whose}


def data(*names: str, size: int = 32) -> Donors:
    return Donors(FaceData(partial(Crowd, size=size), "crowd", size, True, 12), names or ("Anna", "Berta"))


def module(donors: int = 2, **options: Any) -> FATMTraining:
    torch.manual_seed(0)
    made = FATM(32, Points(), donors, 2, 1, 8)  # type: ignore[arg-type]
    shared = {"views": Views(GridWarp()), "optimizer": partial(torch.optim.Adam, lr=1e-3), "steps": 6}
    return FATMTraining(made, **{"loss": SubjectLoss(1.0, 1.0, 0.0), **shared, **options})


def fitted(made: FATMTraining, folder: Path, steps: int, resumed: str | None = None) -> Any:
    trainer = small.trainer(folder, steps, limit_val_batches=4, max_steps=steps)
    trainer.fit(made, datamodule=data(), ckpt_path=resumed)
    return trainer


def test_all_parts_learn(tmp_path: Path) -> None:
    made, fresh = module(), module()
    trainer = fitted(made, tmp_path, 6)
    state = fresh.state_dict()
    assert not [name for name, value in made.state_dict().items() if torch.equal(value, state[name])]
    people = ("donor_1", "donor_2", "everybody")
    assert {f"train/{who}_{term}" for who in people for term in ("dssim", "pixel")} <= set(trainer.callback_metrics)
    assert {f"val/l1_{who}" for who in people} <= set(trainer.callback_metrics)


def test_resuming_changes_nothing(tmp_path: Path) -> None:
    whole, first, second = module(), module(), module()
    fitted(whole, tmp_path / "whole", 6)
    fitted(first, tmp_path / "parts", 3).save_checkpoint(tmp_path / "half.ckpt")
    fitted(second, tmp_path / "parts", 6, str(tmp_path / "half.ckpt"))
    for name, value in whole.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


def test_a_donor_s_decoder_learns_from_that_donor_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, fresh = module(), module()
    kept = made.shown
    monkeypatch.setattr(made, "shown", lambda batch: [part for part in kept(batch) if part[0] == DONOR])
    fitted(made, tmp_path, 2)
    still = {name for name, value in made.state_dict().items() if torch.equal(value, fresh.state_dict()[name])}
    assert {name.split(".")[2] for name in still} == {"1", "2"} and all(".decoders." in name for name in still)


def test_a_stranger_becomes_the_donor_whom_the_latent_names(tmp_path: Path) -> None:
    """Cleo, whom no training saw and who is grey, is drawn bright as Anna and dark as Berta."""
    optimizer = partial(torch.optim.Adam, lr=5e-3)
    made = module(steps=60, loss=SubjectLoss(0.0, 10.0, 0.0), optimizer=optimizer)
    fitted(made, tmp_path, 60)
    cleo, face = Crowd("background", 32).images[48:56], slice(12, 22)
    with torch.no_grad():
        drawn = made.generator(cleo, of(*[ANNA] * 4, *[BERTA] * 4))
    assert float(drawn.image[:4, :, face, face].mean()) > 0.2
    assert float(drawn.image[4:, :, face, face].mean()) < -0.2


def test_a_grid_shows_each_donor_drawn_over_strangers(tmp_path: Path) -> None:
    made, faces = module(), data().faces("background")
    grid = FATMGrids(str(tmp_path), faces=8)
    picked = grid.pick(faces)
    assert picked.shape == (1, 3, 3, 32, 32)  # Cleo alone is no donor
    assert torch.equal(picked[0, 0], Crowd("background", 32).images[48])
    columns = grid.columns(made, picked)
    assert len(columns) == 7 and all(column.shape == (2, 3, 32, 32) for column in columns)
    assert torch.equal(columns[2][1], picked[0, 1]) and torch.equal(columns[6][1], picked[0, 2])  # the donors below
    assert len(grid.pick(data("Anna", "Berta", "Cleo").faces("background"))) == 0  # nobody is left to be shown


def test_other_data_are_refused(tmp_path: Path) -> None:
    trainer = small.trainer(tmp_path, 1)
    with pytest.raises(UserError, match=r"has 3 donors and subjects\.donors 2 names"):
        trainer.fit(module(donors=3), datamodule=data())
    with pytest.raises(UserError, match=r"subjects\.donors no names"):
        crowd = small.data()
        crowd.size = 32
        trainer.fit(module(), datamodule=crowd)
    with pytest.raises(UserError, match=r"draws no mask that could be trained; set model\.loss\.mask=0"):
        trainer.fit(module(loss=SubjectLoss(1.0, 0.0, 1.0)), datamodule=data())
