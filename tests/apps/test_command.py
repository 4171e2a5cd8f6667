"""The command ``anon``: its help, its mistakes, and the completion of its words in a real shell."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import anon
from anon.apps import command
from anon.apps.completion import CONFIGURED
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--help"], 0, "anonymize   photographs and videos in"),
        (["anonymize", "--help"], 0, "usage: anon anonymize input="),
        (["identities", "p.store", "--help"], 0, "usage: anon identities <store> list"),
        (["train", "experiment=fiva", "-h"], 0, "usage: anon train experiment=<name>"),
        (["evaluate", "--help"], 0, "suite=all"),
        (["report", "--help"], 0, "usage: anon report <folder>"),
        (["compare", "--help"], 0, "usage: anon compare <run>"),
        (["zoo", "--help"], 0, "usage: anon zoo list"),
        (["zoo", "list", "nobody"], 2, "No shipped weights named 'nobody'"),
        (["ship", "--help"], 0, "usage: anon ship <run folder> <name>"),
        (["prepare", "--help"], 0, "usage: anon prepare "),
        (["export", "--help"], 0, "usage: anon export method=<choice>"),
        (["demo", "--help"], 0, "usage: anon demo [--port <number>]"),
        (["demo", "--port", "70000"], 2, "from 0 to 65535"),
        (["demo", "output=a.png"], 2, "it takes pictures from its page and keeps nothing"),
        (["--version"], 0, anon.__version__),
        (["nope"], 2, "anon knows anonymize, recover, identities, prepare, demo, train"),
        ([], 2, "usage: anon"),
        (["prepare"], 2, "see anon prepare --help"),
        (["report"], 2, "see anon report --help"),
        (["compare", "no/such/run"], 2, "no/such/run"),
        (["ship", "no/such/run", "mine"], 2, "there is no checkpoint at no/such/run"),
        (["-sc"], 2, "the shell is bash, zsh or fish"),
        (["-sc", "install=tcsh"], 2, "the shell is bash, zsh or fish"),
    ],
)
def test_answers(
    words: list[str], code: int, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["anon", *words])
    with pytest.raises(SystemExit) as ended:
        command.main()
    printed = capsys.readouterr()
    assert ended.value.code == code and told in printed.out + printed.err
    assert all(len(line) <= 120 for line in printed.out.splitlines())
    assert code == 0 or not words or len(printed.err.splitlines()) == 1


def test_help_names_every_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """One without its line in the help is one that nobody finds."""
    monkeypatch.setattr(sys, "argv", ["anon", "--help"])
    with pytest.raises(SystemExit):
        command.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line.startswith("  ")] == list(command.COMMANDS)
    modules = [ROOT / Path(*module.split(".")) for module, _ in command.COMMANDS.values()]
    assert all(module.with_suffix(".py").exists() for module in modules)
    assert set(CONFIGURED) <= set(command.COMMANDS) and all(
        (ROOT / "conf" / f"{name}.yaml").exists() for name in CONFIGURED
    )


def test_the_package_is_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["anon", "--version"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("anon", run_name="__main__")
    assert ended.value.code == 0 and capsys.readouterr().out.strip() == anon.__version__


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("anon ev", {"evaluate"}),
        ("anon train experiment=fi", {"experiment=fiva"}),
        *(
            pytest.param(typed, found, marks=pytest.mark.slow)
            for typed, found in (
                ("anon evaluate -m suite=ta", {f"suite=table{number}" for number in (1, 2, 3, 4)}),
                ("anon anonymize method=pix", {"method=pixel_noise", "method=pixelate"}),
                ("anon train experiment=nope judge=[a,b] trainer=d", {"trainer=ddp", "trainer=default"}),
                ("anon prepare --ro", set()),
            )
        ),
    ],
)
def test_bash_completes(typed: str, found: set[str], tmp_path: Path) -> None:
    """What Hydra's own function answers to a tab, with this ``anon`` on the path."""
    script = tmp_path / "anon"
    run = "import sys; from anon.apps.command import main; sys.argv[0] = 'anon'; main()"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -W ignore -c "{run}" "$@"\n')
    script.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    asks = (
        'eval "$(anon -sc install=bash)"\n'
        f"COMP_LINE='{typed}'; COMP_POINT={len(typed)}; COMP_WORDS=({typed}); COMP_CWORD={len(typed.split()) - 1}\n"
        'hydra_bash_completion; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", asks], env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert set(done.stdout.split()) == found, done.stderr
