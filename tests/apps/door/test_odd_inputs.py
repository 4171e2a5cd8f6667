"""Odd inputs of every command: a right result, or a sentence and exit code 2; never a traceback.

The kinds: names that are not ASCII, whatever the locale; paths with characters that Hydra's grammar gives a meaning to;
values at their limits; directories for files, loops of links, empty files, places that cannot be written.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from PIL import Image

from anon.apps import ifsr, ship
from anon.apps.door.words import readable
from anon.commands import Parser, ended, number, path, whole
from anon.evaluation.compare.__main__ import main as compare
from anon.evaluation.report.__main__ import main as report
from anon.faces.prepare.__main__ import main as prepare
from anon.faces.splits import split_of
from anon.faces.synthetic.__main__ import main as sheet
from anon.identity.onnx import main as onnx
from tests.apps.conftest import Command
from tests.apps.test_evaluate import SMALL
from tests.conftest import ROOT

#: Strange, and every one a name that a folder can have.
NAMES = [
    *("Zoë Müller", "日本語", "🙂 faces", "\u202e\u05dc\u05d0\u05d9\u05e8\u202c", "a=b", "a,b", "a#b", "a{b}", "a[b]"),
    *("a(b)", "it's", 'say "x"', "two\nlines", "tab\there", "~tilde", "$HOME", "a:b", "a&b;c", "a*b?", "%41"),
    *("trailing\\", "-dash", "null", "42"),
]


def spelled(key: str, value: str) -> str:
    """As the documentation says: quotes where the value holds what Hydra gives a meaning to."""
    if set(value) & set("[]{}(),'\"") or value in ("null", "42"):
        value = value.replace('"', '\\"')
        return f'{key}="{value}"'
    return f"{key}={value}"


@pytest.mark.parametrize("name", NAMES)
def test_runs_in_folders_of_any_name(train: Command, tmp_path: Path, name: str) -> None:
    """A correct result: the run's folder is where it was asked for. Unquoted, 15 of the 24 are no words of Hydra's."""
    if name in ("null", "42"):
        ended = train("experiment=tiny", f"paths.runs={name}")
        assert ended.code == 2 and "must be a text" in ended.err
    shelf = tmp_path / name / "runs"
    assert folder_of_name(train("experiment=tiny", "steps=2", spelled("paths.runs", str(shelf))), shelf).is_dir()


def folder_of_name(run: object, shelf: Path) -> Path:
    code, _, err = run  # type: ignore[misc]
    assert code == 0, err
    (folder,) = (shelf / "train" / "tiny").iterdir()
    assert (folder / "checkpoints" / "last.ckpt").is_file() and (folder / "config.yaml").is_file()
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "locale",
    [
        {"LC_ALL": "C"},
        {"LC_ALL": "POSIX"},
        {"LC_ALL": "C", "PYTHONUTF8": "0"},
    ],
)
def test_names_in_any_locale(tmp_path: Path, locale: dict[str, str]) -> None:
    """Old code, LC_ALL=C PYTHONUTF8=0: UnicodeEncodeError, 'ascii' codec can't encode characters."""
    shelf = tmp_path / "Zoë 日本"
    # Without the coercion of PEP 538, which a shell's LC_ALL=C does not have either.
    environment = {**os.environ, **locale, "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": str(ROOT), "HYDRA_FULL_ERROR": "0"}
    words = ["--config-dir", str(ROOT / "tests" / "apps" / "conf"), "experiment=tiny", "steps=2", f"paths.runs={shelf}"]
    done = subprocess.run([sys.executable, "train.py", *words], cwd=ROOT, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    assert str(shelf) in done.stdout.decode("utf-8")
    (folder,) = (shelf / "train" / "tiny").iterdir()
    assert yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))["paths"]["runs"] == str(shelf)
    assert str(shelf) in (folder / "command.txt").read_text(encoding="utf-8")


def test_bytes_that_are_no_text(train: Command) -> None:
    ended = train("experiment=tiny", "paths.runs=caf\udce9")
    assert ended.code == 2 and "not UTF-8 text" in ended.err


def test_what_is_left_to_hydra() -> None:
    words = [
        "-m",
        "--config-dir",
        "a=~b",
        "seed=0,1",
        "model.betas=[0.5,0.9]",
        "a={b: 1}",
        "x='a b'",
        "n=null",
        "k=1e-3",
    ]
    assert readable(words) == words
    assert readable(["data.root=~/x"])[0] == f'data.root="{Path.home()}/x"'


