"""CIAGAN: its hole and landmarks follow the points, its code means one training person, hidden pixels mean nothing."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from anon.errors import UserError
from anon.faces.alignment import template
from anon.faces.regions import face_lines, inside_face
from anon.generators.inpainting.ciagan import CIAGAN, CIAGANCritics, landmark_image
from anon.losses.siamese import Siamese, siamese
from anon.training.inpainting import partners
from tests.generators.test_inpainting import DIM, PLACES, SIZE, Points, faces


def ciagan(identities: int = 6) -> CIAGAN:
    torch.manual_seed(0)
    return CIAGAN(SIZE, Points(), identities, base=4, z_dim=DIM, residuals=1).eval()  # type: ignore[arg-type]


@torch.no_grad()
def test_hidden_pixels_change_nothing_and_the_rest_stays() -> None:
    network, images = ciagan(), faces()
    seen, z = network.see(images), network.codes[:2]
    assert seen.hole.shape == (2, 1, SIZE, SIZE) and 0.2 < seen.hole.float().mean() < 0.7
    drawn = network(images, z).image
    other = torch.where(seen.hole, faces(seed=5), images)
    assert torch.equal(network(other, z).image, drawn)
    assert torch.equal(torch.where(seen.hole, 0.0, drawn), torch.where(seen.hole, 0.0, images))


def test_no_gradient_reaches_hidden_pixels() -> None:
    network, images = ciagan().train(), faces().requires_grad_()
    network(images, network.codes[:2]).image.square().sum().backward()
    hole = network.see(images).hole.expand_as(images)
    assert images.grad is not None
    assert images.grad[hole].abs().max() == 0 and images.grad[~hole].abs().sum() > 0


@torch.no_grad()
def test_a_code_means_one_person() -> None:
    network = ciagan()
    assert network.person(network.codes).tolist() == list(range(6))
    assert network.person(0.9 * network.codes + 0.1 * network.codes.roll(1, 0)).tolist() == list(range(6))  # no mixes
    drawn = F.normalize(torch.randn(6000, DIM, generator=torch.Generator().manual_seed(1)))
    assert network.person(drawn).bincount(minlength=6).min() > 600  # anybody
    one, other = (network(faces(1), network.codes[n : n + 1]).image for n in (0, 1))
    assert (one - other).abs().max() > 1e-4
    with pytest.raises(UserError, match="two people or more, not for 1"):
        ciagan(1)


@torch.no_grad()
def test_points_move_the_drawing() -> None:
    network, z = ciagan(), ciagan().codes[:2]
    before = network(faces(), z).image
    network.points.estimator.points = PLACES + torch.tensor([0.0, 3.0])
    assert not torch.equal(network(faces(), z).image, before)


def test_the_mean_face_around_the_template() -> None:
    """In the 112 template itself: within are nose and mouth, without the forehead, ears and what is below the chin."""
    points = template(112)[None]
    hole, lines = inside_face(points, 128, 112)[0, 0], face_lines(points, 128, 112)[0, 0]
    for x, y, within in ((56, 72, True), (56, 114, True), (56, 30, False), (15, 60, False), (25, 110, False)):
        assert bool(hole[y, x]) == within, (x, y)
    for x, y, drawn in ((56, 116, True), (56, 62, True), (56, 92, True), (38, 52, False), (56, 30, False)):
        assert bool(lines[y, x]) == drawn, (x, y)
    half = inside_face((points + 0.5) / 2 - 0.5, 64, 56)[0, 0]  # the same face at half the size
    assert (half.float().mean() - hole.float().mean()).abs() < 0.01


@torch.no_grad()
def test_critics_see_landmarks_and_tell_people_apart() -> None:
    torch.manual_seed(0)
    critics, seen = CIAGANCritics(SIZE, 4, 8).eval(), ciagan().see(faces())
    drawing = landmark_image(seen)
    assert {tuple(colour) for colour in drawing.movedim(1, -1).reshape(-1, 3).tolist()} == {(1, 1, 1), (1, -1, -1)}
    both = critics(torch.cat((faces(), faces(seed=3))), seen)
    torch.testing.assert_close(both[:2], critics(faces(), seen))
    moved = seen._replace(points=seen.points + 4.0)
    assert not torch.allclose(critics(faces(), moved), both[:2])
    assert critics.embed(faces()).shape == (2, 8)


def test_siamese_by_hand() -> None:
    """d = 1: ½ for one person, ½ · 2² for two; beyond the margin nothing."""
    first, second = torch.zeros(3, 2), torch.tensor([[1.0, 0.0], [0.0, 1.0], [3.0, 4.0]])
    same = torch.tensor([True, False, False])
    assert siamese(first, second, same).item() == pytest.approx((0.5 + 2.0 + 0.0) / 3)
    assert Siamese()(first, second).item() == pytest.approx((0.5 + 0.5 + 12.5) / 3)


def test_partners_are_others_and_often_of_the_same_person() -> None:
    people = torch.arange(12).repeat_interleave(2)
    found, same = zip(*(partners(people, torch.Generator().manual_seed(seed)) for seed in range(50)), strict=True)
    assert all(bool((each != torch.arange(24)).all()) for each in found)
    assert 0.42 < torch.stack(same).float().mean() < 0.62
    assert all(torch.equal(people[a] == people, b) for a, b in zip(found, same, strict=True))
