"""What stays: time, attributes, picture, detection, quality, against numbers by hand."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from anon.attributes.regressor import AttributeRegressor
from anon.errors import UserError
from anon.evaluation.harness.context import PUBLISHED, TARGET, MeasureContext
from anon.evaluation.harness.suite import Combination
from anon.evaluation.measures.attributes import Attributes
from anon.evaluation.measures.detection import Detection
from anon.evaluation.measures.picture import Picture
from anon.evaluation.measures.quality import Quality
from anon.evaluation.measures.temporal import Temporal
from anon.faces.contract import in_eight_bits, to_float
from anon.faces.detection.contract import Detections
from anon.metrics.quality import Pristine, niqe, niqe_features
from tests.evaluation import tiny_world
from tests.evaluation.harness.tiny_stages import stages
from tests.evaluation.measures.known_context import KnownContext

NAN = float("nan")


def values(figures):
    return {name: None if figure.value is None else round(figure.value, 4) for name, figure in figures.items()}


def clips():
    """Of person 7: distances 0, 1, 1 to the first frame; of person 8: none moves."""
    still = torch.tensor([1.0, 0.0]).expand(3, 2)
    return torch.stack([torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]), still])


def test_time():
    context = KnownContext([7, 8], clips={"changed": clips()}, clip_labels=[7, 8])
    found = values(Temporal()(context))
    # of the nine distances of person 7 four are 1: mean 4/9, deviation sqrt(4/9 - 16/81)
    assert found == {
        "M_tc_mu": round(2 / 9, 4),
        "M_tc_sigma": round((4 / 9 - 16 / 81) ** 0.5 / 2, 4),
        "identity_invariance": 0.25,
    }
    (curve,) = Temporal().plots(context, "name", 1)
    assert (curve.plot, curve.x, curve.y) == ("temporal", (0.0, 1.0, 2.0), (0.0, 0.5, 0.5))
    assert (curve.low, curve.high) == ((0.0, 0.0, 0.0), (0.0, 1.0, 1.0))  # both people are drawn twice now and then


def test_no_time():
    context = KnownContext([7, 8])
    assert {figure.reason for figure in Temporal()(context).values()} == {"n/a (no clips)"}
    assert Temporal().plots(context, "name", 1) == []


def readings():
    square = torch.tensor([[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0]])
    target = {
        "pose": torch.zeros(2, 3),
        "gaze": torch.tensor([[0.0, 1.0], [0.0, 0.0]]),
        "landmarks": square.expand(2, 4, 2),
        "age": torch.tensor([30.0, 40.0]),
        "gender": torch.tensor([0.9, 0.2]),
    }
    changed = {
        "pose": torch.tensor([[3.0, 4.0, 0.0], [0.0, 0.0, 7.0]]),
        "gaze": torch.tensor([[0.0, 3.0], [NAN, 0.0]]),
        "landmarks": torch.stack([square * 3 + 1, square]),
        "age": torch.tensor([33.0, 50.0]),
        "gender": torch.tensor([0.6, 0.7]),
    }
    return {"target": target, "changed": changed}


def test_attributes_against_truth_and_against_the_target():
    """Poses have a truth: it is (0, 0, 2), 2 off for the unchanged faces. Gaze has none and is unknown once."""
    truth = {"pose": torch.tensor([[0.0, 0.0, 2.0]] * 2), "landmarks": torch.zeros(2, 5, 2)}
    context = KnownContext([7, 8], read=readings(), truth=truth, reads=("pose", "gaze", "landmarks", "age", "gender"))
    found = Attributes()(context)
    shown = values(found)
    pose = (29**0.5 + 5) / 2
    assert shown["pose_error"] == round(pose, 4) and shown["pose_ratio"] == round(pose / 2, 4)
    assert shown["gaze_error"] == 2.0 and found["gaze_error"].n == 1
    assert found["gaze_ratio"].reason == "n/a (compared with the unchanged face)"
    # 3 p + 1 - p: the corners move by (1, 1), (5, 1), (5, 5) and (1, 5); the truth has other points than are read
    assert shown["landmarks_error"] == round((2**0.5 + 2 * 26**0.5 + 50**0.5) / 8, 4)
    assert shown["shape_distance"] == 0.0  # larger and elsewhere, of the same shape
    assert (shown["age_error"], shown["age_agreement"], shown["gender_agreement"]) == (6.5, 0.5, 0.5)
    assert found["expression_error"].reason.endswith("needs attributes=expression)")


def test_of_unchanged_faces_the_errors_are_the_estimators_own():
    truth = {"pose": torch.tensor([[0.0, 0.0, 2.0]] * 2)}
    context = KnownContext([7, 8], read=readings(), truth=truth, reads=("pose", "gaze"), method="real")
    found = Attributes()(context)
    assert found["pose_error"].value == 2.0 and found["gaze_error"].reason == "n/a (no ground truth)"
    assert set(found) == {"pose_error", "expression_error", "gaze_error", "landmarks_error"}


def test_without_an_estimator_each_figure_names_one():
    found = Attributes()(KnownContext([7, 8]))
    assert found["pose_error"].reason == "needs attributes=fsanet"
    assert all(figure.reason.startswith("needs ") for figure in found.values())


def test_the_regressor_of_rendered_faces_does_not_read_photographs():
    context = KnownContext([7, 8], read=readings())
    context.stages.readers.attributes = AttributeRegressor(size=16, widths=(4,))
    assert Attributes()(context)["pose_error"].reason.startswith("n/a (synthetic reads rendered faces only; needs")


def test_action_units_over_a_clip():
    """One clip: a unit that is 3 too high and moves alike, one that never moves."""
    target = torch.tensor([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]])
    changed = target + torch.tensor([3.0, 0.0])
    read = {"target": {"action_units": target}, "changed": {"action_units": changed}}
    context = KnownContext([7, 8, 9], read=read, clip_labels=[7], reads=("action_units",))
    found = values(Attributes()(context))
    assert (found["action_units_rmse"], found["action_units_pcc"]) == (1.5, 1.0)


def picture_cell(changed, published=None, **place):
    images = {"target": torch.zeros(2, 3, 16, 16), "changed": changed}
    images |= {} if published is None else {"published": published}
    return KnownContext([7, 8], images=images, beside={"mask_area": torch.tensor([0.25, 0.75])}, **place)


def test_picture():
    changed = torch.stack([torch.full((3, 16, 16), 0.2), torch.full((3, 16, 16), 0.02)])
    found = values(Picture()(picture_cell(changed)))
    assert (found["difference"], found["psnr"], found["mask_area"]) == (0.11, 30.0, 0.5)  # 20 and 40 dB
    assert 0 < found["ssim"] < 1 and not any(name.startswith("defense") for name in found)


def test_a_picture_that_did_not_change_has_no_decibels():
    found = Picture()(picture_cell(torch.zeros(2, 3, 16, 16)))
    assert found["psnr"].reason == "n/a (infinite: a picture did not change)" and found["ssim"].value == 1.0


class Maps:
    """Two channels at one place, the image's mean and 1 minus it."""

    layers = ("last",)
    fingerprint = "maps"

    def __call__(self, images, layers):
        mean = images.mean((1, 2, 3))
        return SimpleNamespace(maps=(torch.stack([mean, 1 - mean], 1)[:, :, None, None],))


