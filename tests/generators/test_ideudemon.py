"""IDeudemon's two steps: what takes noise and what does not, and what of a picture is taken over."""

from __future__ import annotations

import pytest
import torch

from anon.attributes.look import LookRegressor
from anon.attributes.regressor import AttributeRegressor
from anon.errors import UserError
from anon.faces.synthetic.look import LOOK, PAINTED, look_of
from anon.faces.synthetic.parameters import SHAPE, people
from anon.generators import ideudemon
from anon.generators.ideudemon import ALBEDO, GEOMETRY, HAIR, UNIT, IDeudemon, noise_of, person_of


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def made() -> IDeudemon:
    torch.manual_seed(0)
    look, attributes = LookRegressor(widths=(8, 8, 8)), AttributeRegressor(32, (8, 8, 8))
    torch.nn.init.normal_(look.head.weight, std=0.3)
    torch.nn.init.normal_(attributes.head.weight, std=0.1)
    look.mean.copy_(look_of(people(range(40))).mean(0))
    look.std.copy_(look_of(people(range(40))).std(0))
    return IDeudemon(look, attributes, (8, 16), (8, 16)).eval()


def faces(count: int = 3) -> torch.Tensor:
    return torch.rand(count, 3, 32, 32, generator=rng(1)) * 1.6 - 0.8


def none(count: int = 3) -> torch.Tensor:
    return torch.zeros(count, len(LOOK))


def test_the_code_has_every_parameter_once() -> None:
    assert sorted((*GEOMETRY, *HAIR, *(name for name in ALBEDO if name in SHAPE))) == sorted(SHAPE)
    assert set(ALBEDO) - set(SHAPE) == {"skin", "iris"}


def test_a_look_gives_its_person_back() -> None:
    """All but hair's hue, which no face shows, and how dense a beard is that cannot be seen."""
    look = look_of(people(range(60)))
    again = look_of(person_of(look))
    for name in (*SHAPE, *PAINTED):
        place = LOOK.index(name)
        if name in ("hair_warmth", "hair_brightness"):
            continue
        bound = 0.06 if name in ("beard", "full_beard", "iris") else 1e-4
        assert float((again[:, place] - look[:, place]).abs().max()) <= bound, name


def test_noise_is_of_the_geometry_alone_unless_the_albedo_is_asked_for() -> None:
    scale = torch.full((4000,), 0.25)
    for albedo, wanted in ((False, set(GEOMETRY)), (True, {*GEOMETRY, *ALBEDO})):
        noise = noise_of(scale, rng(), albedo)
        assert {name for name, column in zip(LOOK, noise.unbind(1), strict=True) if bool(column.any())} == wanted
        assert abs(float(noise[:, 0].std()) - 0.25) < 0.01 and abs(float(noise[:, 0].mean())) < 0.02
    assert not noise_of(torch.zeros(3), rng()).any()


def test_noise_moves_who_it_is_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is rendered has the same pose, expression, gaze, light and skin exactly; the code stays within ±1."""
    seen, real = [], ideudemon.head_of
    monkeypatch.setattr(ideudemon, "head_of", lambda *given: (seen.append(given), real(*given))[1])
    network, x = made(), faces()
    network.hybrid(x, none())
    network.hybrid(x, noise_of(torch.full((3,), 5.0), rng()))
    (person, mood, _), (other, same, _) = seen
    assert set(mood) == set(same) and all(torch.equal(mood[name], same[name]) for name in mood)
    moved = {name for name in person if not torch.equal(person[name], other[name])}
    assert moved <= set(GEOMETRY) and len(moved) > 0.9 * len(GEOMETRY)
    for name in ("head_width", "jaw_width"):
        place = LOOK.index(name)
        reach = UNIT * network.look.std[place] + 1e-5
        assert bool(((other[name] - network.look.mean[place]).abs() <= reach).all())


def test_what_is_taken_over_is_outside_of_the_face() -> None:
    """Where the reader sees a face, one pixel more each way, X_I is the drawn one's or a gap, and elsewhere X."""
    network, x = made(), faces()
    seen = torch.zeros(3, 1, 32, 32)
    seen[:, :, 4:28, 6:26] = 1
    network.reader.forward = lambda images: (seen * 2 - 1, torch.full((3, 10), 0.5))
    made_of = network.hybrid(x, none())
    wide = torch.zeros_like(seen, dtype=torch.bool)
    wide[:, :, 3:29, 5:27] = True
    outside, inside = (~wide).expand_as(x), wide.expand_as(x)
    assert torch.equal(made_of.image[outside], x[outside]) and bool(made_of.valid[~wide].all())
    whole = inside & (made_of.valid > 0).expand_as(x)
    assert torch.equal(made_of.image[whole], made_of.protected[whole]) and 0 < int(whole.sum()) < int(inside.sum())
    gaps = (made_of.valid == 0).expand_as(x)
    assert not made_of.image[gaps].any() and int(gaps.sum()) > 0
    assert not torch.equal(made_of.image, x)


def test_a_restorer_that_learned_nothing_gives_the_hybrid_back() -> None:
    network, x = made(), faces()
    assert torch.equal(network(x, none()), network.hybrid(x, none()).image)
    assert not network.train().look.training and not network.attributes.training and network.restorer.training


@pytest.mark.parametrize("shape", [(31, 31), (32, 30)])
def test_sizes_that_it_cannot_have(shape: tuple[int, int]) -> None:
    with pytest.raises(UserError, match="squares whose side is a multiple of 2 pixels"):
        made().hybrid(torch.zeros(1, 3, *shape), none(1))
