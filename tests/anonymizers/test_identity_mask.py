"""IdentityMask by hand: a generator that turns the colours of a corner, and keypoints that follow a bright spot."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from anon.anonymizers.composed import AnonymizationError, Anonymizer
from anon.anonymizers.identity_mask import FLOWS, IdentityMask
from anon.errors import UserError
from anon.generators.contract import Redrawn
from anon.generators.first_order.keypoints import Keypoints, grid_of, relative
from anon.generators.first_order.network import FirstOrderMotion
from anon.identity.contract import Embedded
from anon.identity.policies import Negation
from anon.identity.rotation import KeyedRotation

SIDE, CORNER = 16, (slice(None), slice(None), slice(0, 2), slice(0, 2))
RIGHT, WRONG = torch.tensor([[7, 8]]), torch.tensor([[7, 9]])


class Corner(nn.Module):
    """Who a picture is, is in the twelve numbers of its upper left corner."""

    dim, layers = 12, ()

    def forward(self, images: Tensor, layers: object = ()) -> Embedded:
        return Embedded(nn.functional.normalize(images[CORNER].flatten(1)), ())


class Recoloured(nn.Module):
    """Draws the corner that it is told, as strong as it was."""

    steers = 1

    def forward(self, target: Tensor, z: Tensor) -> Redrawn:
        image = target.clone()
        strength = target[CORNER].flatten(1).norm(dim=1, keepdim=True)
        image[CORNER] = (z * strength).view(-1, 3, 2, 2)
        return Redrawn(image, None)


class Spot(nn.Module):
    """One keypoint, where the red channel is bright, whatever its strength; its surroundings never turn."""

    def forward(self, images: Tensor) -> Keypoints:
        red = (images[:, 0, 4:] + 1).square()
        weight = red / red.sum((1, 2), keepdim=True)
        place = (weight[..., None] * grid_of(SIDE, SIDE, images)[4:]).sum((1, 2))
        return Keypoints(place[:, None], torch.eye(2).expand(len(images), 1, 2, 2))


def method(flow: str = "relative", policy: nn.Module | None = None) -> IdentityMask:
    torch.manual_seed(0)
    network = FirstOrderMotion(points=1, base=8, depth=2, shrink=1, widths=(8, 16), residuals=1)
    network.detector = Spot()  # type: ignore[assignment]
    network.dense.occlusion.bias.data.fill_(100.0)  # nothing is hidden, and nothing painted
    policy = KeyedRotation(torch.eye(12), rank=None) if policy is None else policy
    image = Anonymizer(Corner(), policy, Recoloured())  # type: ignore[arg-type]
    return IdentityMask({"image": image}, network.requires_grad_(False), flow).eval()


def clip(places: tuple[int, ...], seed: int = 0, strength: float = 1.0) -> Tensor:
    """Frames of one noisy picture in which a red spot is at these columns."""
    rng = torch.Generator().manual_seed(seed)
    frames = (torch.rand(1, 3, SIDE, SIDE, generator=rng) * 0.4 - 0.2).repeat(len(places), 1, 1, 1)
    frames[:, 0] = -1.0
    frames[CORNER] = torch.rand(1, 3, 2, 2, generator=rng) - 0.5
    for row, place in enumerate(places):
        frames[row, 0, 8:11, place : place + 3] = -1.0 + 1.8 * strength
    return frames


def of(count: int, number: int = 0) -> Tensor:
    return torch.full((count,), number)


def test_the_first_frame_is_the_generators_and_the_others_are_it_moved_by_hand() -> None:
    made, frames = method(), clip((4, 6, 9))
    found = made(frames, key=RIGHT, track=of(3))
    changed = made.image(frames[:1], key=RIGHT)
    torch.testing.assert_close(found[:1], changed)
    assert float((changed - frames[:1]).abs().max()) > 0.2
    own, first = made.network.keypoints(changed), made.network.keypoints(frames[:1])
    for row in (1, 2):
        to = relative(own, made.network.keypoints(frames[row : row + 1]), first)
        torch.testing.assert_close(found[row : row + 1], made.network(changed, own, to).image.clamp(-1, 1))
    assert float((found[2] - found[0]).abs().max()) > 0.2  # it moved


def test_of_later_frames_nothing_but_their_motion_is_used() -> None:
    """The same spots in pictures of another person, another background and another brightness."""
    one, other = clip((4, 6, 9)), clip((4, 6, 9), seed=5, strength=0.6)
    mixed = torch.cat((one[:1], other[1:]))
    assert float((mixed[1:] - one[1:]).abs().mean()) > 0.1
    found, again = (method()(frames, key=RIGHT, track=of(3)) for frames in (one, mixed))
    torch.testing.assert_close(found, again, atol=2e-3, rtol=0)
    moved = method()(clip((4, 6, 10)), key=RIGHT, track=of(3))
    assert float((moved[2] - found[2]).abs().max()) > 0.05 and torch.equal(moved[:2], found[:2])


@pytest.mark.parametrize("flow", FLOWS)
def test_batches_may_part_a_clip_and_mix_clips(flow: str) -> None:
    frames, others = clip((4, 6, 9)), clip((9, 5), seed=3)
    whole = method(flow)(frames, key=RIGHT, track=of(3))
    beside = method(flow)(others, key=WRONG, track=of(2, 5))
    made, keys = method(flow), torch.cat((RIGHT, WRONG, RIGHT))
    first = made(torch.cat((frames[:1], others[:1], frames[1:2])), key=keys, track=torch.tensor([0, 5, 0]))
    rest = made(torch.cat((frames[2:], others[1:])), key=torch.cat((RIGHT, WRONG)), track=torch.tensor([0, 5]))
    torch.testing.assert_close(torch.stack((first[0], first[2], rest[0])), whole, atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.stack((first[1], rest[1])), beside, atol=1e-5, rtol=0)


@pytest.mark.parametrize("flow", FLOWS)
def test_the_right_key_gives_the_clip_back_and_a_wrong_one_somebody_else(flow: str) -> None:
    """Of a clip that does not move exactly; of one that moves its first frame, and the person in all."""
    still, moving = clip((6, 6, 6)), clip((4, 6, 9))
    for frames, rows in ((still, slice(0, 3)), (moving, slice(0, 1))):
        made = method(flow)
        changed = made(frames, key=RIGHT, track=of(3))
        right = made.recover(changed, RIGHT, of(3))
        torch.testing.assert_close(right[rows], frames[rows], atol=1e-4, rtol=0)
        made.reset()
        wrong, who = made.recover(changed, WRONG, of(3)), made.image.identify
        assert float((wrong[0] - frames[0]).abs().max()) > 0.1
        assert float((who(wrong[:1]) * who(frames[:1])).sum()) < 0.9 < float((who(right[:1]) * who(frames[:1])).sum())


def test_chained_motion_is_the_relative_one_until_errors_can_add_up() -> None:
    relative_, chained = (method(flow)(clip((4, 6, 9)), key=RIGHT, track=of(3)) for flow in ("relative", "chained"))
    torch.testing.assert_close(relative_[:2], chained[:2], atol=1e-5, rtol=0)
    assert float((relative_[2] - chained[2]).abs().max()) > 1e-3


def test_absolute_motion_goes_where_the_clips_own_keypoints_are() -> None:
    made, frames = method("absolute"), clip((4, 9))
    changed = made.image(frames[:1], key=RIGHT)
    to = made.network.keypoints(frames[1:])
    wanted = made.network(changed, made.network.keypoints(changed), to).image.clamp(-1, 1)
    torch.testing.assert_close(made(frames, key=RIGHT, track=of(2))[1:], wanted)


def test_every_frame_by_itself_has_the_key_of_its_clip() -> None:
    """Keys are drawn, one a clip: the same face gets one fake in one clip, and another in another."""
    frames, rng = clip((6, 6, 6, 6)), torch.Generator().manual_seed(0)
    found = method("none")(frames, track=torch.tensor([0, 0, 1, 1]), rng=rng)
    torch.testing.assert_close(found[0], found[1])
    torch.testing.assert_close(found[2], found[3])
    assert float((found[0] - found[2]).abs().max()) > 0.1
    torch.testing.assert_close(method("none")(frames, key=RIGHT, track=of(4)), method().image(frames, key=RIGHT))


def test_a_policy_without_keys_changes_first_frames_too_and_cannot_be_undone() -> None:
    made, frames = method(policy=Negation()), clip((4, 6))
    assert not made.reversible and method().reversible
    torch.testing.assert_close(made(frames, track=of(2))[0][:, :2, :2], -frames[0][:, :2, :2])
    with pytest.raises(UserError, match="Negation cannot be undone"):
        made.recover(frames, RIGHT, of(2))


def test_stills_are_refused_in_one_sentence() -> None:
    for track in (None, torch.tensor([0, -1])):
        with pytest.raises(UserError, match="given a still; stills have method=reversible") as told:
            method()(clip((4, 6)), key=RIGHT, track=track)
        assert str(told.value).count(".\n") == 0 and "\n" not in str(told.value)
    with pytest.raises(UserError, match="recovers a clip with its key"):
        method().recover(clip((4, 6)), None, of(2))


def test_what_is_none() -> None:
    image, network = method().image, method().network
    with pytest.raises(UserError, match="no flow 'fast'; there are: relative, absolute, chained, none"):
        IdentityMask({"image": image}, network, "fast")
    for parts in ({}, {"a": image, "b": image}, {"a": nn.Identity()}):
        with pytest.raises(UserError, match="changes first frames by one generator"):
            IdentityMask(parts, network)


def test_a_picture_that_is_none_is_not_shown() -> None:
    made = method()
    made.network.dense.occlusion.bias.data.fill_(float("nan"))
    with pytest.raises(AnonymizationError, match="the frame was not changed"):
        made(clip((4, 6)), key=RIGHT, track=of(2))
