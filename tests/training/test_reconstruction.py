"""The reconstruction attack in small: it undoes what can be undone, and cannot undo what is gone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from anon.attacks.reconstruction import Reconstruction, ReconstructionNet
from anon.errors import UserError
from anon.faces.datamodule import FaceData
from anon.generators.discriminator import Discriminator
from anon.losses.identity import Cosine
from anon.losses.pixel import MaskL1, PixelL1
from anon.training.objective import Objective, Term
from anon.training.reconstruction import ReconstructionTraining
from tests.training import small


class Pairs(small.Pictures):
    """Pictures and what an anonymizer made of them."""

    def __init__(self, split: str, solid: bool) -> None:
        super().__init__(split)
        self.solid = solid

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        image = self.images[index]
        return {**super().__getitem__(index), "changed": torch.zeros_like(image) if self.solid else -image.flip(0)}


def terms() -> dict[str, Term]:
    return {
        "pixel": Term(PixelL1(), ["raw", "distorted"], 10.0),
        "identity": Term(Cosine(), ["z_raw", "z_target"], 1.0),
    }


def attack(**options: Any) -> ReconstructionTraining:
    torch.manual_seed(0)
    network, discriminator = ReconstructionNet((8, 16), deep=1), Discriminator(small.SIZE, base=4)
    objective = Objective(options.pop("terms", None) or terms())
    return ReconstructionTraining(network, discriminator, small.encoder(), objective, **{"lr": 5e-3, **options})


@pytest.mark.parametrize("solid", [False, True])
def test_what_is_left_of_a_face_decides(solid: bool, tmp_path: Path) -> None:
    """A negative with swapped channels is undone on people it has not seen; one colour is no better than one face."""
    module = attack(ema=0.9)
    data = FaceData(lambda split: Pairs(split, solid), "pairs", small.SIZE, synthetic=True, batch_size=8)  # type: ignore[arg-type]
    small.trainer(tmp_path, 150).fit(module, datamodule=data)
    unseen = Pairs("background", solid)
    batch = {name: torch.stack([unseen[index][name] for index in range(24)]) for name in ("image", "changed")}
    found = Reconstruction(module.averaged, module.encoder).images(batch["changed"])
    error = float((found - batch["image"]).abs().mean())
    if solid:
        assert (found - found[:1]).abs().max() < 1e-4
        assert error > 0.2
    else:
        assert error < 0.08
    with torch.no_grad():
        report: dict[str, float] = {}
        module.log_dict = lambda values, **_: report.update({k: float(v) for k, v in values.items()})  # type: ignore[method-assign]
        module.validation_step(batch, 0)
    assert report["val/l1_found"] == pytest.approx(error, abs=1e-5)
    assert report["val/l1_changed"] == pytest.approx(float((batch["changed"] - batch["image"]).abs().mean()), abs=1e-5)
    assert solid or report["val/cos_found"] > report["val/cos_changed"]


def test_a_term_that_an_attack_does_not_have_is_refused() -> None:
    with pytest.raises(UserError, match="no 'mask'"):
        attack(terms={"mask": Term(MaskL1(), ["mask"], 1.0)})


def test_the_network_sees_the_changed_face_alone() -> None:
    network = ReconstructionNet((8, 16, 24)).eval()
    changed = torch.rand(2, 3, 16, 24) * 2 - 1
    found = network(changed)
    assert found.shape == changed.shape and found.abs().max() <= 1
    assert Reconstruction(network).images(changed).requires_grad is False