def test_what_a_defense_costs_is_against_the_undefended_face():
    """Maps (1, 0) and (0, 1) are orthogonal, distance 2; equal ones have none."""
    changed, published = torch.ones(2, 3, 16, 16), torch.ones(2, 3, 16, 16)
    published[0] = 0.0
    found = Picture()(picture_cell(changed, published, defense="noise", encoder=Maps()))
    assert found["defense_feature_distance"].value == 1.0
    assert found["difference"].value == 0.5  # of the published faces to the targets, which are 0
    assert found["defense_ssim"].value == pytest.approx(0.9, abs=0.01)  # 1, and .8 of a grey one to a white
    filtered = Picture()(picture_cell(changed, published, defense="noise"))
    assert filtered["defense_feature_distance"].reason == "n/a (no encoder)"


def test_lpips_wants_a_file_and_large_pictures(tmp_path):
    with pytest.raises(UserError, match=r"^lpips='.*' is no file"):
        Picture(lpips=str(tmp_path / "none.pth"))
    (tmp_path / "alexnet.pth").write_bytes(b"weights")
    context = MeasureContext(stages(), Combination("default", "pixelate"))
    found = Picture(lpips=str(tmp_path / "alexnet.pth"))(context)["lpips"]
    assert found.reason == "n/a (pictures of 16 pixels; LPIPS needs 64)"


