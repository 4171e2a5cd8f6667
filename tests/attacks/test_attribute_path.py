"""The adversary who draws from maps: what a linear path keeps comes back, and what it loses does not."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from anon.attacks.attribute_path import WIDEST, Redrawer, learned, paths, told
from anon.errors import Failed
from anon.generators.facedancer import FaceDancer
from anon.generators.faceshifter import FaceShifter
from anon.generators.fiva import FIVA
from anon.generators.gafni import Gafni
from anon.generators.simswap import SimSwap


class Path(nn.Module):
    """Gives what a function takes from the picture."""

    def __init__(self, *functions) -> None:
        super().__init__()
        self.functions = functions

    def attributes(self, target):
        return [function(target) for function in self.functions]


def faces(count: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(seed)) * 1.8 - 0.9


def test_an_invertible_path_gives_the_picture_back():
    """Colours that are turned and shifted, and the picture folded to a quarter of the side: nothing is lost."""
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1))).Q
    path = Path(lambda x: torch.einsum("ij,bjhw->bihw", turn, x) * 3 + 1, lambda x: F.pixel_unshuffle(x, 4))
    weights = learned(path, faces(40).split(16))
    assert set(weights) == {16, 4}
    new = faces(5, seed=2)
    for side, weight in weights.items():
        torch.testing.assert_close(Redrawer(path, side, weight)(new), new, atol=5e-3, rtol=0)


def test_zeros_give_the_mean_of_the_adversarys_people():
    own = faces(40)
    path = Path(lambda x: torch.zeros_like(x[:, :, :8, :8]))
    drawn = Redrawer(path, 8, learned(path, own.split(16))[8])(faces(3, seed=2))
    mean = F.pixel_unshuffle(own, 2).mean((0, 2, 3))  # of each place of a 2 x 2 part
    torch.testing.assert_close(F.pixel_unshuffle(drawn, 2), mean.view(1, 12, 1, 1).expand(3, 12, 8, 8))


def test_neighbours_tell_what_a_position_alone_does_not():
    """A map moved by one pixel is undone inside, where the neighbour is in sight."""
    path = Path(lambda x: x.roll(1, -1))
    new = faces(5, seed=2)
    drawn = Redrawer(path, 16, learned(path, faces(40).split(16))[16])(new)
    torch.testing.assert_close(drawn[..., 1:-1], new[..., 1:-1], atol=0.05, rtol=0)
    assert told(torch.zeros(1, WIDEST, 2, 2)).shape == (1, WIDEST + 1, 2, 2)
    assert told(torch.zeros(1, 2, 4, 4)).shape == (1, 19, 4, 4)


def test_maps_that_do_not_divide_the_picture():
    with pytest.raises(Failed, match=r"\(5, 5\) do not divide \(16, 16\) pixels"):
        paths(Path(lambda x: x[..., :5, :5]), faces(1))


GENERATORS = {
    "FIVA": (lambda: FIVA((8, 12, 16), 12), [32, 16, 8]),
    "FaceDancer": (lambda: FaceDancer(32, "C", 4, 12, 8, 2), [32, 16, 8]),
    "FaceShifter": (lambda: FaceShifter(32, 0.02, 12), [32, 16, 8, 4, 2]),
    "SimSwap": (lambda: SimSwap(4, 2, 1, 12), [8]),
    "Gafni": (lambda: Gafni(32, (8, 8, 12, 16), 12, 10), [8, 1]),
}


@pytest.mark.parametrize("name", GENERATORS)
def test_the_maps_are_all_that_a_generator_takes_from_the_target(name):
    """Another target with the maps of this one in their place draws this one's face: nothing else gets through."""
    torch.manual_seed(0)
    generator = GENERATORS[name][0]().eval()
    target, other = torch.rand(2, 2, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    z = F.normalize(torch.randn(2, 12, generator=torch.Generator().manual_seed(2)))
    assert list(paths(generator, target)) == GENERATORS[name][1]
    wanted, unlike = generator(target, z).image, generator(other, z).image
    maps = generator.attributes(target)
    where = "_encoded" if name == "FaceDancer" else "attributes"
    kept = generator._encoded(target) if name == "FaceDancer" else maps
    if isinstance(getattr(generator, where), nn.Module):
        drawn = generator.fuse(kept, z).image
    else:
        object.__setattr__(generator, where, lambda _: list(kept))
        drawn = generator(other, z).image
    if name == "FIVA":  # whose last layer takes the target from its caller, the first of its maps
        torch.testing.assert_close(maps[0], target)
        assert not torch.equal(drawn, unlike)
    else:
        torch.testing.assert_close(drawn, wanted)
        assert not torch.allclose(wanted, unlike, atol=1e-3)
