"""The four hooks, negation, parrot, and conf/attack."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from torch import nn

from anon.anonymizers.filters import Pixelate, PixelNoise
from anon.attacks.classical import Depixelate, NonLocalMeans, Wiener
from anon.attacks.contract import Attack, AttackLike
from anon.attacks.negation import Negation
from anon.attacks.parrot import Parrot
from anon.errors import UserError

CONF = Path(__file__).resolve().parents[2] / "conf"
IMAGES = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
Z = nn.functional.normalize(torch.tensor([[3.0, 4.0], [-1.0, 0.0]]))
HOOKS = ("images", "probe", "gallery", "judge")


def configured(name: str):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return instantiate(compose(overrides=[f"+attack={name}"]).attack)


def unused(attack: Attack, *used: str) -> None:
    """Every hook but the ``used`` ones gives back the very thing that it got."""
    given = {"images": IMAGES, "probe": Z, "gallery": IMAGES, "judge": object()}
    for hook in set(HOOKS) - set(used):
        assert getattr(attack, hook)(given[hook]) is given[hook], hook


@pytest.mark.parametrize(
    ("name", "kind", "used"),
    [
        ("none", Attack, ()),
        ("negation", Negation, ("probe",)),
        ("wiener", Wiener, ("images",)),
        ("depixelate", Depixelate, ("images",)),
        ("non_local_means", NonLocalMeans, ("images",)),
    ],
)
def test_configured_attacks_use_their_hooks_alone(name, kind, used):
    attack = configured(name)
    assert type(attack) is kind and isinstance(attack, AttackLike)
    unused(attack, *used)


def test_an_attack_lacks_no_hook():
    assert not isinstance(nn.Identity(), AttackLike)


def test_negation_finds_who_fled_to_the_opposite():
    """The probe of a face that became -z compares with the enrolled z: cosine 1, was -1."""
    changed = -Z
    torch.testing.assert_close((Negation().probe(changed) * Z).sum(1), torch.ones(2))
    assert Negation().probe(Z).tolist() == [[pytest.approx(-0.6), pytest.approx(-0.8)], [1.0, -0.0]]


class Watched(nn.Module):
    """Gives half of the image and writes down what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[dict[str, object]] = []

    def forward(self, images, *, source=None, key=None, track=None, rng=None):
        self.told.append({"source": source, "key": key, "track": track, "rng": rng})
        return images / 2

    def redraw(self, *_, **__):
        raise AssertionError("the parrot knows nothing but the call")


def test_parrot_enrols_the_anonymizers_output_and_gives_no_secret():
    watched = Watched()
    attack = Parrot(anonymizer=watched)
    assert isinstance(attack, Parrot) and isinstance(attack, AttackLike)
    assert torch.equal(attack.gallery(IMAGES), IMAGES / 2)
    assert watched.told == [{"source": None, "key": None, "track": None, "rng": None}]
    unused(attack, "gallery")


def test_parrot_meets_the_probes_that_a_naive_gallery_misses():
    """People who differ in their block means, under strong detail: a mosaic's probe is nearest to its own mosaic."""
    rng = torch.Generator().manual_seed(3)
    detail = torch.rand(4, 3, 16, 16, generator=rng) - 0.5
    people = detail + (torch.rand(4, 3, 2, 2, generator=rng) - 0.5).repeat_interleave(8, 2).repeat_interleave(8, 3)
    mosaic = Pixelate(2)
    probes = mosaic(people).flatten(1)
    naive = torch.cdist(probes, people.flatten(1)).diagonal()
    parrot = torch.cdist(probes, Parrot(mosaic).gallery(people).flatten(1))
    assert parrot.diagonal().max() < 1e-3 and naive.min() > 1.0
    assert parrot.argmin(1).tolist() == [0, 1, 2, 3]


def test_parrot_draws_from_its_own_generator_and_goes_on():
    """Two batches have noise of their own; the same generator gives the same two again; none is an error."""

    def batches() -> list[torch.Tensor]:
        attack = Parrot(PixelNoise(0.1), torch.Generator().manual_seed(5))
        return [attack.gallery(IMAGES), attack.gallery(IMAGES)]

    first, second = batches()
    assert not torch.equal(first, second)
    assert torch.equal(torch.stack(batches()), torch.stack([first, second]))
    with pytest.raises(UserError, match="rng"):
        Parrot(PixelNoise(0.1)).gallery(IMAGES)
