"""One face, one framing, whatever the size of its crop.

The kind: an image batch whose side decides what it shows (112 or 128 template) was resized as if every side showed the
same. Found in encoders, ONNX judges, a parrot's recognizer, the attribute regressor, the expression embedder, the bars
of ``input=occluded``, the rendered faces, folders of crops, and packed sets with a margin; dlib's judge alone was
right. On photographs: ``tests/identity/test_real_framing.py``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from anon.attributes.expression import ExpressionEmbedder
from anon.attributes.regressor import AttributeRegressor, targets
from anon.errors import UserError
from anon.evaluation.harness.inputs import FILL, Occluded
from anon.faces.alignment import (
    Framing,
    align,
    reframe,
    reframing,
    restore,
    similarity,
    template,
    transform,
)
from anon.faces.contract import to_float
from anon.faces.folder import FolderFaces
from anon.faces.packed import PackedFaces
from anon.faces.points import read_points
from anon.faces.prepare.options import Options
from anon.faces.prepare.run import prepare
from anon.faces.prepare.sources import of_folder
from anon.faces.splits import split_of
from anon.faces.synthetic import parameters
from anon.faces.synthetic.render import render
from anon.identity.encoder import Encoder
from anon.training.recognizer import RecognizerTraining
from tests.faces.prepare.material import photographs

SIZES = (64, 96, 112, 128, 160, 224, 256)
POINTS = torch.tensor([[[104.0, 112.9], [146.8, 112.3], [125.8, 137.6], [107.5, 157.7], [144.8, 157.2]]])


def picture() -> Tensor:
    """Smooth colours, (1, 3, 250, 250)."""
    y, x = torch.meshgrid(torch.arange(250.0), torch.arange(250.0), indexing="ij")
    return torch.stack([0.6 * torch.sin(x / (9 + c)) + 0.3 * torch.cos(y / (7 + c)) for c in range(3)])[None]


def test_a_256_crop_holds_the_112_crop_at_16_to_240() -> None:
    """By hand: the 128 crop shows 8 pixels more left and right, and 16 more below; at 256 twice that."""
    crop = torch.rand(2, 3, 256, 256) * 2 - 1
    part = crop[..., 0:224, 16:240]
    wanted = F.interpolate(part, (112, 112), mode="bilinear", align_corners=False, antialias=True)
    assert torch.equal(reframe(crop, Framing.of(112)), wanted)
    small = torch.rand(1, 3, 128, 128)
    assert torch.equal(reframe(small, Framing.of(112)), small[..., :112, 8:120])


def test_a_narrower_crop_is_set_into_black() -> None:
    crop = torch.rand(1, 3, 112, 112)
    wide = reframe(crop, Framing.of(128))
    assert torch.equal(wide[..., :112, 8:120], crop)
    assert (wide[..., 112:, :] == -1).all() and (wide[..., :8] == -1).all() and (wide[..., 120:] == -1).all()
    assert torch.equal(reframe(wide, Framing.of(112)), crop)


@pytest.mark.parametrize(("given", "wanted"), [(64, 112), (224, 64), (112, 112), (160, 160), (256, 128)])
def test_one_view_is_resized_as_ever(given: int, wanted: int) -> None:
    crop = torch.rand(1, 3, given, given)
    plain = F.interpolate(crop, (wanted, wanted), mode="bilinear", align_corners=False, antialias=True)
    found = reframe(crop, Framing.of(wanted))
    assert found is crop if given == wanted else torch.equal(found, plain)


@pytest.mark.parametrize("given", [*SIZES, 100, 384])
@pytest.mark.parametrize("wanted", [64, 112, 128, 160])
def test_the_five_points_come_to_lie_on_the_template(given: int, wanted: int) -> None:
    """Within half a pixel of the finer of both: templates scale the centres of pixels, pictures their edges."""
    matrix = reframing(given, given, Framing.of(wanted))
    off = (transform(matrix[None], template(given)[None])[0] - template(wanted)).abs()
    assert float(off.max()) <= 0.5 * max(1.0, wanted / given)


def test_a_crop_that_says_what_it_shows() -> None:
    """A wide crop of 100 px is no multiple of 128: warped, and the points lie where they belong."""
    grid = torch.stack(torch.meshgrid(torch.arange(100.0), torch.arange(100.0), indexing="xy"), -1)
    for eye, wanted in zip(Framing("wide", 100).points()[:2], template(112)[:2], strict=True):
        dot = torch.exp(-(grid - eye).square().sum(-1) / 8).mul(2).sub(1).expand(1, 3, 100, 100)
        seen = reframe(dot, Framing.of(112), "wide")[0, 0] + 1
        centre = torch.stack((seen.sum(0) @ torch.arange(112.0), seen.sum(1) @ torch.arange(112.0))) / seen.sum()
        assert centre.tolist() == pytest.approx(wanted.tolist(), abs=0.6)


def test_pictures_that_are_no_crops_are_only_resized() -> None:
    frame = torch.rand(1, 3, 256, 300)
    plain = F.interpolate(frame, (112, 112), mode="bilinear", align_corners=False, antialias=True)
    assert torch.equal(reframe(frame, Framing.of(112)), plain)


def test_gradients_reach_what_is_seen_and_nothing_else() -> None:
    crop = torch.zeros(1, 3, 256, 256, requires_grad=True)
    reframe(crop, Framing.of(112)).sum().backward()
    assert crop.grad is not None
    assert crop.grad[..., :224, 16:240].sum().item() == pytest.approx(3 * 112 * 112, rel=1e-5)
    assert not crop.grad[..., 224:, :].any() and not crop.grad[..., :16].any() and not crop.grad[..., 240:].any()


class Looks(nn.Module):
    """A backbone that keeps what it was shown."""

    dim = 3

    def forward(self, images: Tensor) -> Tensor:
        self.seen = images
        return images.mean((2, 3)) + 1e-3


@pytest.mark.parametrize("size", SIZES)
def test_recognizers_are_shown_the_same_face_at_every_size(size: int) -> None:
    """An encoder, and what a parrot trains; .28 apart at 128 and 256 where crops were only resized."""
    wanted, crop = align(picture(), POINTS, 112), align(picture(), POINTS, size)
    encoder, learner = Encoder(Looks(), 112), RecognizerTraining(Looks(), lambda dim, classes: nn.Identity(), size=112)
    encoder(crop), learner(crop)
    for shown in (encoder.backbone.seen, learner.backbone.seen):
        assert shown.shape == wanted.shape
        assert float((shown - wanted).abs().mean()) < 0.03


@pytest.mark.parametrize("size", [128, 160, 256])
def test_estimators_are_shown_the_same_face_at_every_size(size: int) -> None:
    wanted, crop = align(picture(), POINTS, 112), align(picture(), POINTS, size)
    shown: list[Tensor] = []
    regressor, embedder = AttributeRegressor(112).eval(), ExpressionEmbedder(112).eval()
    for trunk in (regressor.trunk, embedder.trunk):
        trunk.register_forward_pre_hook(lambda module, given: shown.append(given[0]))
    regressor.read(crop), embedder(crop)
    assert len(shown) == 2
    for seen in shown:
        assert float((seen - wanted).abs().mean()) < 0.03


@pytest.mark.parametrize("size", [64, 128, 160])
def test_the_regressor_s_landmarks_are_pixels_of_what_it_was_given(size: int) -> None:
    """Taught the truth of one size, it tells that of any other."""
    person = parameters.people([3])
    mood = parameters.stills([0], [0], occluders=0.0)
    given, own = (render(person, mood, side) for side in (size, 64))
    none = {"image": torch.zeros(1, 3, size, size), "pose": given.pose, "expression": given.expression}
    truth = targets({**none, "gaze": given.gaze, "landmarks": given.landmarks}, 64)
    regressor = AttributeRegressor().eval()
    with torch.no_grad():
        regressor.head.bias.copy_(torch.cat([truth[key] for key in ("pose", "expression", "gaze", "landmarks")], 1)[0])
    torch.testing.assert_close(regressor(none["image"])["landmarks"], given.landmarks)
    torch.testing.assert_close(regressor(torch.zeros(1, 3, 64, 64))["landmarks"], own.landmarks, atol=0.02, rtol=0)


def test_rendered_faces_are_framed_by_their_size() -> None:
    """A larger picture shows more of the scene exactly where a photograph's crop does."""
    person, mood = parameters.people([5]), parameters.stills([0], [0], occluders=0.0)
    mood |= {"noise": torch.zeros(1), "blur": torch.zeros(1)}
    wanted = to_float(render(person, mood, 64).images)
    for size in (128, 256):
        seen = reframe(to_float(render(person, mood, size).images), Framing.of(64))
        assert float((seen - wanted).abs().mean()) < 0.03


