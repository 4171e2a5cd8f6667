"""The evaluate command: which checkpoint it takes, what it refuses, and the whole line from rendering to the table."""

from __future__ import annotations

import json
from pathlib import Path

from anon.apps.runs import LAST
from tests.apps.conftest import Command, folder_of
from tests.apps.test_exit_codes import refused

SMALL = (
    "data.identities={train: 12, background: 12, attacker: 4, evaluation: 6}",
    "data.images=6",
    "data.size=32",
    "logger=csv",
)


def test_unknown_experiment_lists_the_known(evaluate: Command, tmp_path: Path) -> None:
    refused(evaluate("experiment=nope"), "no experiment named 'nope'", "fiva", "recognizer")
    assert not (tmp_path / "runs").exists()


def test_nothing_trained_yet(evaluate: Command, tmp_path: Path) -> None:
    refused(evaluate("experiment=fiva"), "python train.py experiment=fiva")
    assert not (tmp_path / "runs").exists()


def test_wrong_checkpoints(train: Command, evaluate: Command, tmp_path: Path) -> None:
    refused(evaluate(f"checkpoint={tmp_path / 'absent.ckpt'}"), "no checkpoint at")
    (tmp_path / "rubbish.ckpt").write_bytes(b"rubbish")
    refused(evaluate(f"checkpoint={tmp_path / 'rubbish.ckpt'}"), "not a checkpoint")
    foreign = folder_of(train("experiment=tiny")) / LAST
    refused(evaluate(f"checkpoint={foreign}"), "tests.apps.tiny.Tiny", "not loaded")
    assert not (tmp_path / "runs" / "evaluate").exists()


def test_from_rendering_to_the_table(train: Command, evaluate: Command, tmp_path: Path) -> None:
    run = folder_of(train("experiment=fiva", "steps=2", "data.batch_size=4", *SMALL))
    rules = (
        "protocol.far=0.01",
        "protocol.resamples=20",
        "protocol.anchors=16",
        "data.clips=1",
        "protocol.grid_faces=2",
    )
    ended = evaluate("experiment=fiva", *SMALL, *rules)
    assert ended.code == 0, ended.err
    assert f"checkpoint {run / LAST}" in ended.out
    path = Path(ended.out.splitlines()[-1])
    assert path.name == "results.json"
    assert path.parent.parent == tmp_path / "runs" / "evaluate" / "fiva"
    results = json.loads(path.read_text())
    assert [row["method"] for row in results["rows"]] == ["Real", "FIVA", "FIVA + Sampling", "FIVA + ITM"]
    assert results["judge"] == "synthetic_b"
    for name in ("table.md", "table.csv", "grid.png", "config.yaml"):
        assert (path.parent / name).is_file()
    same = ("experiment=fiva", *SMALL, *rules, "judge=synthetic_a", f"output={tmp_path / 'here'}")
    refused(evaluate(*same), "encoder that the generator was trained with")
    assert not (tmp_path / "here").exists()
