"""The LFW protocol: insightface's procedure recomputed, CIAGAN's on a tiny tree and on real photographs."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image
from scipy.interpolate import interp1d
from torch import nn
from torch.nn import functional as F

from anon.anonymizers.composed import Unchanged
from anon.errors import UserError
from anon.evaluation.bootstrap import Bootstrap
from anon.evaluation.lfw import run
from anon.evaluation.pairs import (
    PairSet,
    Scale,
    distances,
    embed_pairs,
    enrolled,
    fold_thresholds,
    score_pairs,
    val_at_far,
)
from anon.faces.collections.photographs.lfw import LFW
from anon.faces.detection.contract import Detections
from anon.identity.encoder import Encoder
from anon.identity.judge import Judge
from anon.identity.networks.mobilefacenet import MobileFaceNet
from anon.identity.verification import kfold_accuracy
from tests.evaluation.tiny_world import Data, Other, encoder, judge

POLICY = {
    "_target_": "anon.identity.tracking.IdentityTracker",
    "threshold": None,
    "policy": {"_target_": "anon.identity.policies.AnchorSampling", "_partial_": True, "m": -0.3, "mirrored": True},
}
HEADER = "file,re_x,re_y,le_x,le_y,n_x,n_y,rm_x,rm_y,lm_x,lm_y"


def _published_procedure(squared: np.ndarray, same: np.ndarray, folds: int, far: float) -> tuple[float, ...]:
    """insightface's evaluation in plain numpy: contiguous folds, strict <, the first best threshold, mean and std."""
    parts = np.array_split(np.arange(len(squared)), folds)
    accuracies, vals, fars = [], [], []
    for test in parts:
        train = np.setdiff1d(np.arange(len(squared)), test)
        best, chosen = -1.0, 0.0
        for threshold in np.arange(0, 4, 0.01):
            right = np.mean((squared[train] < threshold) == same[train])
            if right > best:
                best, chosen = right, threshold
        accuracies.append(np.mean((squared[test] < chosen) == same[test]))
        steps = np.arange(0, 4, 0.001)
        curve = np.array([np.mean(squared[train][~same[train]] < threshold) for threshold in steps])
        limit = float(interp1d(curve, steps, kind="linear")(far)) if curve.max() >= far else 0.0
        vals.append(np.mean(squared[test][same[test]] < limit))
        fars.append(np.mean(squared[test][~same[test]] < limit))
    return tuple(map(float, (np.mean(accuracies), np.std(accuracies), np.mean(vals), np.std(vals), np.mean(fars))))


@pytest.mark.parametrize("seed", range(4))
def test_accuracy_and_val_are_insightfaces(seed: int) -> None:
    """10 folds of 30 + 30; every fourth distance lies on a threshold, and many thresholds are equally good."""
    rng = np.random.default_rng(seed)
    same = np.tile(np.repeat([True, False], 30), 10)
    squared = np.where(same, rng.normal(1.0, 0.35, 600), rng.normal(1.8, 0.35, 600)).clip(0, 3.98)
    squared[::4] = np.arange(0, 4, 0.01)[(squared[::4] / 0.01).astype(int)]
    for far in (0.001, 0.031, 0.9991):  # none of them is a multiple of 1 / 270
        expected = _published_procedure(squared, same, 10, far)
        tensors = torch.from_numpy(squared), torch.from_numpy(same)
        accuracy, val = kfold_accuracy(*tensors, folds=10), val_at_far(*tensors, far=far, folds=10)
        assert (accuracy.accuracy, accuracy.deviation, *val) == pytest.approx(expected, abs=1e-12)


def test_val_where_the_rate_is_never_reached() -> None:
    squared = torch.tensor([0.1, 5.0] * 4)  # impostors beyond every threshold
    assert val_at_far(squared, torch.tensor([True, False] * 4), 0.5, 2) == (0.0, 0.0, 0.0)


PEOPLE = [f"P{n:02d}" for n in range(16)]


