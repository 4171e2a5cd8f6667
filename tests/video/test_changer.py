"""What becomes of faces: changed, judged, covered; a method that fails, in whatever way, never shows one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from anon.anonymizers.composed import Anonymizer
from anon.anonymizers.filters import GaussianBlur, Pixelate, SolidMask
from anon.anonymizers.plugged import Plugged
from anon.errors import Failed
from anon.generators.contract import Redrawn
from anon.identity.contract import Embedded
from anon.identity.tracking import IdentityTracker
from anon.video.changer import FaceChanger
from anon.video.gate import COVERED, UNVERIFIED, VERIFIED, Gate, Judging
from anon.video.paste import crop_of
from anon.video.tracks import Seen, alone
from tests.video.scenes import frame_of

BLACK = SolidMask([-1.0, -1.0, -1.0])


class Mean:
    """A judge by mean colour: unit vectors (B, 2), and what was made white is another person."""

    name, metric, threshold, fingerprint = "mean", "cosine", 0.5, "1" * 64

    def embed(self, images: Tensor) -> Tensor:
        bright = images[..., 40:70, 40:70].mean((1, 2, 3)) > 0.5
        return torch.stack((bright.float(), 1 - bright.float()), 1)


def white(images: Tensor) -> Tensor:
    return torch.ones_like(images)


def changer(method: nn.Module, judged: bool = True, **gate: float) -> FaceChanger:
    judging = [Judging(Mean(), 0.5)] if judged else []
    return FaceChanger(method, BLACK, Gate(judging, **gate), 112)


def one(by: FaceChanger, places=((3, 20, 20),)):
    frame, found = frame_of(places)
    (changed,), (verdicts,) = by([frame], [alone(found)])
    return frame, found, changed, verdicts


def nose_of(found, index: int = 0) -> tuple[int, int]:
    x, y = found.points[index, 2].round().long().tolist()
    return y, x


def test_what_every_judge_takes_for_another_is_verified() -> None:
    frame, found, changed, (verdict,) = one(changer(Plugged(white)))
    assert verdict.status == VERIFIED and verdict.distances == (1.0,) and verdict.reason is None
    assert changed[nose_of(found)].tolist() != frame[nose_of(found)].tolist()


def test_a_face_that_is_still_recognized_is_covered() -> None:
    _, found, changed, (verdict,) = one(changer(Plugged(lambda images: images * 0.5)))
    assert (verdict.status, verdict.reason) == (COVERED, "still recognized")
    for point in found.points[0].round().long().tolist():
        assert changed[point[1], point[0]].tolist() == [0, 0, 0]


def test_without_a_judge_nothing_is_verified() -> None:
    assert one(changer(Plugged(white), judged=False))[3][0].status == UNVERIFIED
    assert one(changer(GaussianBlur(0.1), judged=False))[3][0].status == UNVERIFIED
    assert one(changer(BLACK, judged=False))[3][0].status == COVERED


@pytest.mark.parametrize(
    "broken",
    [
        lambda images: images * torch.nan,
        lambda images: images + 3,
        lambda images: images[:, :1],
        lambda images: images[..., :50],
        lambda images: "no picture",
        lambda images: 1 / 0 if len(images) > 5 else images.new_tensor([]).view(3, 7),
    ],
)
def test_a_method_that_fails_leaves_no_face(broken: Callable[[Tensor], Tensor]) -> None:
    _, found, changed, (verdict,) = one(changer(Plugged(broken)))
    assert (verdict.status, verdict.reason) == (COVERED, "the method failed")
    assert changed[nose_of(found)].tolist() == [0, 0, 0]


def test_one_that_fails_on_one_face_changes_the_others() -> None:
    def picky(images: Tensor) -> Tensor:
        if bool((images[:, 0].mean((1, 2)) > images[:, 2].mean((1, 2))).all()) and len(images) == 1:
            return images * torch.nan
        if len(images) > 1:
            raise ValueError("one at a time")
        return torch.ones_like(images)

    places = ((3, 0, 20), (8, 140, 20))
    frame, found, _, verdicts = one(changer(Plugged(picky)), places)
    assert sorted(verdict.status for verdict in verdicts) == sorted(
        COVERED if frame_red(frame, found, i) else VERIFIED for i in range(2)
    )


def frame_red(frame: Tensor, found, index: int) -> bool:
    crop = crop_of(frame, found.points[index], 112)
    return float(crop[0].mean()) > float(crop[2].mean())


def test_small_turned_and_pointless_faces_are_covered_without_a_try() -> None:
    def never(images: Tensor) -> Tensor:
        raise AssertionError("asked")

    for gate, reason in (({"min_size": 200.0}, "too small"), ({"max_turn": 0.001}, "too turned")):
        assert one(changer(Plugged(never), **gate))[3][0] == (COVERED, reason, (), ())
    frame, found = frame_of([(3, 20, 20)])
    nowhere = Seen(0, found.boxes[0], torch.full((5, 2), torch.nan), True)
    (changed,), ((verdict,),) = changer(Plugged(never))([frame], [[nowhere]])
    assert (verdict.status, verdict.reason) == (COVERED, "without points")
    assert changed[nose_of(found)].tolist() == [0, 0, 0]


def test_a_judge_that_fails_verifies_nothing() -> None:
    class Broken(Mean):
        def embed(self, images: Tensor) -> Tensor:
            return torch.full((len(images), 2), torch.nan)

    by = FaceChanger(Plugged(white), BLACK, Gate([Judging(Broken(), 0.5)]), 112)
    assert one(by)[3][0].status == COVERED


def test_a_fallback_that_fails_ends_it() -> None:
    by = FaceChanger(Plugged(lambda images: images), Pixelate(500), Gate([Judging(Mean(), 0.5)]), 112)
    with pytest.raises(Failed, match="could not be covered"):
        one(by)


def test_a_filter_too_coarse_for_a_small_face_is_replaced_by_the_mask() -> None:
    _, found, changed, (verdict,) = one(changer(Pixelate(500), judged=False))
    assert (verdict.status, verdict.reason) == (COVERED, "the method failed")
    assert changed[nose_of(found)].tolist() == [0, 0, 0]


def test_overlapping_faces_do_not_bring_each_other_back() -> None:
    """The crop of the second holds a part of the first: it must be of the first as it was changed."""
    shown: list[Tensor] = []

    def paint(images: Tensor) -> Tensor:
        shown.append(images.clone())
        return images * 0 + 1

    places = ((3, 20, 20), (8, 60, 30))
    frame, found, _, verdicts = one(changer(Plugged(paint)), places)
    assert [len(batch) for batch in shown] == [1, 1] and [v.status for v in verdicts] == [VERIFIED] * 2
    first = crop_of(frame, found.points[1], 112) - shown[1][0]  # what the first left in the crop of the second
    assert float((first.abs().amax(0) > 0.2).float().mean()) > 0.05


def test_a_face_that_is_only_covered_lies_on_top_of_its_neighbour() -> None:
    """Covered first, it would be half of what the neighbour is drawn from."""
    shown: list[Tensor] = []
    frame, found = frame_of(((3, 20, 20), (8, 60, 30)))
    faces = [face._replace(points=face.points * torch.nan) if face.track == 0 else face for face in alone(found)]
    by = changer(Plugged(lambda images: shown.append(images.clone()) or torch.ones_like(images)))
    (changed,), (verdicts,) = by([frame], [faces])
    assert torch.allclose(shown[0][0], crop_of(frame, found.points[1], 112)) and verdicts[1].status == VERIFIED
    assert verdicts[0].status == COVERED and changed[nose_of(found)].tolist() == [0, 0, 0]


def test_the_frames_themselves_stay() -> None:
    frame, found = frame_of([(3, 20, 20)])
    before = frame.clone()
    changer(BLACK)([frame, frame], [alone(found), []])
    assert torch.equal(frame, before)


class Two(nn.Module):
    """An encoder that gives what comes next in a list."""

    def __init__(self, *given: Tensor) -> None:
        super().__init__()
        self.name, self.dim, self.given = "two", 2, list(given)

    def forward(self, images: Tensor, layers=()) -> Embedded:
        return Embedded(self.given.pop(0).expand(len(images), 2), ())


class Told(nn.Module):
    """A generator that keeps its conditions."""

    steers = 1

    def __init__(self) -> None:
        super().__init__()
        self.conditions: list[list[float]] = []

    def forward(self, images: Tensor, z: Tensor) -> Redrawn:
        self.conditions += z.tolist()
        return Redrawn(torch.ones_like(images), None)


def test_a_track_keeps_the_identity_of_its_first_face_until_the_next_file() -> None:
    east, north = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    told = Told()
    method = Anonymizer(Two(east, north, north), lambda z, **_: z, told)  # type: ignore[arg-type]
    by = FaceChanger(method, BLACK, Gate(), 112)
    frame, found = frame_of([(3, 20, 20)])
    by([frame], [alone(found)])
    by([frame], [alone(found)])
    by.begin()
    by([frame], [alone(found)])
    assert told.conditions == [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]


def test_of_a_track_one_face_decides_who_it_becomes() -> None:
    """A later, turned face would be a stranger to ITM, which would keep it and give its fake to who looks like that."""
    east, north = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    told, encoder = Told(), Two(east, north)
    itm = IdentityTracker(lambda z, **_: z, 0.3)
    by = FaceChanger(Anonymizer(encoder, itm, told), BLACK, Gate(), 112)  # type: ignore[arg-type]
    frame, found = frame_of([(3, 20, 20)])
    by([frame] * 3, [alone(found)] * 3)
    by([frame], [alone(found)])
    assert told.conditions == [[1.0, 0.0]] * 4 and itm.known.tolist() == [[1.0, 0.0]] and len(encoder.given) == 1
