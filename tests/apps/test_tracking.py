"""What W&B and TensorBoard hold of a training, resumed once, and of its evaluation, read back from their own files."""

from __future__ import annotations

import csv
import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from wandb.proto.wandb_internal_pb2 import Record

from anon.evaluation.document import read
from tests.apps.conftest import Command, folder_of

pytestmark = pytest.mark.slow

SMALL = ("experiment=fiva", "data.size=32", "data.images=6", "data.clips=0")
PEOPLE = "data.identities={train:12,background:12,attacker:6,evaluation:6}"
TRAINED = (
    "data.batch_size=4",
    "model.cooldown=0",
    "checkpoint_every=2",
    "callbacks.grids.every=2",
    "trainer.log_every_n_steps=1",
)
JUDGED = ("judge=synthetic_b", "suite.far=0.05", "suite.resamples=20", "suite.anchors=16", "suite.grid_faces=2")
TENSORBOARD = "+logger.tensorboard={_target_: anon.apps.loggers.tensorboard_logger, save_dir: '${run.dir}'}"
BLOCK, HEADER = 32768, 7  # bytes; of a W&B log, which has LevelDB's form


def records(file: Path) -> Iterator[Record]:
    """The records of a W&B log (github.com/google/leveldb, doc/log_format.md, after seven bytes of W&B's own)."""
    content, at, parts = file.read_bytes(), HEADER, b""
    while at + HEADER <= len(content):
        if BLOCK - at % BLOCK < HEADER:
            at += BLOCK - at % BLOCK  # no header begins so late in a block
            continue
        length, kind = struct.unpack_from("<HB", content, at + 4)
        parts += content[at + HEADER : at + HEADER + length]
        at += HEADER + length
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(parts)
            parts = b""


def logs(folder: Path, count: int) -> list[Path]:
    """The logs of the offline runs of a run folder, in the order in which they were begun, once they are whole."""
    for _ in range(300):
        found = sorted(folder.glob("wandb/offline-run-*/run-*.wandb"), key=lambda file: file.parent.name)
        if len(found) == count and all(any(each.HasField("exit") for each in records(file)) for file in found):
            return found
        time.sleep(0.1)
    raise AssertionError(f"W&B's process has not written {count} logs in {folder}")


def config_of(file: Path) -> dict[str, Any]:
    updates = [item for each in records(file) for item in (*each.run.config.update, *each.config.update)]
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in updates}


def history(file: Path) -> list[dict[str, Any]]:
    rows = [each.history.item for each in records(file) if each.HasField("history")]
    return [{item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in row} for row in rows]


def columns(folder: Path) -> set[str]:
    with open(folder / "metrics.csv", newline="") as file:
        return set(csv.DictReader(file).fieldnames or ()) - {"step"}


def test_a_training_that_was_resumed_and_its_evaluation(
    train: Command, evaluate: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    words = (*SMALL, PEOPLE, *TRAINED, "seed=3", "steps=4", TENSORBOARD)
    folder = folder_of(train(*words))
    assert folder_of(train("experiment=fiva", "ckpt_path=last", "steps=6")) == folder

    first, second = logs(folder, 2)
    (run,) = [each.run for each in records(first) if each.HasField("run")][:1]
    assert (run.run_id, run.run_group, run.job_type) == (folder.name, "fiva", "train")
    assert set(run.tags) == {"fiva", "default", "synthetic", "seed 3"}
    again = next(each.run.run_id for each in records(second) if each.HasField("run"))
    assert again == folder.name  # the same run goes on
    told = config_of(first)
    assert (told["seed"], told["steps"], told["data"]["batch_size"]) == (3, 4, 4)
    rows = [row for file in (first, second) for row in history(file)]
    names = {name for row in rows for name in row if not name.startswith("_") and name.split("/")[0] != "grid"}
    assert names - {"trainer/global_step"} == columns(folder)
    assert len(list(folder.glob("wandb/offline-run-*/files/media/images/grid_*.png"))) == 3

    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"images": 0, "scalars": 0})
    events.Reload()
    tags = events.Tags()
    assert set(tags["scalars"]) == columns(folder) and tags["images"] == ["grid"]
    assert [each.step for each in events.Images("grid")] == [1, 3, 5]
    assert "seed: 3" in events.Tensors("config/text_summary")[0].tensor_proto.string_val[0].decode()
    with open(folder / "metrics.csv", newline="") as file:
        losses = {int(row["step"]): float(row["train/pixel"]) for row in csv.DictReader(file) if row["train/pixel"]}
    drawn = {each.step: each.value for each in events.Scalars("train/pixel")}
    assert drawn == pytest.approx(losses)

    output = folder.parents[2] / "evaluated"
    judged = evaluate(*SMALL, PEOPLE, *JUDGED, "suite.max_eer=1", "logger=default", TENSORBOARD, f"output={output}")
    assert judged.code == 0, judged.err
    (log,) = logs(output, 1)
    document = read(output)
    line = next(each for each in document.lines if each.label == "FIVA + ITM")
    found = {item.key: item.value_json for each in records(log) for item in each.summary.update}
    assert json.loads(found["table1/FIVA + ITM/ID"]) == line.metrics["ID"].value
    (table,) = output.glob("wandb/offline-run-*/files/media/table/table1_*.table.json")
    assert any("FIVA" in row for row in json.loads(table.read_text())["data"])
    held = {entry.path for each in records(log) for entry in each.artifact.manifest.contents}
    held |= {entry.path for each in records(log) for entry in each.request.log_artifact.artifact.manifest.contents}
    wanted = {"report.html", "results.json", "table.csv", "table.md", "tables.tex", *document.pictures}
    assert document.pictures and wanted <= held
    events = EventAccumulator(str(output / "tensorboard"))
    events.Reload()
    assert events.Scalars("table1/FIVA + ITM/ID")[0].value == pytest.approx(line.metrics["ID"].value)
    assert {Path(name).stem for name in document.pictures} <= set(events.Tags()["images"])
    assert "table1/text_summary" in events.Tags()["tensors"]
