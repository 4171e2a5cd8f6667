"""Table 3 and figure 3 from the command line, of what ships."""

from __future__ import annotations

import json
from pathlib import Path

from tests.apps.conftest import Command
from tests.apps.test_evaluate import SMALL

RULES = ("protocol.far=0.01", "protocol.resamples=20", "protocol.anchors=16", "protocol.probes=1", "data.clips=0")


def test_the_experiment_works_alone(evaluate: Command) -> None:
    ended = evaluate("experiment=table3", "protocol.grid_faces=2", *SMALL, *RULES)
    assert ended.code == 0, ended.err
    path = Path(ended.out.splitlines()[-1])
    rows = json.loads(path.read_text())["rows"]
    assert [row["defense"] for row in rows][:3] == ["none", "uniform_noise", "uniform_noise_share47"]
    for name in ("table.md", "table.csv", "strip.png", "config.yaml"):
        assert (path.parent / name).is_file()
    ended = evaluate("experiment=table3", "protocol=noise_share", "protocol.shares=[0,1]", *SMALL, *RULES)
    assert ended.code == 0, ended.err
    path = Path(ended.out.splitlines()[-1])
    assert [row["metrics"]["share"]["value"] for row in json.loads(path.read_text())["rows"]] == [0.0, 1.0]
    assert (path.parent / "figure.png").is_file()
