"""The swap benchmark on the tiny world: a perfect swapper, one that changes nothing, and the opposite sign."""

from __future__ import annotations

import json

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from anon.errors import UserError
from anon.evaluation.protocol import halves
from anon.evaluation.swap import SwapProtocol, cost, pairs, run
from anon.generators.contract import Redrawn
from tests.evaluation.test_table1 import CONFIG
from tests.evaluation.tiny_world import Data, People, encoder, judge


class Perfect(nn.Module):
    """Draws the person whose embedding it gets: the training pattern nearest to z."""

    steers = 1

    def __init__(self, faces: People) -> None:
        super().__init__()
        self.faces, self.z = faces, encoder(0)(faces.images).z

    def forward(self, target, z):
        return Redrawn(self.faces.images[(z @ self.z.T).argmax(1)], None)


class Nothing(nn.Module):
    steers = 1

    def forward(self, target, z):
        return Redrawn(target.clone(), None)


def config():
    return OmegaConf.merge(
        OmegaConf.create(CONFIG),
        {"protocol": {"_target_": "anon.evaluation.swap.SwapProtocol", "targets": 12, "timed": 3}},
    )


def figures(path, method):
    rows = {row["method"]: row["metrics"] for row in json.loads(path.read_text())["rows"]}
    return {name: figure["value"] for name, figure in rows[method].items()}


def test_a_perfect_swapper(tmp_path, capsys):
    data = Data()
    path = run(Perfect(data.faces("evaluation")), encoder(0), judge(1), data, config(), tmp_path, name="Perfect")
    found = figures(path, "Perfect")
    assert found["ID"] == 1.0 and found["ID_target"] == 0.0 and found["cosine_source"] > 0.9
    assert found["ID_opposite"] < 0.5  # drawn for -z, the nearest pattern is somebody else's
    assert found["pose"] > 0 and found["FID_projection-1"] >= 0 and found["ms"] > 0
    real = figures(path, "Real")
    assert real["ID"] == 0.0 and real["ID_target"] == 1.0
    text = (tmp_path / "table.md").read_text()
    assert ("*paper: FIVA*" in text and ".993" in text) or ".992" in text
    assert (tmp_path / "grid.png").is_file()
    assert capsys.readouterr().out.strip().splitlines()[-1] == str(path)


def test_one_that_changes_nothing(tmp_path):
    data = Data()
    path = run(Nothing(), encoder(0), judge(1), data, config(), tmp_path, name="Nothing")
    found = figures(path, "Nothing")
    assert (found["ID"], found["ID_target"], found["pose"]) == (0.0, 1.0, 0.0)
    assert found["FID_projection-1"] == pytest.approx(0.0, abs=1e-3)


def test_sources_are_other_people_and_not_enrolled():
    faces = People("evaluation", 8)
    half = halves(faces)
    targets, sources = pairs(faces, half.probe, 10, seed=3)
    assert len(targets) == len(sources) == 10
    assert not bool((faces.labels[targets] == faces.labels[sources]).any())
    assert set(sources.tolist()) <= set(half.probe.tolist()) and not set(sources.tolist()) & set(half.enrol.tolist())
    again = pairs(faces, half.probe, 10, seed=3)
    assert torch.equal(targets, again[0]) and torch.equal(sources, again[1])
    with pytest.raises(UserError, match="two people"):
        pairs(faces, half.probe[faces.labels[half.probe] == 0], 10, seed=3)


def test_cost_has_no_memory_on_a_cpu():
    found = cost(Nothing(), torch.zeros(1, 3, 16, 16), encoder(0), 4)
    assert found["peak_MiB"].reason == "n/a (no GPU)" and found["ms"].n == 4
    assert 0 < found["ms"].low <= found["ms"].value <= found["ms"].high


def test_missing_inception_is_named(tmp_path):
    changed = OmegaConf.merge(config(), {"protocol": {"inception": str(tmp_path / "none.pth")}})
    with pytest.raises(UserError, match=r"protocol\.inception"):
        run(Nothing(), encoder(0), judge(1), Data(), changed, tmp_path)
    assert SwapProtocol().inception is None
