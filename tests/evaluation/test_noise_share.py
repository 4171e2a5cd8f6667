"""Figure 3 on the tiny world: a generator that negates the picture, an attack that knows, and noise that stops it."""

from __future__ import annotations

import csv
import json

import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from torch import nn

from anon.errors import UserError
from anon.evaluation import noise_share
from anon.faces.detection.contract import Detections
from anon.identity.encoder import Encoder
from tests.evaluation.tiny_world import CONFIG, Data, Negative, Projection, judge

JUDGE = 0x5EED
SWEEP = {
    "_target_": "anon.evaluation.noise_share.NoiseShareProtocol",
    "probes": 2,
    "epsilon": 2.0,
    "shares": [1, 0, 0.5],
}
NEEDED = {"value": None, "low": None, "high": None, "reason": "needs metrics.detectors", "n": 0}


class Seeing(nn.Module):
    """A projection whose picture is a feature map."""

    dim = 32

    def __init__(self, seed):
        super().__init__()
        self.seen, self.projection = nn.Identity(), Projection(seed)

    def forward(self, x):
        return self.projection(self.seen(x))


def encoder(seed=0, layers=("seen",)):
    return Encoder(Seeing(seed), size=16, name="seeing", layers=layers)


class Detector:
    """Finds no face where a pixel is at the end of the range."""

    name, has_points = "detector", False

    def detect_batch(self, frames):
        return [self.detect(frame) for frame in frames]

    def detect(self, frame):
        count = int(not ((frame <= 8) | (frame >= 247)).any())
        return Detections(torch.zeros(count, 4), torch.zeros(count, 5, 2), torch.ones(count))


def config(seed=0, metrics=None, **protocol):
    given = {"_target_": "tests.evaluation.tiny_world.attack", "checkpoint": "-1", "seed": seed}
    rest = {"attack": given, "protocol": {**SWEEP, **protocol}, "metrics": metrics or {}}
    return OmegaConf.merge(OmegaConf.create(CONFIG), rest)


def evaluate(cfg, output, data=None, seen_by=None, seed=JUDGE):
    path = noise_share.run(Negative(), seen_by or encoder(), judge(seed), data or Data(), cfg, output)
    content = json.loads(path.read_text())
    return {row["defense"]: row["metrics"] for row in content["rows"]}, content


def test_the_more_noise_the_less_is_found(tmp_path, capsys):
    """Without noise the attack undoes everything, noise as large as the range on every pixel leaves it nothing."""
    rows, content = evaluate(config(adaptive="1"), tmp_path)
    assert [rows[f"uniform_noise {share}"]["share"]["value"] for share in ("0", "0.5", "1")] == [0.0, 0.5, 1.0]
    none, half, full = rows.values()
    assert none["RA"]["value"] == none["RA_rank1"]["value"] == 1.0 and none["RA_adaptive"]["value"] == 0.0
    assert none["ID"]["value"] == 0.0 and none["ID"]["n"] == 14  # two probes of seven people
    assert full["RA"]["value"] < half["RA"]["value"] < 1.0
    assert none["ssim"]["value"] > 0.99 > half["ssim"]["value"] > full["ssim"]["value"]
    assert (content["schema"], content["counts"]["probes"], content["counts"]["gallery"]) == (1, 14, 8)
    table = (tmp_path / "table.md").read_text()
    shown = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| **")]
    assert shown == ["**0%**", "**50%**", "**100%**"]
    assert "| .996" in table and "| .004" in table and "10 %" in table
    assert Image.open(tmp_path / "figure.png").size == (1320, 504)
    assert capsys.readouterr().out.strip().splitlines()[-1] == str(tmp_path / "results.json")


def test_what_noise_costs(tmp_path):
    """Features are the unit colours of each pixel, at most |-u - u|² = 4 apart; noise of the range hides the face."""
    detectors = {"detectors": {"own": {"_target_": "tests.evaluation.test_noise_share.Detector"}}}
    rows, content = evaluate(config(metrics=detectors), tmp_path)
    none, half, full = (rows[f"uniform_noise {share}"] for share in ("0", "0.5", "1"))
    assert none["feature_distance"]["value"] < 0.01 < half["feature_distance"]["value"]
    assert half["feature_distance"]["value"] < full["feature_distance"]["value"] < 4.0
    assert (none["detected"]["value"], full["detected"]["value"]) == (1.0, 0.0)
    assert full["detected"]["high"] == pytest.approx(1 - 0.025 ** (1 / 7))  # exact, of seven people
    assert content["counts"]["detected_unchanged"] == 1.0
    assert none["RA_adaptive"]["reason"] == "not trained"
    assert none["pose_error"]["value"] > 0 and none["pose_error"]["n"] == 14
    table = (tmp_path / "table.md").read_text()
    assert "feature_distance" in table and "seeing, the training encoder" in table and "finds 1.000" in table
    with (tmp_path / "table.csv").open(newline="") as file:
        lines = [line["defense"] for line in csv.DictReader(file) if line["metric"] == "ssim"]
    assert lines == ["uniform_noise 0", "uniform_noise 0.5", "uniform_noise 1"]


def test_what_cannot_be_measured_is_said(tmp_path):
    rows, _ = evaluate(config(), tmp_path, seen_by=encoder(layers=()))
    none = rows["uniform_noise 0"]
    assert none["detected"] == NEEDED
    assert "feature_distance" not in none and "feature_distance" not in (tmp_path / "table.md").read_text()


def test_the_estimator_of_rendered_faces_reads_no_photographs(tmp_path):
    rendered = {"attributes": {"_target_": "anon.attributes.regressor.AttributeRegressor"}}
    rows, _ = evaluate(config(metrics=rendered), tmp_path, data=Data(truth=False))
    assert "pose_error" not in rows["uniform_noise 0"]


def test_mistakes_are_told_before_anything_is_written(tmp_path):
    for shares, said in (([], "one share or more"), ([0.1, 0.1], "each once"), ([1.5], "share of between 0 and 1")):
        with pytest.raises(UserError, match=said):
            evaluate(config(shares=shares), tmp_path)
    with pytest.raises(UserError, match="attack=reconstruction"):
        cfg = OmegaConf.merge(OmegaConf.create(CONFIG), {"protocol": SWEEP})
        noise_share.run(Negative(), encoder(), judge(1), Data(), cfg, tmp_path)
    with pytest.raises(UserError, match="trained with the judge"):
        evaluate(config(seed=7), tmp_path, seed=7)
    with pytest.raises(UserError, match="policy=itm"):
        cfg = config()
        cfg.policy = CONFIG["policy"]["policy"]  # type: ignore[index]
        evaluate(cfg, tmp_path)
    assert not list(tmp_path.iterdir())
