"""MobileFaceNet and EdgeFace on pairs of Labeled Faces in the Wild, with weights and faces of ``ANON_REAL``.

All 2,400 at hand are slow; the other tests take set 1 of View 2, 600 pairs.
"""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from insightface.utils import face_align
from torch import Tensor

from anon.errors import UserError
from anon.identity.encoder import Encoder
from anon.identity.judge import Judge
from anon.identity.networks.edgeface import EdgeFace
from anon.identity.networks.mobilefacenet import MobileFaceNet
from anon.identity.onnx import OnnxJudge, onnx_encoder
from anon.identity.verification import equal_error_rate, kfold_accuracy, tar_at_far

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def _mobilefacenet(real: Path) -> Encoder:
    file = real / "models/mobilefacenet_foamliu/mobilefacenet.pt"
    return Encoder(MobileFaceNet(), 112, name="mobilefacenet", weights=str(file), **IMAGENET)


def _mobilefacenet_onnx(real: Path) -> OnnxJudge:
    return OnnxJudge(real / "models/mobilefacenet_foamliu/MobileFaceNet.onnx", **IMAGENET)


def _edgeface(real: Path) -> Encoder:
    file = real / "models/edgeface_xs/derived_edgeface_xs_float32_state_dict.pt"
    return Encoder(EdgeFace(), 112, name="edgeface", weights=str(file))


@pytest.fixture(scope="module")
def pairs(real: Path) -> list[tuple[str, str, bool]]:
    rows = []
    for line in (real / "faces/_meta/lfw_pairs.txt").read_text().splitlines():
        part = line.split("\t")
        first, second, name = part[1], part[-1], part[0] if len(part) == 3 else part[2]
        one = f"{part[0]}/{part[0]}_{int(first):04d}.jpg"
        rows.append((one, f"{name}/{name}_{int(second):04d}.jpg", len(part) == 3))
    return rows


@pytest.fixture(scope="module")
def one_set(pairs: list[tuple[str, str, bool]]) -> list[tuple[str, str, bool]]:
    """Its 300 pairs of one person and its 300 of two, by turns, so that every fold has as many of both."""
    return [pair for both in zip(pairs[:300], pairs[300:600], strict=True) for pair in both]


@pytest.fixture(scope="module")
def faces(real: Path, one_set: list[tuple[str, str, bool]]) -> dict[str, Tensor]:
    return aligned(real, one_set)


def aligned(real: Path, pairs: list[tuple[str, str, bool]]) -> dict[str, Tensor]:
    """Aligned by the reference package, not by ours, so that a failure here is the recognizer's."""
    with (real / "faces/_meta/lfw_index.csv").open() as stream:
        index = {row["file"]: row for row in csv.DictReader(stream)}
    crops = {}
    for file in sorted({file for pair in pairs for file in pair[:2]}):
        points = np.float32([[index[file][f"{p}_x"], index[file][f"{p}_y"]] for p in ("re", "le", "n", "rm", "lm")])
        crop = face_align.norm_crop(cv2.imread(str(real / "faces/lfw" / file)), points, 112)[..., ::-1]
        crops[file] = torch.from_numpy(crop.copy()).permute(2, 0, 1).float() / 127.5 - 1
    return crops


def on_lfw(
    judge: Judge | OnnxJudge, faces: dict[str, Tensor], pairs: list[tuple[str, str, bool]], far: float
) -> tuple[float, ...]:
    """Accuracy and EER in per cent, and TAR at a FAR."""
    number = {file: n for n, file in enumerate(faces)}
    z = torch.cat([judge.embed(chunk) for chunk in torch.stack(list(faces.values())).split(64)])
    first, second = (z[[number[pair[side]] for pair in pairs]] for side in (0, 1))
    distance, same = 1 - (first * second).sum(1), torch.tensor([pair[2] for pair in pairs])
    assert int(same.sum()) == len(pairs) // 2
    accuracy = 100 * kfold_accuracy(2 * distance, same, folds=4).accuracy
    eer = 100 * equal_error_rate(distance[same], distance[~same])[0]  # above, squared L2 = 2 (1 - cos)
    return accuracy, eer, tar_at_far(distance[same], distance[~same], far)


BUILT = [(_mobilefacenet, 99.42), (_mobilefacenet_onnx, 99.42), (_edgeface, 99.58)]


