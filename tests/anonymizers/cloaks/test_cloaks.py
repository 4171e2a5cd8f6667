"""Cloaks: the budget, whom they are made on, masks on pictures that they never saw, and steps by hand."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import nn

from anon.anonymizers.cloaks.base import slope
from anon.anonymizers.cloaks.control import RandomSigns
from anon.anonymizers.cloaks.fawkes import Fawkes, dssim
from anon.anonymizers.cloaks.mi_fgsm import MIFGSM
from anon.anonymizers.cloaks.person import PersonMasks, nearest_in_hull
from anon.anonymizers.cloaks.pgd import PGD
from anon.anonymizers.cloaks.ti_dim import TIDIM
from anon.anonymizers.cloaks.tip_im import TIPIM
from anon.anonymizers.cloaks.universal import Universal
from anon.anonymizers.plugged import as_anonymizer
from anon.errors import Failed, UserError
from anon.faces.contract import in_eight_bits, to_uint8
from anon.identity.encoder import Encoder
from anon.metrics.preservation import ssim
from tests.evaluation import tiny_world

ROOT = Path(__file__).resolve().parents[3]
METHODS = ROOT / "conf" / "method"
NAMES = sorted(file.stem for file in METHODS.glob("cloak_*.yaml"))
EPSILON = 0.1255  # 16 of 255
SIDE = 16


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def recognizers(*seeds: int) -> dict[str, Encoder | None]:
    """Random projections, which tell the tiny world's people apart."""
    return {f"projection-{seed}": tiny_world.encoder(seed) for seed in seeds or (0, 3)}


@pytest.fixture(scope="module")
def data() -> tiny_world.Data:
    made = tiny_world.Data(clips=1)
    for faces in made.sets.values():
        faces.images = in_eight_bits(faces.images)
    return made


@pytest.fixture(scope="module")
def images(data: tiny_world.Data) -> torch.Tensor:
    return data.faces("evaluation").images[:12]


def built(name: str, data: tiny_world.Data) -> nn.Module:
    """A method as its YAML has it, made on projections of small pictures instead of what ships."""
    given = OmegaConf.to_container(OmegaConf.load(METHODS / f"{name}.yaml").anonymizer)
    assert isinstance(given, dict)
    if name == "cloak_control":
        return as_anonymizer(instantiate(given), name)
    made = instantiate({"epsilon": EPSILON, **given, "_partial_": True})
    more = {"data": data} if given.get("_partial_") else {}
    return as_anonymizer(made(recognizers=recognizers(), **more), name)


@pytest.mark.parametrize("name", NAMES)
def test_no_pixel_leaves_the_budget_once_it_is_published(name: str, data: tiny_world.Data, images: torch.Tensor):
    """16 levels of 255, in the eight bits in which pictures are published; under inference mode, as gates have it."""
    cloak = built(name, data)
    with torch.inference_mode():
        cloaked = cloak(images, rng=rng())
    levels = (to_uint8(cloaked).int() - to_uint8(images).int()).abs()
    assert 8 <= int(levels.max()) <= 16 and float(cloaked.abs().max()) <= 1.0
    assert cloaked.shape == images.shape and bool(cloaked.isfinite().all())


#: How many times what random signs do: of random projections a blurred gradient, and a mask for all, move less.
LEAST = {"cloak_ti_dim": 1.1, "cloak_universal": 1.3}


@pytest.mark.parametrize("name", [name for name in NAMES if name != "cloak_control"])
def test_it_hides_more_than_random_signs_from_whom_it_is_made_on(
    name: str, data: tiny_world.Data, images: torch.Tensor
):
    def moved(changed: torch.Tensor) -> torch.Tensor:
        return torch.stack([1 - (e(changed).z * e(images).z).sum(1) for e in recognizers().values() if e]).mean(0)

    control, found = (moved(built(each, data)(images, rng=rng())).mean() for each in ("cloak_control", name))
    assert float(found) > LEAST.get(name, 2.0) * float(control)


def test_random_signs_are_the_whole_budget_and_drawn_anew():
    images, control = torch.zeros(2, 3, 8, 8), RandomSigns(0.25)
    found = control(images, rng=rng())
    assert set(found.unique().tolist()) == {-0.25, 0.25} and abs(float(found.mean())) < 0.05
    assert not torch.equal(found, control(images, rng=rng(1)))
    with pytest.raises(UserError, match="needs rng"):
        control(images)