@pytest.fixture(scope="module")
def tiny_lfw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 people, two photographs of 32 x 32 each, whose points give a face of 16 x 16; 2 sets of 8 + 8 pairs."""
    root = tmp_path_factory.mktemp("lfw")
    rng = np.random.default_rng(0)
    rows = [HEADER]
    for name in PEOPLE:
        pattern = rng.integers(30, 225, (16, 16, 3))
        for number in (1, 2):
            face = (pattern + rng.integers(-12, 12, pattern.shape)).clip(0, 255).astype(np.uint8)
            (root / "lfw" / name).mkdir(parents=True, exist_ok=True)
            picture = Image.fromarray(np.pad(face, ((8, 8), (8, 8), (0, 0))))
            picture.save(root / "lfw" / name / f"{name}_{number:04d}.jpg", quality=100, subsampling=0)
            at = np.array(
                [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
            )
            rows.append(f"{name}/{name}_{number:04d}.jpg," + ",".join(f"{v:.3f}" for v in (at / 7 + 8).flatten()))
    (root / "points.csv").write_text("\n".join(rows) + "\n")
    lines = ["2\t8"]
    for half in (PEOPLE[:8], PEOPLE[8:]):
        lines += [f"{name}\t1\t2" for name in half]
        lines += [f"{name}\t1\t{half[(n + 1) % 8]}\t2" for n, name in enumerate(half)]
    (root / "pairs.txt").write_text("\n".join(lines) + "\n")
    return root


def test_no_fold_chooses_its_own_threshold() -> None:
    """Kind: a threshold that the judged pairs chose. Two folds of four mismatched pairs, FAR 1/4: the second smallest
    of the *other* fold. With person 0 drawn twice and 1 never, the pair of 0 and 2 counts twice, that of 0 and 1 not.
    """
    people = torch.tensor([[0, 1], [0, 2], [2, 3], [3, 4], [5, 6], [5, 7], [6, 7], [7, 8]])
    pictures = SimpleNamespace(same=torch.zeros(8, dtype=torch.bool), people=people, fold=torch.arange(8) // 4, folds=2)
    distance = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8])
    weights = torch.ones(1, 9, dtype=torch.float64)
    weights[0, :2] = torch.tensor([2.0, 0.0])
    bootstrap = SimpleNamespace(people=torch.arange(9), weights=weights)
    found = fold_thresholds(distance, pictures, 0.25, bootstrap)  # type: ignore[arg-type]
    torch.testing.assert_close(found[0], torch.tensor([0.6, 0.2], dtype=torch.float64))
    # fold 1 learns from 0, 2, 1 and 1 copies of .1, .2, .3 and .4: a quarter of four is one copy, and .2 has two
    torch.testing.assert_close(found[1], torch.tensor([0.6, 0.2], dtype=torch.float64))
    found = fold_thresholds(distance, pictures, 0.5, bootstrap)  # type: ignore[arg-type]
    torch.testing.assert_close(found, torch.tensor([[0.7, 0.3], [0.7, 0.3]], dtype=torch.float64))
    weights[0, :4] = torch.tensor([0.0, 2.0, 2.0, 1.0])  # 0, 0, 2 and 1 copies: three, of which .3 has two
    found = fold_thresholds(distance, pictures, 0.5, bootstrap)  # type: ignore[arg-type]
    assert found[1, 1] == pytest.approx(0.3)


def config(root: Path, **changes: object):
    content = {
        "seed": 3,
        "protocol": {
            "_target_": "anon.evaluation.lfw.LfwProtocol",
            "collection": {
                "_target_": "anon.faces.collections.photographs.lfw.LFW",
                "root": str(root),
                "points": str(root / "points.csv"),
            },
            **{"size": 16, "far": 0.125, "resamples": 50, "anchors": 15, "batch_size": 7},
        },
        "policy": POLICY,
        "paths": {"cache": None},
    }
    return OmegaConf.merge(OmegaConf.create(content), OmegaConf.from_dotlist([f"{k}={v}" for k, v in changes.items()]))


def test_a_generator_from_end_to_end(tiny_lfw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = run(Other(), encoder(0), judge(0x5EED), Data(), config(tiny_lfw), tmp_path, commit="abc")
    content = json.loads(path.read_text())
    parts = {"schema", "seed", "rows", "judge", "threshold", "far", "counts", "config", "commit", "notes"}
    assert set(content) == parts
    rows = {row["method"]: row for row in content["rows"]}
    assert list(rows) == ["Real", "FIVA", "FIVA + Sampling", "FIVA + ITM"]
    assert {(row["data"], row["split"]) for row in content["rows"]} == {("lfw", "pairs.txt")}
    value = {method: {name: figure["value"] for name, figure in row["metrics"].items()} for method, row in rows.items()}
    assert value["Real"]["TPR"] == 1.0 and value["Real"]["ID"] == 1.0 and value["Real"]["accuracy"] == 1.0
    assert value["Real"]["TPR_own"] == value["Real"]["TPR"]
    assert value["FIVA"]["TPR"] < 0.5 and value["FIVA"]["ID"] < 0.5
    counts = content["counts"]
    assert (counts["pairs"], counts["genuine"], counts["impostor"], counts["folds"]) == (32, 16, 16, 2)
    assert (counts["identities"], counts["photographs"], counts["probes"], counts["enrolled"]) == (16, 32, 16, 16)
    assert counts["far_achieved"] < 0.5 and counts["points_given"] == 32 and counts["training_identities"] == 0
    printed = capsys.readouterr().out
    assert "paper: FIVA + ITM" in printed and "*paper: Gafni*" in printed and ".035" in printed
    assert printed.splitlines()[-1] == str(path) and not any(name in printed for name in PEOPLE)
    assert {file.name for file in tmp_path.iterdir()} == {"results.json", "table.md", "table.csv"}


def test_what_is_refused(tiny_lfw: Path, tmp_path: Path) -> None:
    def refused(match: str, **changes: object) -> None:
        with pytest.raises(UserError, match=match):
            run(Other(), encoder(0), judge(0x5EED), Data(), config(tiny_lfw, **changes), tmp_path)

    refused(
        r"needs 1,000 mismatched pairs outside of the fold that it judges, and pairs\.txt has 8",
        **{"protocol.far": 1e-3},
    )
    refused("32 of the 32 photographs have no points", **{"protocol.collection.points": "null"})
    (tmp_path / "one.txt").write_text("1\nP00\t1\t2\nP00\t1\tP01\t1\n")
    refused("one set of pairs", **{"protocol.collection.pairs": str(tmp_path / "one.txt")})
    uneven = "P00\t1\t2\nP00\t1\tP01\t1\nP01\t1\t2\nP01\t2\t1\nP01\t1\tP00\t1\n"
    (tmp_path / "uneven.txt").write_text(uneven)
    refused("different numbers of pairs", **{"protocol.collection.pairs": str(tmp_path / "uneven.txt")})
    with pytest.raises(UserError, match="encoder that the generator was trained with"):
        run(Other(), encoder(0), judge(0), Data(), config(tiny_lfw), tmp_path)


def test_probes_never_meet_their_own_photograph(tiny_lfw: Path, tmp_path: Path) -> None:
    """P00/1 and P00/2 are both second in a matched pair: probes, so P00 is not enrolled and nobody looks for it."""
    lines = ("P00\t1\t2", "P00\t2\t1", "P02\t2\t1", "P02\t1\tP03\t1", "P01\t1\tP02\t2", "P03\t2\tP00\t1")
    (tmp_path / "pairs.txt").write_text("\n".join(lines) + "\n")
    collection = LFW(tiny_lfw, pairs=tmp_path / "pairs.txt", points=tiny_lfw / "points.csv")
    pictures = PairSet(collection, "pairs.txt", 16)
    probes, owners, gallery, people = enrolled(pictures)
    assert [pictures.files[n][4:12] for n in probes] == ["P02_0001"] and owners.tolist() == [2]
    assert [pictures.files[n][4:12] for n in gallery] == ["P01_0001", "P02_0002", "P03_0002"]
    assert people.tolist() == [1, 2, 3]


class FindsOneSide:
    """Two faces, the nearer to the centre second; nothing in dark frames."""

    name, has_points = "fake", True

    def detect(self, frame):
        if frame.float().mean() < 1:
            return Detections(torch.zeros(0, 4), torch.zeros(0, 5, 2), torch.zeros(0))
        boxes = torch.tensor([[0.0, 0, 8, 8], [9, 9, 23, 23]])
        points = torch.tensor(
            [[[1.0, 1], [5, 1], [3, 3], [1, 5], [5, 5]], [[12.0, 14], [19, 14], [16, 18], [13, 21], [18, 21]]]
        )
        return Detections(boxes, points, torch.tensor([0.9, 0.8]))

    def detect_batch(self, frames):
        return [self.detect(frame) for frame in frames]


def test_a_detector_finds_the_face_in_the_middle(tiny_lfw: Path) -> None:
    pictures = PairSet(LFW(tiny_lfw), "pairs.txt", 16, FindsOneSide())
    points = pictures._find(torch.full((32, 32, 3), 100, dtype=torch.uint8))
    assert points[0].tolist() == [12.0, 14.0]
    missed = pictures._find(torch.zeros(500, 500, 3, dtype=torch.uint8))
    assert missed[0].tolist() == pytest.approx([208.0, 225.8])
    assert pictures.placed == {"given": 0, "detected": 1, "centre": 1}


def test_only_the_second_photographs_are_changed(tiny_lfw: Path) -> None:
    pictures = PairSet(LFW(tiny_lfw, points=tiny_lfw / "points.csv"), "pairs.txt", 16)
    z = embed_pairs(pictures, {"Real": None, "same": Unchanged()}, judge(1).embed, batch_size=5)
    second = torch.zeros(32, dtype=torch.bool)
    second[pictures.second] = True
    assert second.sum() == 16 and torch.allclose(z["same"][second], z["Real"][second], atol=1e-6)
    assert z["same"][~second].isnan().all() and not z["Real"].isnan().any()


class Blur(nn.Module):
    """Seven by seven means of a face, drawn smoothly."""

    def forward(self, images, **_):
        return F.interpolate(F.adaptive_avg_pool2d(images, 7), images.shape[-2:], mode="bilinear")


def test_blur_on_real_photographs(real: Path, tmp_path: Path, record_property) -> None:
    """2 folds of 50 + 50 pairs of LFW: unchanged faces are verified, blurred ones are not."""
    meta = real / "faces/_meta"
    lines = (meta / "lfw_pairs.txt").read_text().splitlines()
    chosen = [line for start in range(0, 1200, 300) for line in lines[start : start + 50]]
    (tmp_path / "pairs.txt").write_text("\n".join(chosen) + "\n")
    collection = LFW(real / "faces/lfw", pairs=tmp_path / "pairs.txt", points=meta / "lfw_index.csv")
    pictures = PairSet(collection, "pairs.txt", 112)
    file = str(real / "models/mobilefacenet_foamliu/mobilefacenet.pt")
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    recognizer = Judge(Encoder(MobileFaceNet(), 112, mean, std, name="mobilefacenet", weights=file), flip=False)
    z = embed_pairs(pictures, {"Real": None, "blur": Blur()}, recognizer.embed)
    bootstrap = Bootstrap(pictures.people.flatten(), 200)
    thresholds = fold_thresholds(distances(z["Real"], z["Real"], pictures), pictures, 0.02, bootstrap)
    scale = Scale(z["Real"], thresholds, 0.02, bootstrap)
    real_row, blurred = (score_pairs(z[name], pictures, scale) for name in ("Real", "blur"))
    record_property("lfw", f"TPR {real_row['TPR'].text()} -> {blurred['TPR'].text()}")
    assert real_row["accuracy"].value > 0.97 and real_row["TPR"].value > 0.97 and real_row["ID"].value > 0.95
    assert blurred["TPR"].value < 0.2 and blurred["ID"].value < 0.1 and blurred["accuracy"].value < 0.8
    assert blurred["TPR"].low <= blurred["TPR"].value <= blurred["TPR"].high
    assert real_row["TPR"].n == 100 and pictures.folds == 2


def test_the_configuration_builds_the_protocol(tiny_lfw: Path) -> None:
    folder = Path(__file__).resolve().parents[2] / "conf"
    content = OmegaConf.load(folder / "protocol/lfw.yaml")
    content.pop("defaults")
    merged = OmegaConf.merge(OmegaConf.load(folder / "protocol/rules.yaml"), content)
    merged.collection = OmegaConf.load(folder / "collection/lfw.yaml")
    merged.collection.root = str(tiny_lfw)
    merged.size = 64
    built = instantiate(merged)
    assert (built.size, built.far, built.view, len(built.collection.pairs())) == (64, 1e-3, "pairs.txt", 32)