@pytest.mark.slow
@pytest.mark.parametrize(("build", "accuracy"), BUILT)
def test_accuracy_on_lfw_pairs_is_the_known_one(real, pairs, build, accuracy, record_property):
    recognizer, faces = build(real), aligned(real, pairs)
    judge = Judge(recognizer) if isinstance(recognizer, Encoder) else recognizer
    assert len(pairs) == 2400
    found, eer, tar = on_lfw(judge, faces, pairs, 1e-3)
    record_property("lfw", f"{judge.name}: accuracy {found:.2f}, EER {eer:.2f} %, TAR@FAR1e-3 {tar:.3f}")
    assert eer < 1.0 and tar > 0.97
    assert found == pytest.approx(accuracy, abs=0.3)


@pytest.mark.slow
@pytest.mark.parametrize(("build", "accuracy"), [BUILT[0], BUILT[2]])
def test_accuracy_on_one_set_of_pairs(real, one_set, faces, build, accuracy):
    found, eer, tar = on_lfw(Judge(build(real)), faces, one_set, 1e-2)
    assert eer < 1.5 and tar > 0.98
    assert found == pytest.approx(accuracy, abs=0.9)  # two standard errors of 600 pairs


def test_parameter_counts(real):
    counts = [sum(p.numel() for p in build(real).backbone.parameters()) / 1e6 for build in (_mobilefacenet, _edgeface)]
    assert counts == [pytest.approx(1.0, abs=0.01), pytest.approx(2.24, abs=0.01)]


@pytest.mark.slow
def test_one_file_in_three_forms_gives_one_embedding(real, faces):
    """onnxruntime, our port of the .pt file, and the ONNX graph converted to torch, on 96 photographs."""
    file = real / "models/mobilefacenet_foamliu/MobileFaceNet.onnx"
    judge, converted = OnnxJudge(file, **IMAGENET), onnx_encoder(str(file), **IMAGENET)
    port = Judge(_mobilefacenet(real))
    images = torch.stack(list(faces.values())[:: len(faces) // 96][:96])
    z = judge.embed(images)
    for other in (port.embed(images), Judge(converted).embed(images)):
        assert float((z * other).sum(1).min()) >= 0.9999
    assert (judge.dim, converted.dim, judge.metric, judge.name) == (128, 128, "cosine", "MobileFaceNet")
    assert judge.fingerprint == converted.fingerprint
    maps = converted(images[:2], converted.layers).maps
    own = port.encoder(images[:2], ("features.4", "features.11")).maps
    assert [m.shape[-1] for m in maps] == [56, 28, 14]
    for found, wanted in zip(maps[1:], own, strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-3, rtol=1e-3)


def test_insightface_s_own_reader_agrees(real, faces):
    from insightface.model_zoo import get_model

    file = real / "models/mobilefacenet_foamliu/MobileFaceNet.onnx"
    reference = get_model(str(file), providers=["CPUExecutionProvider"])
    face = next(iter(faces.values()))
    bgr = ((face.permute(1, 2, 0).flip(-1) + 1) * 127.5).round().byte().numpy()
    wanted = torch.nn.functional.normalize(torch.from_numpy(reference.get_feat(bgr)))
    torch.testing.assert_close(OnnxJudge(file, flip=False).embed(face[None]), wanted, atol=1e-4, rtol=0)


def test_default_layers_halve_the_resolution(real):
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    root = Path(__file__).resolve().parents[2] / "conf/encoder"
    for name, sides in (("mobilefacenet", [56, 28, 14]), ("edgeface", [28, 14])):
        encoder = instantiate(OmegaConf.load(root / f"{name}.yaml"), weights="random")
        maps = encoder(torch.zeros(1, 3, 112, 112), encoder.layers).maps
        assert [m.shape[-1] for m in maps] == sides


@pytest.mark.parametrize("build", [OnnxJudge, onnx_encoder])
def test_other_published_onnx_files_are_refused(real, build):
    for file in ("headpose_fsanet/fsanet-var-iter-688590", "yunet/yunet_n_dynamic", "ultralight/version-slim-320"):
        with pytest.raises(UserError, match="not a face recognition model"):
            build(str(real / f"models/{file}.onnx"))