def test_steps_of_a_straight_gain_walk_to_the_border():
    """f(x) = x: away from the own direction the gradient's sign is that of the part across it, and stays."""

    class Straight(PGD):
        def gain(self, images, own, rng):
            return (images * torch.linspace(-1, 1, 48).view(3, 4, 4)).flatten(1).sum(1)

    images = torch.zeros(1, 3, 4, 4)
    found = Straight(recognizers(), 0.2, steps=20, step=0.1)(images, rng=rng())
    signs = torch.linspace(-1, 1, 48).view(1, 3, 4, 4).sign()
    torch.testing.assert_close(found, 0.2 * signs)
    few = Straight(recognizers(), 0.2, steps=1, step=0.1)(images, rng=rng())
    start = 0.2 * (2 * torch.rand(images.shape, generator=rng()) - 1)
    torch.testing.assert_close(few, (start + 0.02 * signs).clamp(-0.2, 0.2))


def test_momentum_by_hand():
    """Gradients of two pictures, each by its own mean size: 2 / 2 and -3 / 3 behind half of the last way."""
    cloak = MIFGSM(recognizers(), 0.1, momentum=0.5)
    gradient = torch.tensor([2.0, -3.0]).view(2, 1, 1, 1).expand(2, 3, 4, 4)
    found = cloak.follow(torch.ones(2, 3, 4, 4), gradient)
    assert found[0].unique().tolist() == [1.5] and found[1].unique().tolist() == [-0.5]


def test_views_are_enlarged_in_a_black_field():
    cloak, white = TIDIM(recognizers(), 0.1, share=1.0, enlarge=0.5), torch.ones(1, 3, SIDE, SIDE)
    draws, seen = rng(), []
    for _ in range(20):
        view = cloak.view(white, draws)
        assert view.shape == white.shape and set(view.unique().tolist()) <= {-1.0, 1.0}
        seen.append(float((view == 1).float().mean()) ** 0.5)
    assert min(seen) < 0.75 and max(seen) <= 1.0  # a side of 16 to 24 pixels in a field of 24: two thirds at least
    assert min(seen) >= 10 / 16
    rare = TIDIM(recognizers(), 0.1, share=1e-9)
    assert rare.view(white, rng()) is white


def test_gradients_are_blurred_and_keep_their_sum():
    cloak = TIDIM(recognizers(), 0.1, smooth=0.1, momentum=1.0)
    point = torch.zeros(1, 3, SIDE, SIDE)
    point[..., 8, 8] = 1.0
    found = cloak.follow(torch.zeros_like(point), point)
    assert int((found > 1e-4).sum()) > 3 * 20 and float(found.flatten(1).argmax() % SIDE) == 8
    assert float(found.abs().mean()) == pytest.approx(1.0, rel=1e-3)  # of equal size, whatever the blur


def test_it_goes_to_one_of_the_targets(data: tiny_world.Data, images: torch.Tensor):
    cloak = TIPIM(recognizers(), data, 0.5, steps=20, targets=3)
    assert [len(z) for z in cloak.wanted()] == [3, 3]
    before, after = cloak.identities(images), cloak.identities(cloak(images, rng=rng()))
    for own, z, wanted in zip(before, after, cloak.wanted(), strict=True):
        nearest = (z @ wanted.T).amax(1)
        assert bool((nearest > (own @ wanted.T).amax(1) + 0.2).all()) and bool((nearest > (z * own).sum(1)).all())


def test_one_mask_for_everybody(data: tiny_world.Data, images: torch.Tensor):
    """Of people whom it never saw; fitted once, whatever copies there are."""
    cloak = Universal(recognizers(), data, 0.1, people=6, rounds=2)
    changes = cloak(images * 0.5) - images * 0.5  # far from black and white, where a picture ends
    torch.testing.assert_close(changes, changes[:1].expand_as(changes), atol=1e-6, rtol=0)
    assert copy.deepcopy(cloak)._mask is cloak._mask is not None
    larger = cloak(torch.zeros(1, 3, 2 * SIDE, 2 * SIDE))
    assert larger.shape[-1] == 2 * SIDE and float(larger.abs().max()) < 0.1001


