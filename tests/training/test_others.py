"""Several recognizers in turn give a generator's losses; the first alone conditions it."""

from __future__ import annotations

import copy
from pathlib import Path

import torch

from anon.identity.encoder import Encoder
from anon.identity.networks.iresnet import IResNet
from anon.training.target_oriented import TargetOriented
from tests.training import small


def _other() -> Encoder:
    """Of another seed, another width of the embedding and other layers."""
    torch.manual_seed(7)
    backbone = IResNet((1, 1), (8, 16), 20, small.SIZE, stem_stride=1)
    small.settle(backbone, small.Pictures(count=64).images)
    return Encoder(backbone, small.SIZE, name="other", layers=("layer1",))


def _trained(folder: Path, steps: int, others: list[Encoder]) -> TargetOriented:
    module = small.module(others=others)
    small.trainer(folder, steps).fit(module, datamodule=small.data())
    return module


def test_a_copy_of_the_encoder_among_them_changes_nothing(tmp_path):
    alone, both = _trained(tmp_path, 4, []), _trained(tmp_path, 4, [copy.deepcopy(small.encoder())])
    for one, two in zip(alone.generator.parameters(), both.generator.parameters(), strict=True):
        assert torch.equal(one, two)


def test_the_first_conditions_and_the_drawn_one_gives_the_losses(tmp_path):
    seen: dict[str, int] = {}
    frozen, others = small.encoder(), [_other()]

    class Watched(TargetOriented):
        def draw(self, known):
            seen[self.loss_encoder.name] = seen.get(self.loss_encoder.name, 0) + 1
            torch.testing.assert_close(known["z_condition"], frozen(known["target"]).z)
            torch.testing.assert_close(known["z_target"], self.loss_encoder(known["target"]).z)
            super().draw(known)
            assert known["z_raw"].shape[1] == {"small": small.DIM, "other": 20}[self.loss_encoder.name]
            assert len(known["maps_raw"]) == len(self.loss_encoder.layers)

    module = small.module(others=others)
    module.__class__ = Watched
    small.trainer(tmp_path, 20).fit(module, datamodule=small.data())
    assert sum(seen.values()) == 20 and min(seen["small"], seen["other"]) >= 4


def test_a_checkpoint_holds_none_of_them_and_resumes_bit_by_bit(tmp_path):
    whole = _trained(tmp_path, 8, [_other()])
    half = small.module(others=[_other()])
    trainer = small.trainer(tmp_path, 5)
    trainer.fit(half, datamodule=small.data())
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    state = torch.load(tmp_path / "half.ckpt", weights_only=True)["state_dict"]
    assert not [name for name in state if name.startswith(("encoder.", "others."))]
    resumed = small.module(others=[_other()])
    small.trainer(tmp_path, 8).fit(resumed, datamodule=small.data(), ckpt_path=tmp_path / "half.ckpt")
    for one, two in zip(whole.generator.parameters(), resumed.generator.parameters(), strict=True):
        assert torch.equal(one, two)
