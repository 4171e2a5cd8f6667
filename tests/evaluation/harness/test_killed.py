"""SIGKILL at random moments, and the same command again: the same results but for when they were made."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hydra.utils import instantiate

from anon.apps.config import composed
from anon.faces.splits import SPLITS

ROOT = Path(__file__).parents[3]
WORDS = (
    "suite=table1",
    "data.identities={train: 12, background: 12, attacker: 4, evaluation: 6}",
    "data.images=6",
    "data.clips.evaluation=1",
    "data.size=32",
    "suite.far=0.01",
    "suite.resamples=20",
    "suite.anchors=16",
    "suite.grid_faces=2",
    "logger=csv",
)
GRID = (
    "suite.tables.table1.grid=[{methods: [real, pixelate, pixel_noise]},"
    "{methods: [fiva], policies: [sampling, itm], defenses: [none, uniform_noise], attacks: [none, reconstruction]}]"
)


ONE = ("judge=synthetic_b",)  # of the short loop; the long one has the panel


def start(folder: Path, output: str, words: tuple[str, ...] = ()) -> subprocess.Popen:
    caches = [f"paths.cache={folder / 'cache'}", f"data.cache={folder.parent / 'faces'}"]
    command = [sys.executable, str(ROOT / "evaluate.py"), *WORDS, *words, GRID, *caches, f"output={folder / output}"]
    environment = {**os.environ, "WANDB_MODE": "disabled", "OMP_NUM_THREADS": "1"}
    folder.mkdir(parents=True, exist_ok=True)
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def render_faces(folder: Path) -> None:
    """What every run needs, so that the length of one is that of its evaluation."""
    data = instantiate(composed("evaluate", [*WORDS, f"data.cache={folder}"]).data)
    for split in SPLITS:
        data.faces(split)


def finish(folder: Path, output: str, words: tuple[str, ...] = ()) -> dict:
    process = start(folder, output, words)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said[-2000:]
    content = json.loads((folder / output / "results.json").read_text())
    content.pop("made")
    return content


@pytest.mark.slow
@pytest.mark.parametrize("kills", [1, 10])
def test_killed_and_started_again(tmp_path: Path, kills: int) -> None:
    words = ONE if kills == 1 else ()
    render_faces(tmp_path / "faces")
    began = time.monotonic()
    unbroken = finish(tmp_path / "unbroken", "out", words)
    length = time.monotonic() - began
    chance = random.Random(kills)
    broken = tmp_path / "broken"
    left: list[int] = []
    for _ in range(kills):
        process = start(broken, "out", words)
        time.sleep(chance.uniform(0.3, 0.95) * length)
        while not left and process.poll() is None and not any((broken / "cache").rglob("*.safetensors")):
            time.sleep(0.02)  # imports are a large share of so small an evaluation
        process.kill()
        process.communicate()
        left.append(len(list((broken / "cache").rglob("*.safetensors"))))
        damaged = broken / "out" / "results.json"
        if damaged.is_file():
            json.loads(damaged.read_text())  # a whole file or none
    assert left == sorted(left) and left[0] > 0  # what was made before stays
    again = finish(broken, "out", words)
    assert json.dumps(again) == json.dumps(unbroken)
    assert len(list((tmp_path / "unbroken" / "cache").rglob("*.safetensors"))) == len(
        list((broken / "cache").rglob("*.safetensors"))
    )
