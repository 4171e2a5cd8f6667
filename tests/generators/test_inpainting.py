"""Inpainting: nothing of the face reaches the network, around the hole nothing changes, and the latent decides."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from anon.errors import UserError
from anon.faces.regions import box_mask, check_box
from anon.generators.contract import GeneratorLike
from anon.generators.inpainting.blocks import MinibatchDeviation, composite, point_maps
from anon.generators.inpainting.contract import Inpainter
from anon.generators.inpainting.deepprivacy import DeepPrivacy, DeepPrivacyCritic
from anon.generators.inpainting.deepprivacy2 import DeepPrivacy2, DeepPrivacy2Critic

SIZE, DIM = 32, 16
PLACES = torch.tensor([[10.0, 12], [21, 12], [16, 17], [12, 23], [20, 23]])


class Points(nn.Module):
    """An estimator that says the same of every face, until it is told otherwise."""

    name, reads = "constant", ("landmarks",)

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.points = PLACES

    def forward(self, images: Tensor, points: Tensor | None = None) -> dict[str, Tensor]:
        return {"landmarks": self.points.expand(len(images), 5, 2)}


def deepprivacy() -> DeepPrivacy:
    torch.manual_seed(0)
    return DeepPrivacy(SIZE, Points(), channels=8, z_dim=DIM)  # type: ignore[arg-type]


def deepprivacy2() -> DeepPrivacy2:
    torch.manual_seed(0)
    return DeepPrivacy2(SIZE, base=8, most=2, z_dim=DIM)


KINDS = [deepprivacy, deepprivacy2]


def latents(count: int = 2, seed: int = 0) -> Tensor:
    return nn.functional.normalize(torch.randn(count, DIM, generator=torch.Generator().manual_seed(seed)))


def faces(count: int = 2, seed: int = 1) -> Tensor:
    return torch.rand(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize("made", KINDS)
@torch.no_grad()
def test_hidden_pixels_change_nothing(made) -> None:
    """To the bit; a pixel beside the hole does."""
    network: Inpainter = made().eval()
    assert isinstance(network, GeneratorLike) and network.steers == 0
    images, z = faces(), latents()
    hole = box_mask(network.box, SIZE, SIZE)
    drawn = network(images, z)
    other = torch.where(hole, faces(seed=2), images)
    assert not torch.equal(other, images)
    assert torch.equal(network(other, z).blend(other), drawn.blend(images))
    beside = images.clone()
    beside[:, :, 0, 0] = -beside[:, :, 0, 0]
    assert not torch.equal(network(beside, z).image[:, :, 10:, 10:], drawn.image[:, :, 10:, 10:])


@pytest.mark.parametrize("made", KINDS)
def test_no_gradient_reaches_hidden_pixels(made) -> None:
    network, images = made(), faces().requires_grad_()
    network(images, latents()).image.square().sum().backward()
    hole = box_mask(network.box, SIZE, SIZE).expand_as(images)
    assert images.grad is not None
    assert torch.equal(images.grad[hole], torch.zeros_like(images.grad[hole])) and images.grad[~hole].abs().sum() > 0


def test_a_fresh_networks_gradients_are_of_the_size_of_its_weights() -> None:
    """At the paper's size: the hole's zeros once made them infinite in the first step, and 1e9 in later ones."""
    torch.manual_seed(0)
    network = DeepPrivacy(128, Points(), channels=16)  # type: ignore[arg-type]
    target, z = torch.rand(2, 3, 128, 128) * 2 - 1, nn.functional.normalize(torch.randn(2, 256))
    network(target, z).image.square().mean().backward()
    slopes = [weight.grad.norm() for weight in network.parameters() if weight.grad is not None]
    assert 1e-4 < torch.stack(slopes).norm() < 1e2


@pytest.mark.parametrize("made", KINDS)
@torch.no_grad()
def test_around_the_hole_nothing_changes_and_the_latent_decides_within(made) -> None:
    network, images = made().eval(), faces()
    one, other = (network(images, latents(seed=seed)).blend(images) for seed in (0, 1))
    hole = box_mask(network.box, SIZE, SIZE).expand_as(images)
    assert torch.equal(one[~hole], images[~hole]) and torch.equal(other[~hole], images[~hole])
    assert (one - other)[hole].abs().mean() > 1e-3
    network.truncation = 0.0  # one face for a context
    one, other = (network(images, latents(seed=seed)).image for seed in (0, 1))
    assert torch.equal(one, other)


@torch.no_grad()
def test_keypoints_move_deepprivacy_alone() -> None:
    network, images, z = deepprivacy().eval(), faces(), latents()
    before = network(images, z).image
    network.points.estimator.points = PLACES + torch.tensor([4.0, 0.0])
    assert not torch.equal(network(images, z).image, before)
    assert deepprivacy2().see(images).points is None


def test_the_estimator_is_in_no_checkpoint_and_learns_nothing() -> None:
    network = deepprivacy().train()
    assert not network.points.training and not network.points.estimator.weight.requires_grad
    assert not [name for name in network.state_dict() if "estimator" in name]
    nn.ModuleList([network]).load_state_dict(nn.ModuleList([deepprivacy()]).state_dict())  # strict
    with pytest.raises(RuntimeError, match=r"from_rgb\.weight"):
        network.load_state_dict({name: value for name, value in network.state_dict().items() if "from_rgb" not in name})


def test_truncation_is_the_quantile_of_the_cut_distribution() -> None:
    """A normal draw of 0 stays, one of 1 under a cut at 1 goes where as much of the cut distribution lies below."""
    network = deepprivacy()
    network.truncation = 1.0
    z = torch.zeros(1, DIM)
    z[0, 0] = 1.0 / DIM**0.5
    code = network.latent(z)
    below = lambda x: 0.5 * (1 + math.erf(x / math.sqrt(2)))  # noqa: E731
    assert code[0, 1].item() == pytest.approx(0.0, abs=1e-6)
    share = (below(code[0, 0].item()) - below(-1)) / (below(1) - below(-1))
    assert share == pytest.approx(below(1.0), abs=1e-5)
    assert network.latent(latents(64)).abs().max() <= 1.0


def test_style_is_truncated_towards_its_running_mean() -> None:
    network = deepprivacy2().train()
    w = network.styled(latents(8))
    torch.testing.assert_close(network.w_mean, 0.002 * w.detach().mean(0, keepdim=True))
    network.eval().truncation = 0.25
    torch.testing.assert_close(network.styled(latents(8)), network.w_mean + 0.25 * (w - network.w_mean))


def test_keypoints_as_pictures() -> None:
    """A pixel of its own at every resolution; (31, 0) of 32 px is in the last column of the first row at 4 px."""
    found = point_maps(torch.tensor([[[31.0, 0.0], [-0.6, 4.0], [16.0, 15.4]]]), 32, 4)[0]
    assert found[0].nonzero().tolist() == [[0, 3]] and found[1].sum() == 0  # the second is outside
    assert found[2].nonzero().tolist() == [[1, 2]] and found.sum() == 2


def test_a_small_holes_gradient_is_scaled_up() -> None:
    """A hole of a quarter: four times the plain gradient (DeepPrivacy2's MaskOutput)."""
    hole = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    hole[..., :2, :2] = True
    found = []
    for equal in (False, True):
        drawn = torch.ones(2, 3, 4, 4, requires_grad=True)
        out = composite(drawn, torch.zeros(2, 3, 4, 4), hole, equal)
        assert torch.equal(out, hole.expand_as(out).float())
        (out * torch.arange(16.0).view(4, 4)).sum().backward()
        found.append(drawn.grad)
    torch.testing.assert_close(found[1], 4 * found[0])


def test_the_deviation_of_a_group_is_one_more_channel() -> None:
    x = torch.tensor([0.0, 2.0, 4.0, 6.0]).view(4, 1, 1, 1).expand(4, 2, 3, 3)
    found = MinibatchDeviation(2)(x)  # groups are (0, 2) and (1, 3): deviation 2 each
    torch.testing.assert_close(found[:, 2], torch.full((4, 3, 3), 2.0))
    assert torch.equal(found[:, :2], x)


@pytest.mark.parametrize(
    ("critic", "made"),
    [(DeepPrivacyCritic(SIZE, 8), deepprivacy), (DeepPrivacy2Critic(SIZE, 8, 2), deepprivacy2)],
)
def test_critics_see_the_context(critic: nn.Module, made) -> None:
    """And what they say of a picture does not depend on where it stands in the batch."""
    torch.manual_seed(0)
    seen, images = made().see(faces()), faces(seed=3)
    both = critic(torch.cat((images, -images)), seen)
    assert both.shape == (4,)
    torch.testing.assert_close(both[:2], critic(images, seen))
    torch.testing.assert_close(both[2:], critic(-images, seen))
    assert not torch.allclose(critic(images, made().see(faces(seed=4))), both[:2])


def test_boxes() -> None:
    mask = box_mask((0.3, 0.1, 0.7, 0.9), 10, 10)
    assert mask.sum() == 4 * 8 and bool(mask[0, 0, 1, 3]) and not bool(mask[0, 0, 0, 3])
    assert box_mask((0.31, 0.0, 0.69, 0.05), 10, 10)[0, 0].nonzero().tolist() == [[0, 3], [0, 4], [0, 5], [0, 6]]
    for odd in ((0.5, 0, 0.5, 1), (0, 0, 1.1, 1), (0, 0, 1), "box"):
        with pytest.raises(UserError, match="A box is left, top, right and bottom"):
            check_box(odd)  # type: ignore[arg-type]


def test_sizes_that_cannot_be() -> None:
    with pytest.raises(UserError, match=r"4 pixels times a power of two|take \d+"):
        DeepPrivacy(48, Points(), 8, DIM)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="multiple of 16, not 20"):
        DeepPrivacy(32, Points(), 8, 20)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"8 pixels times a power of two|take \d+"):
        DeepPrivacy2(112, 8)