@pytest.mark.parametrize("part", ["eyes", "mouth", "left_half"])
def test_a_bar_covers_the_same_part_of_the_face(part: str) -> None:
    bars = {}
    for size in (112, 128, 256):
        seen = reframe(Occluded(part)(torch.ones(1, 3, size, size)), Framing.of(112))
        bars[size] = (seen == FILL).float()
        assert float((bars[size] - bars[112]).abs().mean()) < 0.02
    assert float((Occluded("left_half")(torch.ones(1, 1, 256, 256)) == FILL).float().mean()) == 0.5


@pytest.mark.parametrize("size", SIZES)
def test_the_inverse_warp_undoes_every_size(size: int) -> None:
    frame = picture()
    matrix = similarity(POINTS, template(size))
    image, coverage = restore(align(frame, POINTS, size), matrix, (250, 250))
    inside = (coverage > 0.999).expand_as(image)
    assert float((image - frame)[inside].abs().mean()) < 0.01
    side = size / float(matrix[0, :, :2].det().sqrt())  # of the crop, in pixels of the photograph
    assert float(coverage.sum()) == pytest.approx(side**2, rel=0.01)
    usual = 112 / float(similarity(POINTS, template(112))[0, :, :2].det().sqrt())
    assert side / usual == pytest.approx(128 / 112 if size in (128, 256) else 1.0, rel=1e-4)


