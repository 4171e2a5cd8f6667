"""The attacker's pairs: the anonymizer stays a black box, and nobody of the evaluation is among them."""

from __future__ import annotations

import functools
from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import default_collate

from anon.anonymizers.filters import Pixelate
from anon.apps.victims import attack_data
from anon.attacks.pairs import ChangedFaces
from anon.attacks.reconstruction import Reconstruction, ReconstructionNet
from anon.defenses.defended import complete
from anon.defenses.gradient import FGSM
from anon.defenses.noise import UniformNoise
from anon.defenses.processing import Resample
from anon.errors import UserError
from anon.faces.contract import to_float, to_uint8
from anon.faces.datamodule import synthetic_data
from tests.training import small


class BlackBox:
    """Answers when it is called with images (and a source of randomness), and to nothing else."""

    def __init__(self) -> None:
        object.__setattr__(self, "calls", 0)

    def __getattribute__(self, name: str) -> object:
        if name in ("redraw", "draw", "policy", "encoder", "generator", "state_dict", "named_parameters"):
            raise AssertionError(f"the attack asked for {name}")
        return object.__getattribute__(self, name)

    def __call__(self, images: torch.Tensor, *, rng: torch.Generator | None = None) -> torch.Tensor:
        object.__setattr__(self, "calls", self.calls + 1)
        return -images


def test_pairs_are_the_faces_and_what_was_published() -> None:
    victim, faces = BlackBox(), small.Pictures()
    pairs = ChangedFaces(faces, victim, batch_size=7)  # type: ignore[arg-type]
    assert len(pairs) == len(faces) and victim.calls == -(-len(faces) // 7)
    for index in (0, 5, len(faces) - 1):
        assert torch.equal(pairs[index]["image"], faces[index]["image"])
        wanted = to_float(to_uint8(-faces[index]["image"][None]))[0]
        assert torch.equal(pairs[index]["changed"], wanted)  # type: ignore[typeddict-item]


def test_an_attacker_with_few_pairs() -> None:
    faces = small.Pictures()
    few = ChangedFaces(faces, BlackBox(), count=5, seed=1)  # type: ignore[arg-type]
    assert len(few) == 5 and len(few.labels) == 5 and len(set(few.rows.tolist())) == 5
    assert few[3]["identity"] == few.labels[3]
    again, other = (ChangedFaces(faces, BlackBox(), count=5, seed=seed) for seed in (1, 2))  # type: ignore[arg-type]
    assert torch.equal(again.rows, few.rows) and not torch.equal(other.rows, few.rows)
    with pytest.raises(UserError, match=r"attack\.pairs=99 is more than the 24"):
        ChangedFaces(faces, BlackBox(), count=99)  # type: ignore[arg-type]


@pytest.fixture
def data(tmp_path):
    counts = {"train": 3, "background": 2, "attacker": 4, "evaluation": 5}
    return synthetic_data(32, counts, 2, 0, 1, batch_size=2, cache=tmp_path)


def test_the_attack_learns_from_the_attackers_people_alone(data) -> None:
    attacked = attack_data(data, {"anonymizer": Pixelate(4)})
    evaluated, trained = set(data.faces("evaluation").names), set(data.faces("train").names)
    for split, own in (("train", "attacker"), ("background", "background")):
        people = set(attacked.faces(split).names)
        assert people == set(data.faces(own).names)
        assert not people & evaluated and not people & trained
    assert len(attack_data(data, {"anonymizer": Pixelate(4)}, pairs=3).faces("train")) == 3
    with pytest.raises(UserError, match="no split 'evaluation'"):
        attacked.faces("evaluation")


def seen(attacked, step: int, rank: int = 0) -> torch.Tensor:
    """The changed faces of the attacker's first two pictures, as that training step gets them."""
    plugin = SimpleNamespace(convert_input=lambda batch: batch)
    attacked.trainer = SimpleNamespace(training=True, global_step=step, global_rank=rank, precision_plugin=plugin)
    batch = default_collate([attacked.faces("train")[index] for index in (0, 1)])
    return attacked.on_after_batch_transfer(batch, 0)["changed"]


def test_a_defended_victim(data) -> None:
    """Noise is drawn anew at every step.

    Kind: an adaptive attacker who learns one draw of the defense, and is weaker than it need be. Every defense that
    draws had it: uniform and Gaussian noise, PGD from a random start, and noise on parameters, which was one network a
    batch, too (tests/defenses/test_defended.py).
    """
    plain = attack_data(data, {"anonymizer": Pixelate(4)}).faces("train")[0]["changed"]
    noisy = attack_data(data, {"anonymizer": Pixelate(4)}, defense=UniformNoise(0.15))
    first, again, other = (seen(noisy, step) for step in (0, 0, 1))
    apart = (plain - first[0]).abs()
    assert 0.05 < float(apart.mean()) < 0.1 and float(apart.max()) <= 0.15 + 1.5 / 127.5
    assert torch.equal(first, again)  # the same after a kill as without
    assert 0.05 < float((first - other).abs().mean()) < 0.15  # two draws of U(-e, e) are 2 e / 3 apart on average
    assert not torch.equal(first, seen(noisy, 0, rank=1))
    known, clear = (
        attack_data(data, {"anonymizer": Pixelate(4)}, defense=defense).faces("background")[0]["changed"]
        for defense in (UniformNoise(0.15), None)
    )
    assert float((known - clear).abs().max()) > 0.1  # what is validated on is one publication


def test_what_draws_nothing_is_defended_once(data) -> None:
    shrunk = attack_data(data, {"anonymizer": Pixelate(8)}, defense=Resample(0.5))
    assert torch.equal(seen(shrunk, 0), seen(shrunk, 1))
    assert torch.equal(seen(shrunk, 0)[0], shrunk.faces("train")[0]["changed"])
    assert not torch.equal(seen(shrunk, 0), seen(attack_data(data, {"anonymizer": Pixelate(8)}), 0))


def test_gradient_defenses_are_completed_with_the_attack() -> None:
    gradient = functools.partial(FGSM, epsilon=0.1)
    with pytest.raises(UserError, match=r"attack\.against"):
        complete(gradient, None)
    attack = Reconstruction(ReconstructionNet((8, 16)), small.encoder())
    assert complete(gradient, attack).against == (attack.network, attack.encoder)  # type: ignore[union-attr]
    noise = UniformNoise(0.1)
    assert complete(noise, None) is noise
