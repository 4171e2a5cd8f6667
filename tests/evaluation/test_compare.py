"""Runs side by side: what differs, the curves, the figures."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from anon.errors import UserError
from anon.evaluation.compare import Better, compare, found
from anon.evaluation.compare.__main__ import main
from anon.evaluation.compare.evaluations import evaluations
from anon.evaluation.compare.metrics import metrics
from anon.evaluation.compare.plots import averaged, curves
from anon.evaluation.compare.runs import Run, named
from anon.evaluation.compare.tables import by_settings, settings, versions
from anon.evaluation.document import Column, Document, Line, People, Recognizer, Table, as_json
from anon.evaluation.document.estimates import Estimate, significant
from tests.browser import browser, heard
from tests.evaluation.described import METRICS
from tests.evaluation.report.made_up import png

__all__ = ["browser"]  # a fixture

STARTED = "2026-01-02 03:04:05"


def trained(folder: Path, lr: float = 0.1, rows: str = "", steps: int = 40, commit: str = "a" * 40) -> Path:
    """A run folder as train.py leaves it; its metrics are ``rows`` of val/l1, train/pixel, step."""
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "last.ckpt").touch()
    config: dict[str, Any] = {
        "task": "train",
        "experiment": "fiva",
        "steps": steps,
        "seed": 0,
        "run": {"dir": str(folder), "resumed_at": None},
        "paths": {"runs": str(folder.parent)},
        "model": {"lr": lr, "steps": steps, "betas": [0.5, 0.99]},
        "objective": {"terms": {"pixel": {"weight": 8.0}}},
        "callbacks": {"checkpoint": {"path": f"{folder}/checkpoints/last.ckpt"}, "stop": {"steps": steps}},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "versions.json").write_text(json.dumps({"commit": commit, "torch": "2.13.0"}))
    (folder / "command.txt").write_text(f"{STARTED} python train.py experiment=fiva\n")
    text = rows or "0.5,,9\n,8.0,9\n0.25,2.0,19\n0.375,4.0,39\n"
    (folder / "metrics.csv").write_text(f"val/l1,train/pixel,step\n{text}")
    for path in (folder / "metrics.csv", folder / "checkpoints" / "last.ckpt"):
        os.utime(path, (time.mktime(time.strptime(STARTED, "%Y-%m-%d %H:%M:%S")) + 3725,) * 2)
    return folder


def document(value: float, half: float = 0.1, seed: int = 0, threshold: float = 0.4, identities: int = 8) -> Document:
    figure = Estimate(value, value - half, value + half, n=64)
    return Document(
        title="made up",
        seed=seed,
        lines=(
            Line("faces", "FIVA", "itm", metrics={"ID": figure, "psnr": Estimate(20.0)}),
            Line("faces", "Blur", metrics={"ID": Estimate(0.5, 0.4, 0.6, n=64)}),
            Line("faces", "SimSwap", needs="not trained: python train.py experiment=simswap"),
        ),
        tables=(Table("table1", "Table 1", (Column("ID", "ID"),), (0, 1, 2)),),
        judges={"faces": Recognizer("judge", "cosine", threshold, 0.001, 0.001, 1000, 0.01)},
        people={"faces": People("faces", "evaluation", identities, 64, 8, 0, 100, True)},
        metrics=METRICS,
        made={"seconds": 61.0},
    )


def evaluated(folder: Path, content: Document) -> Path:
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(as_json(content))
    (folder / "config.yaml").write_text(yaml.safe_dump({"task": "evaluate", "experiment": "all"}))
    return folder


def cells(rows: Any) -> dict[str, list[str]]:
    return {label: [cell.value for cell in row] for label, row in rows}


def test_what_a_folder_tells(tmp_path: Path) -> None:
    (run,) = found([trained(tmp_path / "a")])
    assert (run.task, run.experiment, run.steps, run.wanted, run.state) == ("train", "fiva", 40, 40, "finished")
    assert (run.seconds, run.resumed, run.commit) == (3725.0, 0, "a" * 40)
    assert run.metrics["val/l1"].steps == (10, 20, 40) and run.metrics["val/l1"].values == (0.5, 0.25, 0.375)
    assert run.metrics["train/pixel"].values == (8.0, 2.0, 4.0)


def test_settings_that_differ(tmp_path: Path) -> None:
    """Neither the places of the runs, nor what only repeats another setting, nor what is equal."""
    trained(tmp_path / "x" / "2026-01-01_00-00-00_aa", 0.1)
    trained(tmp_path / "x" / "2026-01-02_00-00-00_bb", 0.2, steps=50, commit="b" * 40)
    runs = found([tmp_path])
    assert [run.name for run in runs] == ["aa", "bb"]
    assert cells(settings(runs).rows) == {"steps": ["40", "50"], "model.lr": ["0.1", "0.2"]}
    assert cells(versions(runs).rows) == {"commit": ["a" * 40, "b" * 40]}
    same = found([trained(tmp_path / "y" / "c"), trained(tmp_path / "y" / "d")])
    assert settings(same).rows == versions(same).rows == ()
    assert settings(same).about == "All settings are the same."


def test_last_and_best(tmp_path: Path) -> None:
    runs = found([trained(tmp_path / "a"), trained(tmp_path / "b", rows="0.125,,9\n,1.0,9\n,nan,19\n0.75,3.0,39\n")])
    validation, training = metrics(runs, Better())
    ((label, (first, second)),) = validation.rows
    assert label == "val/l1 ↓"
    assert (first.value, first.interval, first.best) == ("0.375", "0.25 at 20", True)
    assert (second.value, second.interval, second.best) == ("0.75", "0.125 at 10", False)
    assert [(cell.value, cell.interval) for cell in training.rows[0][1]] == [("4", "2 at 20"), ("3", "1 at 10")]
    turned, _ = metrics(runs, Better(higher=frozenset({"val/l1"})))
    assert [(cell.interval, cell.best) for cell in turned.rows[0][1]] == [("0.5 at 10", False), ("0.75 at 40", True)]


def test_a_curve_is_averaged_where_it_is_long() -> None:
    (at, of), many = averaged(range(1, 1001), [float(step % 2) for step in range(1, 1001)], points=100)
    assert many == 10 and len(at) == 100
    assert at[:2].tolist() == [5.5, 15.5] and set(of.tolist()) == {0.5}
    (at, of), many = averaged([3, 7], [1.0, 2.0])
    assert many == 1 and at.tolist() == [3.0, 7.0] and of.tolist() == [1.0, 2.0]


def test_many_runs_share_out_the_plots(tmp_path: Path) -> None:
    runs = found([trained(tmp_path / f"run{number:02d}") for number in range(14)])
    plots = curves(runs)
    assert [plot.title for plot in plots] == [
        f"{name} ({n} of 2)" for name in ("val/l1", "train/pixel") for n in (1, 2)
    ]
    shown = [set(re.findall(r"run\d\d", plot.svg)) for plot in plots]
    assert [len(names) for names in shown] == [7, 7, 7, 7] and not shown[0] & shown[1]


@pytest.mark.parametrize(
    ("second", "differs"),
    [
        (Estimate(0.65, 0.55, 0.75), True),  # 0.15 > sqrt(0.02)
        (Estimate(0.64, 0.54, 0.74), False),
        (Estimate(0.36, 0.26, 0.46), False),
        (Estimate(0.35, 0.25, 0.45), True),
        (Estimate(0.62, 0.60, 0.90), True),  # below: hypot(0.02, 0.1) = 0.102
        (Estimate(0.38, 0.10, 0.40), True),
        (Estimate(0.62, 0.40, 0.64), False),  # below: hypot(0.22, 0.1) = 0.242
        (Estimate(0.9), False),
        (Estimate.absent("no clips"), False),
    ],
)
def test_two_figures_differ(second: Estimate, differs: bool) -> None:
    assert significant(Estimate(0.5, 0.4, 0.6), second) is differs


def test_evaluations_side_by_side(tmp_path: Path) -> None:
    evaluated(tmp_path / "a", document(0.25))
    evaluated(tmp_path / "b", document(0.5))
    evaluated(tmp_path / "c", document(0.5, seed=1, threshold=0.3, identities=9))
    how, id_, psnr = evaluations(found([tmp_path]))
    assert cells(how.rows)["faces: against the first"] == ["-", "same faces", "other seed, other people, other judge"]
    fiva, blur = (dict(id_.rows)[name] for name in ("FIVA + ITM", "Blur"))
    assert [cell.value for cell in fiva] == [".250", ".500", ".500"]
    assert [cell.interval for cell in fiva] == ["[.150, .350]", "[.400, .600]", "[.400, .600]"]
    assert [cell.differs for cell in fiva] == [False, True, False]  # 0.25 > sqrt(0.02); the third are other people
    assert [cell.note for cell in fiva] == ["", "", "†"]
    assert not any(cell.differs for cell in blur)
    assert (id_.title, id_.folded, psnr.title, psnr.folded) == ("ID ↓", False, "PSNR dB ↑", True)
    assert [note.split(",")[0][:30] for note in id_.notes] == [
        "Bold: the best of a run",
        "* differs from a on the same f",
        "† measured unlike a",
    ]
    # The best of each column, by what is printed: runs are judged by unlike judges, so no row has a best.
    assert [cell.best for cell in fiva] == [True, False, False] and not any(cell.best for cell in blur)
    assert fiva[0].full == "0.25"


def test_methods_are_ranked_and_the_best_is_within_one_run(tmp_path: Path) -> None:
    first = document(0.75)
    evaluated(tmp_path / "a", first)
    turned = replace(first.lines[0], metrics={"ID": Estimate(0.125)}, attack="parrot")
    evaluated(tmp_path / "b", replace(first, lines=(*first.lines, turned)))
    _, id_, _ = evaluations(found([tmp_path]))
    assert [label for label, _ in id_.rows] == ["FIVA + ITM, parrot", "Blur", "FIVA + ITM"]  # less is better
    assert [[cell.best for cell in row] for _, row in id_.rows] == [[False] * 2, [True] * 2, [False] * 2]


def test_runs_are_named_by_their_settings_and_ranked_only_where_they_were_judged_alike(tmp_path: Path) -> None:
    for name, lr in (("2026-01-01_00-00-00_aa", 0.1), ("2026-01-02_00-00-00_bb", 0.2)):
        trained(tmp_path / name, lr)
    runs = by_settings(found([tmp_path]))
    assert [run.name for run in runs] == ["lr=0.1", "lr=0.2"]
    rows = "0.125,,9\n"
    other = found([trained(tmp_path / "c", rows=rows)])[0]
    (grid, _) = metrics([runs[0], other], Better())
    assert [cell.best for cell in dict(grid.rows)["val/l1 ↓"]] == [False, True] and grid.notes == ()
    judged = replace(other, config={**(other.config or {}), "judge.encoder": "another"})
    (grid, _) = metrics([runs[0], judged], Better())
    assert not any(cell.best for cell in dict(grid.rows)["val/l1 ↓"])
    assert grid.notes == ("No best is marked: the runs differ in their judge.",)


def test_faces_are_shown_and_belong_to_their_owner(tmp_path: Path) -> None:
    for synthetic in (True, False):
        made = document(0.5)
        people = {"faces": replace(made.people["faces"], synthetic=synthetic)}
        folder = evaluated(tmp_path / str(synthetic), replace(made, people=people, pictures={"grid_table1.png": "F"}))
        (folder / "grid_table1.png").write_bytes(png())
        page, *_ = compare([folder], tmp_path / "out")
        assert page.read_text(encoding="utf-8").count("<img ") == 1
        assert (page.stat().st_mode & 0o077 == 0) is not synthetic
    evaluated(tmp_path / "silent", document(0.5))
    page, *_ = compare([tmp_path / "silent"], tmp_path / "out")
    assert "<img " not in page.read_text(encoding="utf-8")


def test_folders_patterns_and_multiruns(tmp_path: Path) -> None:
    first, second = (trained(tmp_path / "runs" / name / "train" / "fiva" / "2026-01-01_00-00-00_41") for name in "ab")
    (first / "wandb" / "files").mkdir(parents=True)
    (first / "wandb" / "files" / "config.yaml").touch()  # W&B's, no run of its own
    both = [first.resolve(), second.resolve()]
    assert [run.folder for run in found([tmp_path / "runs"])] == both
    assert [run.folder for run in found([f"{tmp_path}/runs/*/train/fiva/*"])] == both
    assert [run.folder for run in found([second / "config.yaml", first, second])] == both[::-1]
    multirun = tmp_path / "multirun" / "2026-01-01_00-00-00"
    multirun.mkdir(parents=True)
    (multirun / "runs.txt").write_text(f"{first}\n{second}\n{first}\n")
    assert [run.name for run in found([multirun])] == ["a", "b"]
    shutil.rmtree(first)
    assert [run.state for run in found([multirun])] == ["is gone", "finished"]


def test_names_are_short_and_differ() -> None:
    def names(*folders: str) -> list[str]:
        return [run.name for run in named([Run(Path(folder)) for folder in folders])]

    assert names("/r/fiva/2026-01-01_00-00-00_41", "/r/fiva/2026-01-02_00-00-00_41") == [
        "2026-01-01_00-00-00_41",
        "2026-01-02_00-00-00_41",
    ]
    assert names("/r/train/fiva/2026-01-01_00-00-00_a1", "/r/evaluate/o") == ["train/fiva", "evaluate/o"]
    assert names("/r/one") == ["one"]


def test_the_csv_has_every_value(tmp_path: Path) -> None:
    trained(tmp_path / "runs" / "a")
    evaluated(tmp_path / "runs" / "b", document(0.25))
    compare([tmp_path / "runs"], tmp_path / "out")
    rows = list(csv.DictReader((tmp_path / "out" / "compare.csv").open(newline="")))
    told = {(row["run"], row["kind"], row["name"]): row for row in rows}
    assert told["a", "setting", "model.lr"]["value"] == "0.1"
    assert told["a", "seconds", ""]["value"] == "3725.0"
    last, lowest = (told["a", kind, "val/l1"] for kind in ("last", "lowest"))
    assert (last["value"], last["step"], lowest["value"], lowest["step"]) == ("0.375", "40", "0.25", "20")
    assert ("a", "highest", "val/l1") not in told
    figure = told["b", "figure", "faces/evaluation/FIVA/itm/none/none/clean/ID"]
    assert (figure["value"], figure["low"], figure["high"], figure["n"]) == ("0.25", "0.15", "0.35", "64")


def test_the_page_holds_everything_and_runs_nothing(tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script>"
    trained(tmp_path / "runs" / "a<b>")
    config = yaml.safe_load((tmp_path / "runs" / "a<b>" / "config.yaml").read_text())
    other = trained(tmp_path / "runs" / "b|c")
    (other / "config.yaml").write_text(yaml.safe_dump({**config, "experiment": hostile}))
    content = document(0.25)
    line = replace(content.lines[0], method=hostile)
    evaluated(tmp_path / "runs" / "d", replace(content, lines=(line, *content.lines[1:])))
    compare([tmp_path / "runs"], tmp_path / "one")
    compare([tmp_path / "runs"], tmp_path / "two")
    pages = [(tmp_path / out / "compare.html").read_text() for out in ("one", "two")]
    assert pages[0] == pages[1]
    assert "<script" not in pages[0] and "&lt;script&gt;" in pages[0]
    assert not re.findall(r"(?:src|href)=\"(?!#|data:)", pages[0])
    assert pages[0].count("<svg") == 2
    text = (tmp_path / "one" / "compare.md").read_text()
    assert "b\\|c" in text and "<script" not in text.replace("\\<", "")
    assert not [path for path in (tmp_path / "one").iterdir() if path.name.startswith(".")]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, out = trained(tmp_path / "a"), tmp_path / "out"
    assert main([str(run), "--out", str(out)]) == 0
    assert capsys.readouterr().out.split() == [str(out / f"compare.{end}") for end in ("html", "md", "csv")]
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    for words, told in (
        ([str(tmp_path / "nowhere")], "there is no"),
        ([str(tmp_path / "empty")], "holds no run"),
        ([str(run), "--lower", "val/ll"], "none of the runs logged 'val/ll'; there are: train/pixel, val/l1."),
        ([str(run), "--out", str(tmp_path / "file")], "cannot be written"),
    ):
        assert main(words) == 2
        shown = capsys.readouterr().err
        assert shown.startswith("error: ") and told in shown and shown.count("\n") == 1
    with pytest.raises(UserError, match="there is no"):
        found([f"{tmp_path}/*/nothing"])


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_in_a_browser(browser: Any, tmp_path: Path, width: int) -> None:
    for name in "abcdefgh":
        trained(tmp_path / "runs" / f"a_run_with_a_long_name_{name}", lr=ord(name) / 100)
        evaluated(tmp_path / "runs" / f"evaluated_{name}", document(ord(name) / 200))
    compare([tmp_path / "runs"], tmp_path / "out")
    page = browser.new_page(viewport={"width": width, "height": 844})
    told = heard(page)
    page.goto((tmp_path / "out" / "compare.html").as_uri())
    for folded in page.locator("summary").all():
        folded.click()
    assert told.complaints == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    rights = page.evaluate("[...document.querySelectorAll('svg')].map(one => one.getBoundingClientRect().right)")
    assert len(rights) == 2 and max(rights) <= width
    overlaps = """[...document.querySelectorAll('tbody th')].filter(th => th.scrollWidth > th.clientWidth + 1).length"""
    assert page.evaluate(overlaps) == 0
    page.close()
