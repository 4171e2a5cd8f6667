"""A fleeing generator with pairs: it is given, and flees, its own identity or the opposite of another's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from anon.losses.identity import CounterfactualCosine
from anon.losses.pixel import PixelL1
from anon.training.adversarial.steering import steering
from anon.training.objective import Objective, Term
from anon.training.pairing import MixedPairs
from tests.training import small


def _learned(tmp_path: Path, **options: Any) -> dict[str, float]:
    terms = {
        "identity": Term(CounterfactualCosine(), ["z_fled", "z_raw", "z_blended"]),
        "pixel": Term(PixelL1(), ["raw", "distorted"], 2.0),
    }
    module = small.module(objective=Objective(terms), lr=5e-3, ema=0.9, **options)
    small.trainer(tmp_path, 150, max_steps=150, log_every_n_steps=150).fit(module, datamodule=small.data(12, count=960))
    return {name: float(found) for name, found in steering(module, module.encoder, small.Pictures().images).items()}


def test_what_is_given_and_fled(tmp_path: Path) -> None:
    module = small.module(pairing=MixedPairs(0.5))
    found: list[dict[str, Any]] = []
    given: list[Tensor] = []
    real = module.look

    def look(batch: Any) -> dict[str, Any]:
        found.append(real(batch))
        return found[-1]

    module.look = look  # type: ignore[method-assign]
    module.generator.register_forward_pre_hook(lambda _, args: given.append(args[1]))
    small.trainer(tmp_path, 4).fit(module, datamodule=small.data(8))
    same = torch.cat([known["same"] for known in found])
    assert 0 < int(same.sum()) < len(same)
    for known, z in zip(found, given, strict=True):
        own, source = known["z_target"], known["z_source"]
        wanted = torch.where(known["same"][:, None], own, -source)
        torch.testing.assert_close(known["z_fled"], wanted)
        torch.testing.assert_close(z, wanted)  # the encoder of the losses conditions, too


def test_pairs_make_it_somebody(tmp_path: Path) -> None:
    """In the same number of steps the person whom it shall become is nearer, and it still flees its own identity."""
    alone, paired = _learned(tmp_path), _learned(tmp_path, pairing=MixedPairs(0.5, after=30))
    assert paired["cos_swap"] > alone["cos_swap"] + 0.1, (alone, paired)
    assert paired["cos_own"] < paired["cos_opposite"] - 0.3, paired
