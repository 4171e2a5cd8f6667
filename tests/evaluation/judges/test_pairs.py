"""Figures of pairs: insightface's procedure recomputed, thresholds of the other folds, and real photographs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.interpolate import interp1d
from torch import nn
from torch.nn import functional as F

from anon.errors import UserError
from anon.evaluation.intervals.bootstrap import Bootstrap
from anon.evaluation.judges.pairs import (
    calibrated_pairs,
    check_pairs,
    fold_thresholds,
    pair_notes,
    scale_of,
    val_at_far,
)
from anon.evaluation.measures.pairs import score_pairs
from anon.faces.collections.pairs import PairFaces, Pairs
from anon.faces.collections.photographs.lfw import LFW
from anon.identity.encoder import Encoder
from anon.identity.judge import Judge
from anon.identity.networks.mobilefacenet import MobileFaceNet
from anon.identity.verification import kfold_accuracy


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


def at(distance: float) -> list[float]:
    """A unit vector at this cosine distance from (1, 0)."""
    cosine = 1.0 - distance
    return [cosine, (1.0 - cosine**2) ** 0.5]


def small() -> Pairs:
    """Two folds of two matched and two mismatched pairs; photographs 0 to 7 are the first ones, 8 to 15 the second."""
    people = torch.tensor([[0, 0], [1, 1], [2, 3], [4, 5], [6, 6], [7, 7], [8, 9], [10, 11]])
    return Pairs(torch.arange(8), torch.arange(8) + 8, people, torch.arange(8) // 4, "some.txt")


def seen(*apart: float) -> torch.Tensor:
    """(16, 2) embeddings whose pairs are so far apart."""
    return torch.tensor([[1.0, 0.0]] * 8 + [at(each) for each in apart], dtype=torch.float64)


UNCHANGED = (0.1, 0.2, 0.5, 0.8, 0.15, 0.3, 0.4, 0.9)  # two matched, two mismatched, twice


def test_figures_by_hand() -> None:
    """At FAR 1/2 each fold has the larger mismatched distance of the other: .9 and .8; of the changed ones .85 and .6.

    TPR: .1 of .1 and .95, .65 of .65 and .85. FPR: .2, .6 and .3 of the four. Own threshold: .1 < .85, .65 > .6.
    """
    pairs = small()
    scale = scale_of(pairs, seen(*UNCHANGED), 0.5, Bootstrap(pairs.people.flatten(), 50))
    assert scale.thresholds[0].tolist() == pytest.approx([0.9, 0.8])
    found = score_pairs(seen(0.1, 0.95, 0.2, 0.6, 0.65, 0.85, 0.3, 0.85), scale)
    assert {name: found[name].value for name in ("TPR", "FPR", "TPR_own")} == {"TPR": 0.5, "FPR": 0.75, "TPR_own": 0.25}
    assert (found["TPR"].n, found["accuracy"].n, found["accuracy_deviation"].n) == (4, 8, 2)


def test_the_judge_on_unchanged_pairs() -> None:
    """Mean threshold .85; .5 and .8 are below .9, and .4 is below .8: a FAR of 3/4. All matched are nearer."""
    pairs = small()
    scale = scale_of(pairs, seen(*UNCHANGED), 0.5, Bootstrap(pairs.people.flatten(), 50))
    found = calibrated_pairs(scale).found
    assert (found.threshold, found.far, found.eer, found.impostor_pairs) == (pytest.approx(0.85), 0.75, 0.0, 4)
    assert found.low is not None and found.low <= found.levels[0] <= found.levels[-1] <= (found.high or 0)
    told, limits, retrieval = pair_notes(scale, found, 16, {"given": 15, "detected": 0, "centre": 1})
    assert told.startswith("Pairs of some.txt: 4 matched and 4 mismatched in 2 folds, 12 people, 16 photographs")
    assert "15 given, 0 detected, 1 centre" in told
    assert ".850 on average (.800 to .900), FAR 0.75 on the pairs that it judges" in limits
    assert "4 second photographs of 4 people against 8 enrolled ones of 8 people" in retrieval
    shared = pairs._replace(people=pairs.people % 6)
    assert "share people" in pair_notes(scale._replace(pairs=shared), found, 16, {})[-1]


def test_folds_that_cannot_have_thresholds_are_refused() -> None:
    check_pairs(small(), 0.5)
    with pytest.raises(UserError, match=r"needs 3 mismatched pairs outside of the fold .* and some\.txt has 2"):
        check_pairs(small(), 0.4)
    with pytest.raises(UserError, match="one set of pairs"):
        check_pairs(small()._replace(fold=torch.zeros(8, dtype=torch.long)), 0.5)


class Blur(nn.Module):
    """Seven by seven means of a face, drawn smoothly."""

    def forward(self, images, **_):
        return F.interpolate(F.adaptive_avg_pool2d(images, 7), images.shape[-2:], mode="bilinear")


@pytest.mark.slow
def test_blur_on_real_photographs(real: Path, tmp_path: Path, record_property) -> None:
    """2 folds of 50 + 50 pairs of LFW: unchanged faces are verified, blurred ones are not."""
    meta = real / "faces/_meta"
    lines = (meta / "lfw_pairs.txt").read_text().splitlines()
    chosen = [line for start in range(0, 1200, 300) for line in lines[start : start + 50]]
    (tmp_path / "pairs.txt").write_text("\n".join(chosen) + "\n")
    collection = LFW(real / "faces/lfw", pairs=tmp_path / "pairs.txt", points=meta / "lfw_index.csv")
    faces = PairFaces(collection, "pairs.txt", 112)
    file = str(real / "models/mobilefacenet_foamliu/mobilefacenet.pt")
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    recognizer = Judge(Encoder(MobileFaceNet(), 112, mean, std, name="mobilefacenet", weights=file), flip=False)
    parts = [faces.__getitems__(part.tolist())["image"] for part in torch.arange(len(faces)).split(64)]
    unchanged, blurred = (
        torch.cat([recognizer.embed(change(part)) for part in parts]) for change in (nn.Identity(), Blur())
    )
    scale = scale_of(faces.pairs, unchanged, 0.02, Bootstrap(faces.labels, 200))
    before, after = score_pairs(unchanged, scale), score_pairs(blurred, scale)
    record_property("lfw", f"TPR {before['TPR'].text()} -> {after['TPR'].text()}")
    values = {name: (before[name].value or 0.0, after[name].value or 0.0) for name in ("TPR", "ID_pairs", "accuracy")}
    assert values["accuracy"][0] > 0.97 and values["TPR"][0] > 0.97 and values["ID_pairs"][0] > 0.95
    assert values["TPR"][1] < 0.2 and values["ID_pairs"][1] < 0.1 and values["accuracy"][1] < 0.8
    low, high = after["TPR"].low, after["TPR"].high
    assert low is not None and high is not None and low <= values["TPR"][1] <= high
    assert before["TPR"].n == 100 and faces.pairs.folds == 2
