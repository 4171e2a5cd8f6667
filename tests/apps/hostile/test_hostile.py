"""Files that bite, through every door: one sentence and exit code 2, no command run, in little memory and time.

The kind: what came with a file was taken for what the user said. A configuration was judged by how its names begin,
before its interpolations were resolved, and only in part; sizes were believed. Other instances than those reported:
names that hop through torch.nn or torch.optim, partials, environment variables, the configurations of run folders, a
list as a name, numbers that make a model or a data set of any size, escapes for the terminal in a sentence.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from anon.apps.launch.failures import guarded
from tests.apps.hostile.archives import CASES as ARCHIVES
from tests.apps.hostile.configurations import CASES as CONFIGURATIONS
from tests.apps.hostile.doors import DOORS
from tests.conftest import ROOT

CASES = {**CONFIGURATIONS, **ARCHIVES}
SECONDS, BYTES = 20, 2 * 1024**3
MEANT = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], capture_output=True, text=True, timeout=140)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss * 1024, done.returncode)
sys.stderr.write(done.stderr)
"""


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_file_is_one_sentence(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    case, canary = CASES[name], tmp_path / "canary"
    file = case.make(tmp_path, canary)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    begun, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    code = guarded(lambda: DOORS[case.door].call(file))
    told = capsys.readouterr().err
    assert code == 2 and case.word in told and told.startswith("error: ") and told.count("\n") == 1, told
    assert told.rstrip("\n").isprintable() and len(told) < 1100
    assert not canary.exists()
    assert time.monotonic() - begun < SECONDS
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < BYTES


def ended(words: list[str], folder: Path) -> tuple[float, float, int, str]:
    """Seconds of a core, bytes at most, exit code and the sentences of a command line, run in ``folder``'s sight."""
    paths = {"PYTHONPATH": f"{ROOT}:{folder}", "HYDRA_FULL_ERROR": "0"}
    given = [sys.executable, "-c", MEANT, *words, *([f"output={folder / 'out'}"] if "evaluate.py" in words else [])]
    done = subprocess.run(given, capture_output=True, text=True, cwd=ROOT, env={**os.environ, **paths}, timeout=150)
    seconds, memory, code = done.stdout.split()
    lines = [line for line in done.stderr.splitlines() if line.startswith(("error: ", "Traceback"))]
    return float(seconds), float(memory), int(code), " ".join(lines)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hop_to_a_file_beside", "data_in_ifsr"])
def test_from_the_command_line(name: str, tmp_path: Path) -> None:
    case, canary = CASES[name], tmp_path / "canary"
    _, memory, code, told = ended(DOORS[case.door].words(case.make(tmp_path, canary)), tmp_path)
    assert code == 2 and case.word in told and not canary.exists() and memory < BYTES


@pytest.mark.slow
def test_every_file_from_the_command_line(tmp_path: Path) -> None:
    """The table of all, printed (``pytest -s``): seconds, memory, exit code, sentence."""
    wrong = []
    for name, case in CASES.items():
        folder = tmp_path / name
        folder.mkdir()
        canary = folder / "canary"
        seconds, memory, code, told = ended(DOORS[case.door].words(case.make(folder, canary)), folder)
        bad = code != 2 or told.count("error: ") != 1 or canary.exists() or memory > BYTES or seconds > SECONDS
        wrong += [name] if bad else []
        print(f"{name:32} {seconds:5.1f} s {memory / 2**20:6.0f} MB rc {code} {told[:200]}", flush=True)
    assert not wrong
