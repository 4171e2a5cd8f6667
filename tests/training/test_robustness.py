"""Worst pictures against losses whose worst one is known, and recognizers before and after learning from them."""

from __future__ import annotations

import functools
import types

import pytest
import torch

from anon.errors import UserError
from anon.identity.contract import Embedded
from anon.identity.margins import ArcFace
from anon.training.recognizer import RecognizerTraining
from anon.training.robustness import NoisyPicture, WorstPicture, robust_figures
from tests.training.test_recognizer import Blobs, Data, _backbone, _trainer


def _rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _linear(slope: torch.Tensor):
    return lambda x: (x * slope).flatten(1).sum(1)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_the_worst_picture_of_a_linear_loss_is_known(norm):
    images = torch.zeros(3, 3, 4, 4)
    slope = torch.randn(3, 3, 4, 4, generator=_rng(1))
    found = WorstPicture(0.1, steps=12, step=0.5, norm=norm)(_linear(slope), images, _rng())
    unit = slope / slope.flatten(1).norm(dim=1)[:, None, None, None]
    # The L2 ball's random start is forgotten by a factor of 1/1.5 a step, the other ball's at once.
    wanted, near = (0.1 * unit, 5e-3) if norm == "l2" else (0.1 * slope.sign(), 1e-6)
    assert (found - wanted).abs().max() < near


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_stays_within_the_ball_and_the_range_and_repeats(norm):
    images = torch.rand(5, 3, 8, 8, generator=_rng(2)) * 2 - 1
    images[0] = 1.0  # every step up leaves the range
    attack = WorstPicture(2.0 if norm == "l2" else 0.2, steps=3, norm=norm)
    slope = torch.randn(5, 3, 8, 8, generator=_rng(3)).abs()
    one, two = (attack(_linear(slope), images, _rng(4)) for _ in range(2))
    change = (one - images).flatten(1)
    size = change.norm(dim=1) if norm == "l2" else change.abs().amax(1)
    assert float(size.max()) <= attack.radius + 1e-5 and float(size[1:].min()) > 0.5 * attack.radius
    assert float(one.abs().max()) <= 1.0 and not one.requires_grad
    assert torch.equal(one, two)
    starts = [WorstPicture(attack.radius, steps=0, norm=norm)(_linear(slope), images, _rng(seed)) for seed in (4, 5)]
    assert not torch.equal(*starts)


def test_one_picture_does_not_know_of_the_others():
    images, slope = torch.zeros(2, 3, 4, 4), torch.randn(2, 3, 4, 4, generator=_rng(1))
    attack = WorstPicture(0.5, steps=2)
    both = attack(_linear(slope), images, _rng())
    louder = attack(_linear(slope * torch.tensor([1.0, 100.0])[:, None, None, None]), images, _rng())
    assert torch.equal(both[0], louder[0])


def test_an_unknown_norm_is_named():
    with pytest.raises(UserError, match="l2 and linf, not 'l1'"):
        WorstPicture(norm="l1")  # type: ignore[arg-type]


def test_noise_has_its_deviation_and_asks_for_no_loss():
    images = torch.zeros(8, 3, 32, 32)
    noisy = NoisyPicture(0.25)(lambda x: pytest.fail("asked"), images, _rng())
    assert float(noisy.std()) == pytest.approx(0.25, rel=0.03)


class _Pixels(torch.nn.Module):
    """The first two pixels of red as the embedding: what a change of a known length does to it can be worked out."""

    def forward(self, images, layers=()):
        return Embedded(torch.nn.functional.normalize(images[:, 0, 0, :2]), ())


def _two_people(pictures: int = 3) -> types.SimpleNamespace:
    """One at (1, 0), one at (0, 1); ten more of one kind each would only raise the count of pairs."""
    labels = torch.arange(40).repeat_interleave(pictures)
    angle = labels * torch.pi / 80  # 40 people evenly on a quarter of the circle
    images = torch.zeros(len(labels), 3, 2, 2)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = 0.5 * angle.cos(), 0.5 * angle.sin()

    class Set(list):
        pass

    faces = Set({"image": image, "identity": label} for image, label in zip(images, labels, strict=True))
    faces.labels, faces.synthetic = labels, True
    return faces


def test_figures_tell_a_ball_too_small_from_one_large_enough():
    # Neighbours are 2.25 degrees apart at a radius of .5: half of that is a step of .0098 aside.
    small = robust_figures(_Pixels(), _two_people(), WorstPicture(0.005, steps=4), far=1e-3)
    large = robust_figures(_Pixels(), _two_people(), WorstPicture(0.1, steps=8), far=1e-3)
    assert small["clean_top1"] == small["robust_top1"] == 1.0
    assert large["clean_top1"] == 1.0
    assert large["robust_top1"] <= 2 / 40  # the first and the last can flee to where nobody is
    assert large["robust_probes"] == 40 and large["attack_radius"] == 0.1 and large["attack_steps"] == 8


def test_a_person_of_one_picture_is_told():
    with pytest.raises(UserError, match="two pictures"):
        robust_figures(_Pixels(), _two_people(1), WorstPicture())


@pytest.mark.filterwarnings("ignore")
def test_learning_from_worst_pictures_makes_a_recognizer_more_robust():
    attack, found = WorstPicture(3.0, steps=8, step=0.4), []
    for adversarial in (None, WorstPicture(3.0, steps=2)):
        torch.manual_seed(0)
        head = functools.partial(ArcFace, s=16.0, m=0.2)
        module = RecognizerTraining(_backbone(), head, lr=1e-2, seed=3, adversarial=adversarial)
        _trainer(8).fit(module, Data())
        module.eval()
        encoder = lambda x, layers=(), module=module: Embedded(module(x), ())  # noqa: E731
        found.append(robust_figures(encoder, Blobs(60, 1), attack, far=0.01))
    ordinary, robust = found
    assert ordinary["clean_top1"] > 0.8
    assert robust["robust_top1"] > ordinary["robust_top1"] + 0.1
