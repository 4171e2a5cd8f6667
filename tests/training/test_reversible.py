"""Training with keys: whom each half of a batch shall be, and that a resumed run goes on to the same weights."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch.nn import functional as F

from anon.errors import UserError
from anon.generators.discriminator import Discriminator
from anon.generators.fiva import FIVA
from anon.identity.rotation import turned
from anon.losses.adversarial import NonSaturating
from anon.losses.identity import Cosine
from anon.losses.pixel import SamePixelL1
from anon.training.objective import Objective, Term
from anon.training.pairing import MixedPairs
from anon.training.reversible import ReversibleTraining
from tests.training import small


def module(**options: Any) -> ReversibleTraining:
    """The same weights at every call."""
    terms = {
        "wanted": Term(Cosine(), ["z_blended", "z_wanted"], 2.0),
        "back": Term(Cosine(), ["z_returned", "z_back"], 2.0),
        "recovered": Term(SamePixelL1(), ["returned", "distorted", "right"], 5.0),
        "adversarial": Term(NonSaturating(), ["logits_blended"], 0.1),
    }
    frozen = small.encoder()
    torch.manual_seed(0)
    networks = FIVA((8, 16), small.DIM, bottleneck=1), Discriminator(small.SIZE, base=4), frozen
    return ReversibleTraining(*networks, Objective(terms), rank=4, lr=1e-3, **options)


def fitted(made: ReversibleTraining, folder: Path, steps: int, resumed: str | None = None) -> pl.Trainer:
    trainer = small.trainer(folder, steps, limit_val_batches=1)
    trainer.fit(made, datamodule=small.data(), ckpt_path=resumed)
    return trainer


def test_both_halves_know_whom_they_shall_be(tmp_path: Path) -> None:
    """X_c shall be z turned by the right key; of four faces two come back as their own, two as a wrong key's."""
    made = module(angles=(90.0, 90.0))
    fitted(made, tmp_path, 1)
    torch.testing.assert_close(made.space.T @ made.space, torch.eye(4, dtype=torch.float64))
    images = torch.stack([small.Pictures()[row]["image"] for row in range(4)])
    known = made.look({"image": images})
    inside = known["z_own"] @ made.space.float() @ made.space.float().T
    moved = known["z_wanted"] - (known["z_own"] - inside)
    torch.testing.assert_close((moved * inside).sum(1), torch.zeros(4), atol=1e-5, rtol=0)  # 90 degrees
    made.draw(known)
    assert known["right"].tolist() == [True, True, False, False]
    torch.testing.assert_close(known["z_back"][:2], known["z_own"][:2])
    away = turned(known["z_blended"], known["back"], -known["angle"])
    torch.testing.assert_close(known["z_back"][2:], away[2:])
    own = turned(known["z_wanted"], known["back"], torch.tensor(-math.pi / 2))
    torch.testing.assert_close(own[:2], known["z_own"][:2], atol=1e-5, rtol=0)
    assert float(F.cosine_similarity(own[2:], known["z_own"][2:]).max()) < 0.999  # another key


def test_a_resumed_run_ends_at_the_same_weights(tmp_path: Path) -> None:
    whole, first, second = module(), module(), module()
    fitted(whole, tmp_path, 4)
    fitted(first, tmp_path, 2).save_checkpoint(tmp_path / "half.ckpt")
    fitted(second, tmp_path, 4, str(tmp_path / "half.ckpt"))
    for name, value in whole.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name
    assert not torch.equal(next(whole.generator.parameters()), next(first.generator.parameters()))


def test_refused() -> None:
    with pytest.raises(UserError, match=r"model.angles are degrees between 0 and 180.*\[120.0, 60.0\]"):
        module(angles=(120.0, 60.0))
    with pytest.raises(UserError, match="no pairing or others; use objective=reversible"):
        module(pairing=MixedPairs(0.5))
    networks = FIVA((8, 16), small.DIM), Discriminator(small.SIZE, base=4), small.encoder()
    with pytest.raises(UserError, match="no maps_raw; use objective=reversible"):
        ReversibleTraining(*networks, Objective(small.terms()))
