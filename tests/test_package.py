"""The wheel and the sdist hold what they must, and run from outside the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anon.faces.alignment import template
from anon.faces.points import OURS
from tests.conftest import ROOT
from tests.video.scenes import frame_of


def run(*words: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, **options)  # type: ignore[call-overload, no-any-return]


def wheel_of(source: Path, place: Path) -> Path:
    """The wheel of a source tree or an sdist, built without a network."""
    done = run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", place, source)
    assert done.returncode == 0, done.stderr
    (built,) = place.glob("anon_faces-*.whl")
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheel_of(ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("sdist")
    done = run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", place, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    (built,) = place.glob("anon_faces-*.tar.gz")
    return built


def test_wheel_holds_configuration_and_weights(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for path in [*(ROOT / "conf").rglob("*.yaml"), *(ROOT / "anon" / "weights").glob("*.[jms]*")]:
        inside = path.relative_to(ROOT).as_posix().replace("conf/", "anon/conf/", 1)
        assert inside in names
    assert not any(name.startswith(("conf/", "tests/")) for name in names)


@pytest.mark.slow
def test_wheel_runs_from_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(site)}

    def here(*words: str) -> subprocess.CompletedProcess[str]:
        return run(sys.executable, *words, cwd=elsewhere, env=environment, timeout=120)

    where = here("-c", "import anon.apps.config as c; print(c.config_dir())")
    assert Path(where.stdout.strip()) == site / "anon" / "conf", where.stderr
    shown = here("-m", "anon.apps.train", "experiment=fiva", "--cfg", "job")
    assert shown.returncode == 0, shown.stderr
    assert "experiment: fiva" in shown.stdout
    refused = here("-m", "anon.apps.evaluate", "experiment=nope")
    assert refused.returncode == 2
    assert "nope" in refused.stderr.splitlines()[-1]


@pytest.mark.slow
def test_sdist_holds_what_git_does(sdist: Path, wheel: Path, tmp_path: Path) -> None:
    """All that is needed to test, document and build; the wheel that it makes is the checkout's."""
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    listed = run("git", "ls-files", cwd=ROOT)
    if listed.returncode == 0:
        left_out = {name for name in listed.stdout.splitlines() if (ROOT / name).is_file()} - names
        assert {name for name in left_out if not name.startswith(".")} == set()
    again = wheel_of(sdist, tmp_path)
    assert set(zipfile.ZipFile(again).namelist()) == set(zipfile.ZipFile(wheel).namelist())


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel; what it depends on is this one's, but for anon itself."""
    place = tmp_path_factory.mktemp("environment") / "venv"
    assert run(sys.executable, "-m", "venv", "--without-pip", place).returncode == 0
    own = Path(
        run(place / "bin" / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip()
    )
    done = run(
        sys.executable, "-m", "pip", "--python", place / "bin" / "python", "install", "--no-deps", "--no-index", wheel
    )
    assert done.returncode == 0, done.stderr
    others = dict.fromkeys((sysconfig.get_path("purelib"), sysconfig.get_path("platlib")))
    (own / "others.pth").write_text("\n".join(others))  # whose own .pth files, of an editable anon, are not read
    return place / "bin" / "anon"


@pytest.mark.slow
def test_the_four_commands_run_as_installed(installed: Path, tmp_path: Path) -> None:
    """Train, evaluate, anonymize and prepare, in an empty folder; the package is the wheel's, not the checkout's."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def anon(*words: str) -> str:
        done = run(installed, *words, cwd=tmp_path, env=environment, timeout=600)
        assert done.returncode == 0, done.stderr
        return done.stdout

    asked = "import anon, sys; print(anon.__file__)"
    where = run(installed.parent / "python", "-W", "ignore", "-c", asked, cwd=tmp_path, env=environment)
    assert Path(where.stdout.strip()).is_relative_to(installed.parent.parent), where.stderr
    people = "data.identities={train:12,background:12,attacker:6,evaluation:6}"
    small = (people, "data.images=6", "data.clips=0", "data.size=32", "logger=csv")
    assert "runs/train/fiva" in anon(
        "train", "experiment=fiva", "steps=2", "model.cooldown=0", "data.batch_size=4", *small
    )
    judged = (
        "judge=synthetic_b",
        "suite.far=0.05",
        "suite.resamples=20",
        "suite.anchors=16",
        "suite.grid_faces=2",
        "suite.max_eer=1",
    )
    told = anon("evaluate", "experiment=fiva", *small, *judged)
    assert Path(told.splitlines()[-1]).is_file() or (tmp_path / told.splitlines()[-1]).is_file()
    frame = frame_of([(3, 20, 20), (5, 140, 30)])[0]
    (tmp_path / "photos" / "Ann").mkdir(parents=True)
    Image.fromarray(frame.numpy()).save(tmp_path / "photo.png")
    assert "2 faces" in anon("anonymize", "input=photo.png", "output=anonymous.png")
    assert np.asarray(Image.open(tmp_path / "anonymous.png")).shape == frame.shape
    Image.fromarray(frame.numpy()[:110, 10:120]).save(tmp_path / "photos" / "Ann" / "1.png")
    points = ",".join(f"{value:.1f}" for value in template(64).add(20).flatten().tolist())
    head = ",".join(f"{point}_{axis}" for point in OURS for axis in "xy")
    (tmp_path / "points.csv").write_text(f"file,{head}\nAnn/1.png,{points}\n")
    anon("prepare", "--root", "photos", "--points", "points.csv", "--size", "64", "--out", "packed")
    assert (tmp_path / "packed").is_dir()
