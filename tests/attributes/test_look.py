"""The look of rendered people: the table of their parameters, and what the regressor's distances count."""

from __future__ import annotations

import pytest
import torch

from anon.attributes.look import LookRegressor, explained
from anon.faces.synthetic.dataset import SyntheticFaces
from anon.faces.synthetic.look import LOOK, look_of
from anon.faces.synthetic.paint import hair_colour
from anon.faces.synthetic.parameters import SHAPE, people


def column(look: torch.Tensor, name: str) -> torch.Tensor:
    return look[:, LOOK.index(name)]


def test_the_table_says_what_the_painter_draws() -> None:
    person = people(range(200))
    look = look_of(person)
    assert look.shape == (200, len(LOOK)) and bool(look.isfinite().all())
    assert torch.equal(column(look, "nose_width"), person["nose_width"]) and LOOK[: len(SHAPE)] == tuple(SHAPE)
    hair = hair_colour(person)[..., 0, 0]
    torch.testing.assert_close(column(look, "hair_warmth"), hair[:, 0] - hair[:, 2])
    bearded = person["masculine"] * person["beard"] > 0.33
    assert torch.equal(column(look, "beard") > 0, bearded) and 0.1 < float(bearded.float().mean()) < 0.6
    bald, fringe = column(look, "bald") == 1, column(look, "fringe") == 1
    assert not bool((bald & fringe).any()) and torch.equal(fringe, (person["fringe"] > 0.8) & ~bald)


def test_a_set_knows_its_people(tmp_path) -> None:
    faces = SyntheticFaces("evaluation", identities=3, images=1, cache=tmp_path, seed=5)
    assert torch.equal(faces.look(), look_of(people([int(name.split("-")[1]) for name in faces.names], seed=5)))


def test_squared_distances_are_weighted_by_what_is_read() -> None:
    regressor = LookRegressor(size=32).eval()
    torch.nn.init.normal_(regressor.head.weight, generator=torch.Generator().manual_seed(0))
    regressor.readable[3], regressor.readable[7] = 0.25, 1.0
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        read, look = regressor.read(images), regressor(images)
    apart = read[0] - read[1]
    assert float((look[0] - look[1]).square().sum()) == pytest.approx(float(0.25 * apart[3] ** 2 + apart[7] ** 2))
    assert float(apart.abs().min()) > 0


def test_units_are_the_training_peoples_deviations() -> None:
    regressor = LookRegressor()
    regressor.mean[0], regressor.std[0] = 2.0, 4.0
    assert float(regressor.standardized(torch.full((1, len(LOOK)), 10.0))[0, 0]) == 2.0


def test_a_checker_is_blurred_away() -> None:
    """A Gaussian of one pixel leaves exp(-pi²) = 5e-5 of a checkerboard, and all of a face of one colour."""
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    checker = 0.5 * (2 * ((x + y) % 2) - 1).expand(1, 3, 64, 64)
    seen = []
    regressor = LookRegressor(size=64, blur=1.0).eval()
    regressor.trunk.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        regressor(checker)
        regressor(torch.full_like(checker, 0.3))
        regressor.blur = 0.0
        regressor(checker)
    assert float(seen[0].abs().max()) < 1e-3
    torch.testing.assert_close(seen[1], torch.full_like(checker, 0.3))
    torch.testing.assert_close(seen[2], checker)


def test_explained_is_one_less_what_is_left() -> None:
    truth = torch.tensor([[0.0, 0.0], [2.0, 4.0], [4.0, 8.0]])  # variances 8 and 32, summed
    read = truth + torch.tensor([[1.0, 4.0], [-1.0, 4.0], [0.0, 4.0]])
    torch.testing.assert_close(explained(read, truth), torch.tensor([1 - 2 / 8, 1 - 48 / 32]))