# the ways in


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs with points, and their crops at 112 and 256 as folders and packed, with and without a margin."""
    place = tmp_path_factory.mktemp("framing")
    table = read_points(photographs(place / "photos", 6, 1, size=160))
    for name, points in table.items():
        frame = torch.from_numpy(np.array(Image.open(place / "photos" / name).convert("RGB")))
        for side in (112, 256):
            crop = align(to_float(frame)[None], torch.from_numpy(points)[None], side)[0]
            path = (place / f"crops{side}" / name).with_suffix(".png")
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = ((crop + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
            Image.fromarray(pixels).save(path)
    for side, margin in ((112, 0.0), (256, 0.0), (112, 0.5)):
        options = Options(size=side, min_size=8, codec="webp", margin=margin)
        prepare(of_folder(place / "photos", table), "small", place / f"packed{side}-{margin}", options, workers=1)
    return place


def images(faces: FolderFaces | PackedFaces) -> Tensor:
    return faces.__getitems__(list(range(len(faces))))["image"]


WAYS = ["crops112", "crops256", "packed112-0.0", "packed256-0.0", "packed112-0.5"]


@pytest.mark.parametrize("size", [64, 112, 128, 256])
@pytest.mark.parametrize("way", WAYS)
def test_whatever_comes_in_is_framed_by_its_size(place: Path, tmp_path: Path, way: str, size: int) -> None:
    """As recognizers see it: the same faces as from the photographs at that size."""
    split = split_of(sorted(entry.name for entry in (place / "photos").iterdir())[0])
    wanted = images(FolderFaces(place / "photos", split, size, place / "photos.csv", cache=tmp_path))
    if way.startswith("crops"):
        found = images(FolderFaces(place / way, split, size, cache=tmp_path))
    else:
        found = images(PackedFaces(place / way, split, size))
    assert found.shape == wanted.shape
    seen, right = (reframe(part, Framing.of(112)) for part in (found, wanted))
    assert float((seen - right).abs().mean()) < 0.06
    edge = (seen - right)[..., -1, 8:-8].abs().mean()  # black mixed into the last row cost EdgeFace a cosine of .03
    assert float(edge) < 0.1


def test_a_folder_says_what_its_crops_show(place: Path, tmp_path: Path) -> None:
    split = split_of(sorted(entry.name for entry in (place / "photos").iterdir())[0])
    told = FolderFaces(place / "crops112", split, 64, cache=tmp_path, framing="wide")
    assert not torch.allclose(images(told), images(FolderFaces(place / "crops112", split, 64, cache=tmp_path)))
    assert "crops of another framing" in told.summary
    for wrong in ({"framing": "ffhq"}, {"framing": "wide", "points": place / "photos.csv"}):
        with pytest.raises(UserError, match=r"data\.framing=\w+ must be one of arcface, wide"):
            FolderFaces(place / "crops112", split, 64, cache=tmp_path, **wrong)


def test_a_packed_set_says_what_it_shows(place: Path) -> None:
    split = split_of(sorted(entry.name for entry in (place / "photos").iterdir())[0])
    shown = [PackedFaces(place / f"packed{side}-0.0", split).pack.info["framing"] for side in (112, 256)]
    assert shown == ["arcface", "wide"]