@pytest.fixture
def places(tmp_path: Path) -> dict[str, str]:
    """Inputs that are none of what they should be."""
    (tmp_path / "empty").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    (tmp_path / "zeros").write_bytes(b"\0" * 4096)
    (tmp_path / "text").write_text("a,b\n\ud83d\n".encode("utf-8", "replace").decode(), encoding="utf-8")
    (tmp_path / "late.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    names = ("empty", "folder", "loop", "dangling", "zeros", "text", "late.png")
    found = {name: str(tmp_path / name) for name in names}
    return found | {"gone": str(tmp_path / "no" / "such"), "long": "/" + "x" * 300, "device": "/dev/null"}


def faces(root: Path) -> Path:
    for person in ("Zoë", "日本", "🙂", "a b"):
        (root / person).mkdir(parents=True)
        for number_ in range(2):
            Image.new("RGB", (64, 64), (40 * number_, 90, 90)).save(root / person / f"{number_} é.jpg")
    return root


def tried(name: str, run: Callable[[], int], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 with one sentence."""
    capsys.readouterr()
    code, shown = run(), capsys.readouterr()
    lines = shown.err.strip().splitlines()
    assert code == 2 and lines and lines[-1].startswith("error: "), (name, code, shown.err[-300:])
    assert "Traceback" not in shown.err, name


def test_odd_inputs(
    tmp_path: Path, places: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all commands that take paths; the count is printed."""
    monkeypatch.chdir(tmp_path)
    root, out, count = faces(tmp_path / "photos"), str(tmp_path / "out"), 0
    for what, place in places.items():
        runs = {
            "ship": lambda place=place: ship.command([place, "name"]),
            "ifsr": lambda place=place: ifsr.command([place]),
            "compare": lambda place=place: compare([place]),
            "report": lambda place=place: report([place]),
            "onnx": lambda place=place: onnx([place]),
            "prepare --root": lambda place=place: prepare(["--root", place, "--points", place, "--out", out]),
            "prepare --points": lambda place=place: prepare(["--root", str(root), "--points", place, "--out", out]),
        }
        for command, run in runs.items():
            tried(f"{command} {what}", run, capsys)
            count += 1
    for words in (
        [*("--size", "abc"), *("--out", out)],
        [*("--size", "-1"), *("--out", out)],
        [*("--workers", "0"), *("--out", out)],
        [*("--workers", "99999"), *("--out", out)],
        [*("--timeout", "nan"), *("--out", out)],
        [*("--memory", "inf"), *("--out", out)],
        [*("--codec", "gif"), *("--out", out)],
        [*("--min-size", "nan"), *("--points", str(tmp_path / "text")), *("--out", out)],
        [*("--collection", "nope"), *("--out", out)],
        [*("--detector", "nope"), *("--out", out)],
        [],
        ["--nothing"],
    ):
        tried(f"prepare {words}", lambda words=words: prepare(["--root", str(root), *words]), capsys)
        count += 1
    for target in ("/proc/x.png", str(tmp_path / "folder"), "/no/such/place.png", "x.jpg"):
        tried(f"sheet {target}", lambda target=target: sheet([target]), capsys)
        count += 1
    for command in (ship.command, ifsr.command, compare, report, onnx):
        tried(f"{command} without words", lambda command=command: command([]), capsys)
        count += 1
    print(f"\n{count} odd inputs of the modules: a sentence and exit code 2 each; {len(NAMES)} names: a right result")
    assert count >= 60


def test_arguments_are_numbers_in_their_range() -> None:
    parser = Parser(prog="x")
    parser.add_argument("--count", type=whole(1, 8))
    parser.add_argument("--share", type=number(0, 1))
    parser.add_argument("--file", type=path)
    given = parser.parse_args(["--count", "8", "--share", "0.5", "--file", "~"])
    assert (given.count, given.share, given.file) == (8, 0.5, Path.home())
    wrong = [["--count", "0"], ["--count", "1.5"], ["--share", "nan"], ["--share", "2"], ["--file", "~nobody_here/x"]]
    for words in wrong:
        assert ended(lambda words=words: parser.parse_args(words)) == 2


@pytest.mark.slow
def test_odd_places_for_the_scripts(train: Command, evaluate: Command, tmp_path: Path, places: dict[str, str]) -> None:
    count = 0
    for what, place in places.items():
        for words in (
            ["data=folder", f"data.root={place}"],
            ["data=packed", f"data.root={place}"],
            [*SMALL, f"ckpt_path={place}"],
        ):
            ended_ = train("experiment=fiva", *words)
            assert ended_.code == 2 and len(ended_.err.strip().splitlines()) == 1, (what, words, ended_)
            count += 1
        ended_ = evaluate("experiment=fiva", *SMALL, f"checkpoint={place}")
        assert ended_.code == 2 and len(ended_.err.strip().splitlines()) == 1, (what, ended_)
        count += 1
    assert not list((tmp_path / "runs").rglob("*"))
    print(f"\n{count} odd places for train.py and evaluate.py: a sentence and exit code 2 each, no run folder")


def test_one_person_in_a_folder(train: Command, tmp_path: Path) -> None:
    """Old code trained on it. Whoever is alone is in one split, here in that for training."""
    names = (f"person {number_}" for number_ in range(1000))
    alone = next(name for name in names if split_of(name) == "train")
    (tmp_path / "faces" / alone).mkdir(parents=True)
    for number_ in range(4):
        Image.new("RGB", (64, 64), (40 * number_, 90, 90)).save(tmp_path / "faces" / alone / f"{number_}.jpg")
    given = ("data=folder", f"data.root={tmp_path / 'faces'}", "data.batch_size=2", "logger=csv", "steps=1")
    ended_ = train("experiment=fiva", *given)
    assert ended_.code == 2 and "two people or more" in ended_.err.strip().splitlines()[-1]
    assert not (tmp_path / "runs").exists()


def test_braces_that_the_shell_took_apart(train: Command, tmp_path: Path) -> None:
    """bash makes two words of data.identities={train:4,background:4}."""
    ended = train("experiment=tiny", "data.identities=train:4", "data.identities=background:4")
    told = "error: the shell took the braces of data.identities apart; quote it: 'data.identities={train:4, ...}'."
    assert (ended.code, ended.err.strip()) == (2, told)
    assert readable(["checkpoint=shipped:fiva", "checkpoint=shipped:fiva"])  # the last of two counts, as Hydra has it
