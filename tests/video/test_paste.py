"""Pasting: what is drawn comes back where it was, seams take the frame's colours, an ellipse covers its box."""

from __future__ import annotations

import torch

from anon.faces.contract import to_float
from anon.video.paste import blend, crop_of, ellipse, put_back, seamless
from tests.video.scenes import frame_of


def test_a_crop_that_nobody_changed_goes_back_as_it_was() -> None:
    frame, found = frame_of([(3, 20, 20)])
    copy = frame.clone()
    put_back(copy, found.points[0], crop_of(frame, found.points[0], 256))
    apart = (copy.int() - frame.int()).abs().float()
    assert float(apart.mean()) < 1.0 and float(apart[:8].max()) == 0  # two bilinear warps; nothing far from the face


def test_a_changed_crop_lands_on_the_face_and_nowhere_else() -> None:
    frame, found = frame_of([(3, 20, 20)])
    copy = frame.clone()
    put_back(copy, found.points[0], torch.ones(3, 112, 112))
    nose = found.points[0, 2].round().long()
    assert copy[nose[1], nose[0]].tolist() == [255, 255, 255]
    assert torch.equal(copy[:, 128:], frame[:, 128:]) and torch.equal(copy[:12], frame[:12])


def test_the_seam_takes_the_targets_colours() -> None:
    """A drawn crop that is darker by .2 all over comes back as bright as its target; more than the most is left."""
    target = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 0.5
    assert torch.allclose(seamless(target - 0.2, target), target, atol=1e-5)
    assert torch.allclose(seamless(target - 0.5, target), target - 0.15, atol=1e-5)


def test_an_ellipse_covers_the_box_to_its_sides_and_softens_outside() -> None:
    place, mask = ellipse(torch.tensor([40.0, 30.0, 80.0, 90.0]), 0.3, (144, 256))
    whole = torch.zeros(144, 256)
    place.of(whole[..., None])[..., 0] = mask
    assert whole[60, 40] == whole[60, 80] == whole[30, 60] == whole[90, 60] == 1  # where the box ends
    assert whole[60, 60 - 25] == 1 and 0 < whole[60, 60 - 28] < 1 and whole[60, 60 - 31] == 0  # 26 is 1.3 times 20
    assert float(whole[33:87, 43:77].min()) == 1  # the box but for its outermost corners


def test_an_ellipse_at_the_border_and_outside_of_it() -> None:
    for box in ([-30.0, -30.0, 20.0, 20.0], [250.0, 140.0, 290.0, 190.0], [400.0, 400.0, 440.0, 440.0], [5, 5, 5, 5]):
        place, mask = ellipse(torch.tensor(box), 0.3, (144, 256))
        assert 0 <= place.left < place.right <= 256 and 0 <= place.top < place.bottom <= 144
        assert mask.shape == (place.bottom - place.top, place.right - place.left) and bool(mask.isfinite().all())


def test_blend_mixes_by_the_mask() -> None:
    frame = torch.full((20, 20, 3), 100, dtype=torch.uint8)
    place, _ = ellipse(torch.tensor([5.0, 5.0, 15.0, 15.0]), 0.0, (20, 20))
    part = to_float(place.of(frame))
    blend(frame, place, torch.ones_like(part), torch.full(part.shape[1:], 0.5))
    assert int(frame[10, 10, 0]) in (177, 178) and int(frame[0, 0, 0]) == 100
