"""The wheel holds the configuration and the weights, and runs from outside the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("wheel")
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "-q",
        "-w",
        str(place),
        str(ROOT),
    ]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (built,) = place.glob("anon_faces-*.whl")
    return built


def test_wheel_holds_configuration_and_weights(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for path in [*(ROOT / "conf").rglob("*.yaml"), *(ROOT / "anon" / "weights").glob("*.[jms]*")]:
        inside = path.relative_to(ROOT).as_posix().replace("conf/", "anon/conf/", 1)
        assert inside in names
    assert not any(name.startswith(("conf/", "tests/")) for name in names)


def test_wheel_runs_from_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(site)}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *words], cwd=elsewhere, env=environment, capture_output=True, text=True, timeout=120
        )

    where = run("-c", "import anon.apps.config as c; print(c.config_dir())")
    assert Path(where.stdout.strip()) == site / "anon" / "conf", where.stderr
    shown = run("-m", "anon.apps.train", "experiment=fiva", "--cfg", "job")
    assert shown.returncode == 0, shown.stderr
    assert "experiment: fiva" in shown.stdout
    refused = run("-m", "anon.apps.evaluate", "experiment=nope")
    assert refused.returncode == 2
    assert "nope" in refused.stderr.splitlines()[-1]
