"""The evaluate command: which checkpoint it takes, what it refuses, and the whole line from rendering to the tables."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from anon.apps import evaluate as evaluate_app
from anon.apps import train as train_app
from anon.apps.run_folders.folder import LAST
from anon.evaluation.document import read
from anon.faces.cache import cache_folder
from tests.apps.conftest import Command, folder_of
from tests.apps.launch.test_exit_codes import refused
from tests.conftest import ROOT

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
    refused(evaluate("experiment=facedancer", "suite=swap"), "python train.py experiment=facedancer")
    assert not (tmp_path / "runs").exists()


def test_a_word_for_the_cache_that_means_nothing(train: Command, evaluate: Command, tmp_path: Path) -> None:
    refused(evaluate("checkpoint=shipped:fiva", "cache=never"), "cache=never is none of on, off, refresh")
    refused(train("experiment=tiny", "cache=never"), "cache=never is none of on, off, refresh")
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_the_cache_is_switched_while_a_run_lasts(
    train: Command, evaluate: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is built inside sees it; the folder that takes the cache's place ends with the run."""
    seen: list[Path] = []
    for module, name in ((evaluate_app, "_evaluate"), (train_app, "_train")):
        monkeypatch.setattr(module, name, lambda *given: seen.append(cache_folder(tmp_path)))
    for word in ("off", "refresh", "on"):
        evaluate("checkpoint=shipped:fiva", f"cache={word}")
        train("experiment=tiny", f"cache={word}")
    assert len(seen) == 6 and tmp_path not in seen[:2] and set(seen[2:]) == {tmp_path}
    assert not any(path.exists() for path in seen[:2])