class Bright:
    """Finds a face where the frame's middle is not dark; its score is the brightness there."""

    name, has_points = "bright", False

    def detect_batch(self, frames):
        found = []
        for frame in frames:
            light = float(frame[len(frame) // 2, len(frame) // 2].float().mean()) / 255
            keep = int(light > 0.4)
            boxes = torch.tensor([[0.0, 0.0, 100.0, 100.0]])[:keep]
            found.append(Detections(boxes, torch.full((keep, 5, 2), NAN), torch.tensor([light])[:keep]))
        return found


def test_detection():
    """Of three faces the first is found before and after, the second before, the third after."""
    before = {
        "scores": torch.tensor([0.9, 0.8, 0.0]),
        "boxes": torch.tensor([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 10.0], [NAN] * 4]),
    }
    after = {
        "scores": torch.tensor([0.5, 0.0, 0.7]),
        "boxes": torch.tensor([[2.0, 2.0, 12.0, 12.0], [NAN] * 4, [0.0, 0.0, 9.0, 9.0]]),
    }
    context = KnownContext([7, 8, 9])
    context.stages.readers.detectors = {"one": None, "other": None}
    context.detections = lambda of, name: {TARGET: before, PUBLISHED: after}[of]
    found = values(Detection()(context))
    assert found["detected"] == found["detected_one"] == found["detected_other"] == round(2 / 3, 4)
    assert found["confidence_drop_one"] == round((0.9 - 0.5 + 0.8) / 2, 4)
    assert found["box_distance_one"] == 2.0


def test_of_unchanged_faces_the_share_alone_is_told():
    made = stages(data=lit())
    made.readers = made.readers._replace(detectors={"bright": Bright()}, detector_keys={"bright": "1"})
    real = MeasureContext(made, Combination("default", "real"))
    found = Detection()(real)
    bright = (to_float(real.view(TARGET).eight_bits()).mean((1, 2, 3)) > 0).double().mean()
    assert set(found) == {"detected", "detected_bright"} and found["detected"].value == pytest.approx(float(bright))
    assert 0.5 < float(bright) < 1.0


def lit():
    data = tiny_world.Data(clips=2)
    return SimpleNamespace(name="lit", faces=lambda split: lit_faces(data.faces(split), split))


def lit_faces(faces, split):
    if split != "evaluation":
        return faces
    made = copy.copy(faces)
    light = torch.where(torch.arange(len(faces)) % 4 == 0, -1.0, 1.0)
    made.images = light[:, None, None, None].expand(-1, 3, 16, 16).clone()
    return made


class Noisy(nn.Module):
    def forward(self, images, *, source=None, key=None, track=None, rng=None):
        return (images + 0.4 * torch.randn(images.shape, generator=rng)).clamp(-1, 1)


def large(size=48):
    """Smooth random pictures that are large enough for NIQE."""
    data = tiny_world.Data(clips=2)
    rng = torch.Generator().manual_seed(0)

    def faces(split):
        made = copy.copy(data.faces(split))
        shape = (len(made), 3, size // 3, size // 3)
        made.images = in_eight_bits(
            F.interpolate(torch.rand(shape, generator=rng) * 2 - 1, (size, size), mode="bicubic").clamp(-1, 1)
        )
        return made

    sets = {split: faces(split) for split in ("train", "background", "evaluation")}
    return SimpleNamespace(name="large", faces=sets.__getitem__)


def test_quality_is_niqe_against_the_training_faces():
    data = large()
    methods = {
        "real": {"title": "Real", "anonymizer": None},
        "noisy": {"title": "Noisy", "anonymizer": {"_target_": f"{__name__}.Noisy"}},
    }
    made = stages(data=data, methods=methods)
    found = {name: Quality()(MeasureContext(made, Combination("default", name)))["niqe"] for name in methods}
    probes = made.subjects("default").items.indices[made.subjects("default").probes]
    pristine = Pristine.fit(niqe_features(data.faces("train").images[made.subjects("default").anchors.indices]))
    expected = niqe(niqe_features(data.faces("evaluation").images[probes]), pristine).mean()
    assert found["real"].value == pytest.approx(float(expected), rel=1e-5)
    assert found["noisy"].value > found["real"].high
    assert found["real"].low < found["real"].value < found["real"].high


def test_too_few_training_faces_for_niqe():
    made = stages(data=large(), calibration_images=1)
    found = Quality()(MeasureContext(made, Combination("default", "real")))["niqe"]
    assert found.reason == "n/a (6 training faces; NIQE needs more than 36)"


def test_small_faces_have_no_niqe():
    found = Quality()(MeasureContext(stages(), Combination("default", "real")))["niqe"]
    assert found.reason == "n/a (faces of 16 pixels; NIQE needs 32)"