def test_a_persons_mask_never_saw_the_picture(data: tiny_world.Data, monkeypatch: pytest.MonkeyPatch):
    faces, shown = data.faces("evaluation"), []
    cloak = PersonMasks(recognizers(), data, 0.1, rounds=2, centre=1)
    fit = cloak.fit
    monkeypatch.setattr(cloak, "fit", lambda images, who: shown.append((images, who)) or fit(images, who))
    mine = faces.images[:4]  # the four stills of the first person: two and two
    changed = cloak(mine)
    (seen, who), masks = shown[0], changed - mine
    assert sorted(who.tolist()) == [0, 0, 1, 1]
    for at, picture in enumerate(mine):
        same = torch.stack([(picture == other).all() for other in seen])
        assert who[same.nonzero()[0, 0]] != who[(torch.arange(4) % 2 == at % 2).nonzero()[0, 0]] or at % 2
    inside = (mine.abs() < 0.85).all(0)
    torch.testing.assert_close(masks[0][inside[0:1].expand(3, -1, -1)], masks[2][inside[0:1].expand(3, -1, -1)])
    cloak(mine)
    assert len(shown) == 1  # masks are kept
    with pytest.raises(Failed, match="of nobody in fake"):
        cloak(-mine)
    alone = faces.images[faces.labels == 7]  # one picture alone
    with pytest.raises(Failed, match="fitted on other pictures"):
        cloak(alone)


def test_a_hull_by_hand():
    """A triangle: a point inside stays, one beyond an edge goes to it, one beyond a corner to the corner."""
    corners = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0], [9.0, 9.0]])
    points = torch.tensor([[1.0, 1.0], [2.0, -3.0], [-1.0, -1.0], [9.0, 9.0]])
    own = torch.tensor([True, True, True, False]).expand(4, 4)
    found = nearest_in_hull(points, corners, own)
    torch.testing.assert_close(found[:3], torch.tensor([[1.0, 1.0], [2.0, 0.0], [0.0, 0.0]]), atol=0.15, rtol=0)
    torch.testing.assert_close(found[3], torch.tensor([2.0, 2.0]), atol=0.15, rtol=0)  # nothing of the fourth


def test_dissimilarity_is_that_of_the_metric():
    first, second = torch.rand(2, 3, 32, 32, generator=rng()), torch.rand(2, 3, 32, 32, generator=rng(1))
    torch.testing.assert_close(dssim(first, second), (1 - ssim(second, first)) / 2, atol=0.01, rtol=0)
    assert float(dssim(first, first).abs().max()) < 1e-6


def test_fawkes_stops_where_the_picture_suffers(images: torch.Tensor):
    """A large budget, so that the structure bounds it: more of it allowed is a larger change."""
    found = {}
    for threshold in (0.01, 0.1):
        cloak = Fawkes(recognizers(), 0.5, threshold=threshold, penalty=1e5)
        changed = cloak(images, rng=rng())
        found[threshold] = float(dssim(changed, images).mean())
    assert found[0.01] < 0.03 < found[0.1] < 0.2


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (lambda: PGD({"off": None}, 0.1), "needs a recognizer"),
        (lambda: PGD(recognizers(), 0.0), "epsilon"),
        (lambda: PGD(recognizers(), 3.0), "at most 2"),
        (lambda: PGD(recognizers(), 0.1, steps=0), "number of steps"),
        (lambda: MIFGSM(recognizers(), 0.1, momentum=2.0), "momentum"),
    ],
)
def test_settings_that_are_none(made, told):
    with pytest.raises(UserError, match=told):
        made()


def test_a_gradient_is_of_its_own_picture():
    x = torch.tensor([1.0, 2.0]).view(2, 1, 1, 1).expand(2, 3, 2, 2)
    torch.testing.assert_close(slope(lambda at: at.square().flatten(1).sum(1), x), 2 * x)


def test_every_cloak_is_named_in_the_docs():
    page = (ROOT / "docs" / "cloaks.md").read_text(encoding="utf-8")
    assert [name for name in NAMES if f"`{name}`" not in page] == []