def test_a_part_that_ends_the_program(evaluate: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Exit code 0 without a table was a success for a script."""

    def ends(*given: object, **named: object) -> None:
        raise SystemExit(0)

    monkeypatch.setattr(evaluate_app.harness, "run", ends)
    ended = evaluate("checkpoint=shipped:fiva", *SMALL)
    refused(ended, "a part of this evaluation ended the program (exit code 0); there is no table.")
    assert not (tmp_path / "runs").exists()


def test_a_suite_that_measures_nothing(evaluate: Command, tmp_path: Path) -> None:
    refused(evaluate("suite=base"), "measures nothing by itself", "conf/suite")
    assert not (tmp_path / "runs").exists()


def test_names_that_mean_nothing(evaluate: Command, tmp_path: Path) -> None:
    given = ("checkpoint=shipped:fiva", *SMALL)
    refused(evaluate(*given, "suite.tables.table1.measures=[retrievel]"), "did you mean 'retrieval'")
    refused(evaluate(*given, "suite=swap", "suite.tables.table4=null"), "names no table")
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_wrong_checkpoints(train: Command, evaluate: Command, tmp_path: Path) -> None:
    refused(evaluate(f"checkpoint={tmp_path / 'absent.ckpt'}"), "there is no such file or folder")
    (tmp_path / "rubbish.ckpt").write_bytes(b"rubbish")
    refused(evaluate(f"checkpoint={tmp_path / 'rubbish.ckpt'}"), "not a checkpoint")
    foreign = folder_of(train("experiment=tiny")) / LAST
    refused(evaluate(f"checkpoint={foreign}"), "tests.apps.tiny.Tiny", "not loaded")
    assert not (tmp_path / "runs" / "evaluate").exists()


def test_nothing_was_measured(evaluate: Command, tmp_path: Path) -> None:
    """Every line of every table needs something: the results are there, and a script hears that they are none."""
    grid = "suite.tables.table1.grid=[{methods: [simswap], policies: [plain, itm]}]"
    ended = evaluate("suite=table1", *SMALL, grid, "suite.far=0.01", "suite.resamples=20")
    told = ended.err.splitlines()[-1]
    assert ended.code == 2
    assert told.startswith("error: no line of any table could be measured (needs python train.py experiment=simswap")
    (folder,) = (tmp_path / "runs" / "evaluate" / "table1").iterdir()
    assert all(line.needs for line in read(folder).lines)


RULES = ("suite.far=0.01", "suite.resamples=20", "suite.anchors=16", "data.clips=0", "suite.grid_faces=2")


def test_from_rendering_to_the_table(train: Command, evaluate: Command, tmp_path: Path) -> None:
    run = folder_of(train("experiment=fiva", "steps=2", "data.batch_size=4", *SMALL))
    measures = "suite.tables.table1.measures=[retrieval,distance,picture]"
    ended = evaluate("experiment=fiva", *SMALL, *RULES, measures)
    assert ended.code == 0, ended.err
    assert f"checkpoint {run / LAST}" in ended.out
    path = Path(ended.out.splitlines()[-1])
    assert path.name == "results.json"
    assert path.parent.parent == tmp_path / "runs" / "evaluate" / "fiva"
    results = read(path)
    shown = [(line.method, line.policy, line.defense) for line in results.lines if line.attack == "none"]
    assert shown[:4] == [("Real", "none", "none"), *(("FIVA", name, "none") for name in ("plain", "sampling", "itm"))]
    assert shown[4:] == [("FIVA", "itm", "jpeg"), ("FIVA", "itm", "resample")]
    assert results.judges["synthetic"].name == "synthetic_b"
    assert results.config["suite"]["methods"]["checkpoint"]["anonymizer"]["checkpoint"] == str(run / LAST)
    for name in ("table.md", "table.csv", "tables.tex", "report.html", "grid_table1.png", "config.yaml"):
        assert (path.parent / name).is_file()


@pytest.mark.slow
def test_an_output_of_ones_own(train: Command, evaluate: Command, tmp_path: Path) -> None:
    """It goes on with the same evaluation and is refused to another; every measure of table 1, clips too."""
    run = folder_of(train("experiment=fiva", "steps=2", "data.batch_size=4", *SMALL))
    first = evaluate("experiment=fiva", *SMALL, *RULES, "data.clips=1")
    assert first.code == 0, first.err
    path = Path(first.out.splitlines()[-1])
    there = (*SMALL, *RULES, "data.clips=1", f"output={path.parent}")
    again = evaluate("experiment=fiva", *there, f"checkpoint={run}")  # the same evaluation, by its run folder
    assert again.code == 0 and f"checkpoint {run / LAST}" in again.out and again.out.splitlines()[-1] == str(path)
    before = path.read_bytes()
    told = f"output={path.parent} holds another evaluation ("
    refused(evaluate("experiment=facedancer", *there, f"checkpoint={run}"), f"{told}experiment is fiva there")
    refused(evaluate("experiment=fiva", *there, "checkpoint=shipped:fiva"), f"{told}checkpoint is {run / LAST} there")
    refused(
        evaluate("experiment=fiva", *there, f"checkpoint={run}", "data.name=mine"), f"{told}data is synthetic there"
    )
    refused(evaluate("experiment=fiva", *SMALL, f"output={run}"), f"output={run} holds another run (task is train")
    assert path.read_bytes() == before

    same = ("experiment=fiva", *SMALL, *RULES, "judge=synthetic_a", f"output={tmp_path / 'here'}")
    refused(evaluate(*same), "encoder that FIVA was trained with")
    assert not (tmp_path / "here").exists()


@pytest.mark.slow
def test_an_output_of_any_name(evaluate: Command, tmp_path: Path) -> None:
    """140 letters, spaces and umlauts, from the command line to the report and back."""
    place = tmp_path / (("Größe und Übung " + "ä ö ü ß " * 20)[:139] + "é")
    assert len(place.name) == 140
    words = ("experiment=fiva", "checkpoint=shipped:fiva", *SMALL, "suite.resamples=20", "suite.far=0.01")
    words += ("data.clips=0", "suite.tables.robustness=null", f"output={place}")
    first = evaluate(*words)
    assert first.code == 0, first.err
    assert first.out.splitlines()[-1] == str(place / "results.json")
    figures = [line.metrics for line in read(place).lines]
    assert figures and {"report.html", "table.md", "tables.tex", "config.yaml"} <= {
        each.name for each in place.iterdir()
    }
    assert evaluate(*words).code == 0  # it goes on where it was
    assert [line.metrics for line in read(place).lines] == figures
    (place / "report.html").unlink()
    again = [sys.executable, "-m", "anon.evaluation.report", str(place)]
    assert subprocess.run(again, cwd=ROOT, capture_output=True).returncode == 0
    assert (place / "report.html").is_file() and [each.name for each in tmp_path.iterdir()] == [place.name]


def test_nothing_is_named_or_too_much(evaluate: Command, tmp_path: Path) -> None:
    """``evaluate.py`` alone took the newest FIVA; ``experiment=`` beside a table of methods was ignored."""
    refused(evaluate(), "experiment=<name>", "suite=<name>", "method=<choice>", "checkpoint=<file>")
    refused(evaluate("experiment=fiva", "suite=table1"), "experiment=fiva would do nothing here", "suite.tables")
    refused(evaluate("experiment=table1"), "there is no experiment named 'table1', but suite=table1 is one.")
    assert not (tmp_path / "runs").exists()
