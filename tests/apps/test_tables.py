"""Tables and figures from the command line, of what ships."""

from __future__ import annotations

import json
from pathlib import Path

from anon.evaluation.document import read
from tests.apps.conftest import Command
from tests.apps.test_evaluate import SMALL

RULES = ("protocol.far=0.01", "protocol.resamples=20", "protocol.anchors=16", "data.clips=0")


def test_defenses_need_no_checkpoint_to_be_named(evaluate: Command) -> None:
    few = (
        "protocol.few=1",
        "protocol.grid_faces=2",
        "protocol.tables.table3.grid.0.defenses=[none,fgsm,parameter_noise]",
    )
    ended = evaluate("experiment=table3", *few, *SMALL, *RULES)
    assert ended.code == 0, ended.err
    found = read(Path(ended.out.splitlines()[-1]))
    naive = [line for line in found.lines if line.attack == "reconstruction"]
    assert [line.defense for line in naive] == ["none", "fgsm", "parameter_noise"]
    assert all(line.metrics["RA"].n == 6 for line in naive)  # one probe of six people
    adaptive = {line.defense: str(line.needs) for line in found.lines if line.attack == "adaptive"}
    assert adaptive.pop("none") == "n/a (no defense to adapt to)"
    assert adaptive and all("attack=ladder" in needs for needs in adaptive.values())
    assert list(found.pictures) == ["grid_table3.png"]


def test_the_share_of_noise(evaluate: Command) -> None:
    ended = evaluate("experiment=noise_share", "protocol.shares=[0,1]", "protocol.probes=1", *SMALL, *RULES)
    assert ended.code == 0, ended.err
    path = Path(ended.out.splitlines()[-1])
    assert [row["metrics"]["share"]["value"] for row in json.loads(path.read_text())["rows"]] == [0.0, 1.0]
    for name in ("table.md", "table.csv", "figure.png", "config.yaml"):
        assert (path.parent / name).is_file()


def test_swaps(evaluate: Command) -> None:
    ended = evaluate("experiment=facedancer", "checkpoint=shipped:facedancer", "protocol=swap", *SMALL, *RULES)
    assert ended.code == 0, ended.err
    (line,) = read(Path(ended.out.splitlines()[-1])).lines
    assert (line.method, line.policy) == ("FaceDancer", "source") and line.metrics["swap_ID"].n == 18
