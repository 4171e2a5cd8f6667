"""What is written down of a clip, and the figures made of it, by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from anon.anonymizers.filters import SolidMask
from anon.anonymizers.plugged import Plugged
from anon.evaluation.harness.store import Store, key_of
from anon.metrics.tracking import ClearMot
from anon.video.changer import FaceChanger
from anon.video.gate import COVERED, UNVERIFIED, VERIFIED, Gate, Judging, Verdict
from anon.video.pipeline import Anonymizing
from anon.video.report import STATUSES
from anon.video.suite.crowd import Clip, Truth
from anon.video.suite.measure import NO_TRACK, NO_TRUTH, ClipContext, OfClips
from anon.video.suite.records import Record, Watch, _read, record_of
from anon.video.tracks import Seen
from tests.video.scenes import Fixed, frame_of, half_changed, masking, write_clip
from tests.video.test_consistency import ByColour


def of(*records: Record, judge: int | None = 0) -> dict[str, object]:
    """Figures by name: their value, or the reason."""
    found = OfClips()(ClipContext(records, 100, 0, judge))
    return {name: figure.reason if figure.value is None else figure.value for name, figure in found.items()}


def test_faces_that_are_due_missed_and_unchanged_by_hand() -> None:
    """Two faces of 10 x 10, one of them found too far off; of a third too little shows."""
    before, after, owners = half_changed()  # no box is near the second
    box = torch.tensor([10.0, 10.0, 20.0, 20.0])
    face = Seen(7, box + 2, torch.zeros(5, 2), False)  # an IoU of 64 / 136: too little
    truth = Truth(torch.tensor([[1.0, 0.5, 0.4]]), owners)
    for own, missed, mot in ((face, 2, (2, 2, 1, 0)), (face._replace(box=box + 1), 1, (2, 1, 0, 0))):
        watch = Watch(Gate(), truth)  # an IoU of 81 / 119 in the second round
        watch(0, before, after, [own], [Verdict(COVERED, "too small")])
        record = _read(watch.tensors(2.0), 0)
        assert record.truth is not None and record.truth.tolist() == [[0, int(missed == 2), 0], [1, 1, 1]]
        assert record.mot == ClearMot(*mot) and record.reasons == ["too small"] and record.fallbacks.tolist() == [0]
        figures = of(record, judge=None)
        assert (figures["faces_due"], figures["missed_faces"], figures["unchanged_faces"]) == (2.0, missed, 1.0)
        assert figures["missed"] == missed / 2 and figures["unchanged"] == 0.5 and figures["fallback"] == 1.0
        assert figures["covered"] == 1.0 and figures["frames_per_second"] == 0.5 and figures["switches"] == 0.0


def test_without_ground_truth_due_is_whom_tracks_have() -> None:
    """Half of one face's ellipse changes by a pixel too little, the other's altogether; a third lies outside."""
    before = torch.zeros(60, 80, 3, dtype=torch.uint8)
    after = before.clone()
    after[:, 40:] = 1
    boxes = ([10, 10, 20, 20], [50, 10, 60, 20], [200, 200, 210, 210])
    faces = [Seen(i, torch.tensor(box).float(), torch.zeros(5, 2), i == 2) for i, box in enumerate(boxes)]
    watch = Watch(Gate(), None)
    watch(0, before, after, faces, [Verdict(UNVERIFIED)] * 2 + [Verdict(COVERED, "without points")])
    record = _read(watch.tensors(1.0), 0)
    figures = of(record, judge=None)
    assert (figures["faces_due"], figures["unchanged_faces"], figures["unchanged"]) == (2.0, 1.0, 0.5)
    assert figures["missed"] == figures["switches"] == NO_TRUTH and record.truth is None
    assert figures["filled_in"] == pytest.approx(1 / 3) and figures["fallback"] == pytest.approx(1 / 3)
    assert str(figures["M_tc_mu"]).startswith("needs a judge")


def test_intervals_are_over_tracks_of_a_clip_and_over_several_clips() -> None:
    """Four tracks of five faces, one of them verified: a share of a quarter; of three clips three such shares."""

    def record(good: int) -> Record:
        faces = torch.tensor([[t, STATUSES.index(VERIFIED if t < good else COVERED), 0, 0] for t in range(4)] * 5)
        tracks = torch.tensor([[float(t), 0.1, 0.1 * (t + 1), 0.0, 0.0] for t in range(4)], dtype=torch.float64)
        return Record(5, 1.0, faces, torch.full((20,), -1), [], [tracks], None, None)

    one = OfClips()(ClipContext([record(1)], 500, 0))
    assert one["verified"].value == 0.25 and one["verified"].n == 20
    low, high = one["verified"].span
    assert 0.0 < low < 0.1 and 0.6 < high < 1.0  # four trials, one of them found: Clopper and Pearson's .006 to .806
    assert one["M_tc_mu"].value == pytest.approx(0.25) and one["M_tc_mu_before"].span == pytest.approx((0.1, 0.1))
    every = OfClips()(ClipContext([record(1), record(2), record(3)], 500, 0))
    assert every["verified"].value == 0.5 and every["verified"].n == 60 and every["frames"].value == 15.0
    low, high = every["verified"].span
    assert low < 0.25 and high > 0.75  # three clips say little
    assert every["frames_per_second"].span == (5.0, 5.0) and every["tracks"].value == 12.0


def by_light(images: torch.Tensor) -> torch.Tensor:
    """Bright faces become red, dark ones green."""
    bright = (images.mean((1, 2, 3)) > -0.75).view(-1, 1, 1, 1)
    red, green = (torch.tensor(colour).view(1, 3, 1, 1) for colour in ([1.0, -1.0, -1.0], [-1.0, 1.0, -1.0]))
    return torch.where(bright, red, green).expand_as(images).clone()


def test_a_clip_goes_through_the_pipeline_once_and_is_read_back(tmp_path: Path) -> None:
    """Red, green, red, green: M_tc is half of what the frames are apart; the originals are one person."""
    light = frame_of([(3, 20, 20)])[0]
    file = write_clip(tmp_path / "a.mp4", [light, light // 8] * 2)
    gate = Gate([Judging(ByColour(), 0.5)])
    change = FaceChanger(Plugged(by_light), SolidMask([-1.0, -1.0, -1.0]), gate, 112)
    by = Anonymizing(Fixed(), change, gate, {})  # type: ignore[arg-type]
    store, clip = Store(None), Clip("a.mp4", file, key_of(file="a"))
    found = [of(record_of(clip, by, store, tmp_path)) for _ in range(2)]
    assert found[0] == found[1] and (store.made["clips"], store.found["clips"]) == (1, 0)  # found: of another run
    assert found[0]["verified"] == 1.0 and (found[0]["M_tc_mu"], found[0]["M_tc_mu_before"]) == (0.5, 0.0)
    assert found[0]["unchanged"] == 0.0 and not list(tmp_path.glob("result*"))
    masked = of(record_of(clip, masking(Fixed()), store, tmp_path), judge=None)
    assert masked["covered"] == 1.0 and masked["frames"] == 4.0 and store.made["clips"] == 2
    assert NO_TRACK not in found[0].values()
