"""A run that goes on is the run that was begun: its own settings, but for those that the command line gives.

The kind: a start took for the run what belongs to the start. Reported: lr, seed and batch size of a continued run were
today's defaults, ``last`` went by the folder's name, fewer steps than trained did nothing, data and weights that were
moved could not be given. Other instances found: a rate that was given stayed the restored optimizer's (also with
``ckpt_path=<file>``), a second rank composed its own configuration, a requeued job did not find its run where a default
had changed, ``last`` stopped at a newer folder without a checkpoint and died of a foreign one.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from anon.apps.run_folders import folder as runs
from anon.apps.run_folders.past import last_run
from anon.errors import UserError
from tests.apps.conftest import HERE, Command, folder_of
from tests.apps.launch.test_exit_codes import refused
from tests.apps.tiny import Tiny
from tests.conftest import ROOT


def content(folder: Path) -> dict:
    return torch.load(folder / runs.LAST, weights_only=True)


def same(one: Path, other: Path) -> None:
    """Weights, optimizers and figures, bit by bit."""
    first, second = content(one), content(other)
    assert first["state_dict"].keys() == second["state_dict"].keys()
    for name, tensor in first["state_dict"].items():
        assert torch.equal(tensor, second["state_dict"][name]), name
    assert str(first["optimizer_states"]) == str(second["optimizer_states"])
    assert (one / "metrics.csv").read_text() == (other / "metrics.csv").read_text()


WORDS = ("experiment=tiny", "+model.lr=0.01", "seed=5", "+data.batch_size=8", "checkpoint_every=3", "steps=20")


def test_the_runs_own_settings_stay(train: Command, tmp_path: Path) -> None:
    """Nothing is repeated on the command line but what finds the run."""
    whole = folder_of(train(*WORDS, f"paths.runs={tmp_path / 'whole'}"))
    stopped = train(*WORDS, "+model.stop_at=16")
    assert stopped.code == 130
    again = train("experiment=tiny", "ckpt_path=last", "+model.stop_at=null")
    folder = folder_of(again)
    same(folder, whole)
    config = OmegaConf.load(folder / "config.yaml")
    assert (config.model.lr, config.seed, config.data.batch_size, config.steps) == (0.01, 5, 8, 20)
    lines = again.out.splitlines()
    assert "model.stop_at 16 -> None, given on the command line" in lines
    assert "steps 20 as in the run; a new run would have 6" in lines
    assert "model.lr 0.01 as in the run; a new run would have nothing" in lines


def test_what_is_given_takes_effect_and_is_told(train: Command) -> None:
    """Rate, batch and steps; the rate's moments stay, and the schedule is the new length's."""
    begun = ("experiment=tiny", "+model.lr=0.01", "+model.falls=true", "steps=12")
    folder = folder_of(train(*begun))
    before = content(folder)["optimizer_states"][0]
    assert before["param_groups"][0]["lr"] == 0.0
    again = train("experiment=tiny", "ckpt_path=last", "+model.lr=0.002", "steps=16", "+data.batch_size=8")
    assert folder_of(again) == folder
    assert "model.lr 0.01 -> 0.002, given on the command line" in again.out.splitlines()
    assert "steps 12 -> 16, given on the command line" in again.out.splitlines()
    after = content(folder)["optimizer_states"][0]
    assert after["param_groups"][0]["initial_lr"] == 0.002
    assert [float(row["step"]) for row in after["state"].values()] == [16.0, 16.0]
    rows = [line.split(",") for line in (folder / "metrics.csv").read_text().splitlines()]
    rates = {row[rows[0].index("step")]: float(row[rows[0].index("lr")]) for row in rows[1:]}
    assert rates["9"] == pytest.approx(0.01 * 3 / 12) and rates["15"] == pytest.approx(0.002 * 1 / 16)
    kept = OmegaConf.load(folder / "config.yaml")
    assert (kept.model.lr, kept.steps, kept.callbacks.stop.steps, kept.data.batch_size) == (0.002, 16, 16, 8)
    assert kept.model.steps == 16  # follows steps


def test_a_rate_given_with_a_file(train: Command) -> None:
    first = folder_of(train("experiment=tiny", "+model.lr=0.01"))
    second = folder_of(train("experiment=tiny", "+model.lr=0.002", "steps=8", f"ckpt_path={first / runs.LAST}"))
    assert second != first
    assert content(second)["optimizer_states"][0]["param_groups"][0]["lr"] == 0.002


def test_the_seed_that_is_given(train: Command) -> None:
    """The random generators do not go on where the old seed had them."""
    folder = folder_of(train("experiment=tiny", "seed=1"))
    copy = shutil.copytree(folder, folder.parent.parent.parent.parent / "other" / "train" / "tiny" / folder.name)
    last = ("experiment=tiny", "ckpt_path=last", "steps=12")
    plain = content(folder_of(train(*last)))["state_dict"]
    given = folder_of(train(*last, "seed=2", f"paths.runs={copy.parent.parent.parent}"))
    assert given == copy
    assert not torch.equal(content(given)["state_dict"]["first.weight"], plain["first.weight"])


def test_fewer_steps_than_trained(train: Command) -> None:
    folder = folder_of(train("experiment=tiny", "steps=12"))
    ended = train("experiment=tiny", "steps=5", "ckpt_path=last")
    refused(ended, f"steps=5 is less than the 12 batches that {folder / runs.LAST} was trained for")
    assert OmegaConf.load(folder / "config.yaml").steps == 12


def trained_with(folder: Path) -> tuple[int, int, int]:
    """Seed, steps and the number of batches."""
    config = OmegaConf.load(folder / "config.yaml")
    return (
        config.seed,
        config.steps,
        content(folder)["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"]["ready"],
    )


def test_auto_continues_only_what_is_given(train: Command) -> None:
    """It said "finished already" of a run with another seed, rate or number of steps."""
    auto = ("experiment=tiny", "ckpt_path=auto")
    first = folder_of(train(*auto, "steps=4"))
    other = train(*auto, "steps=4", "seed=5")
    assert f"ckpt_path=auto begins a new run: {first} has seed 0, not 5" in other.out.splitlines()
    assert (second := folder_of(other)) != first and trained_with(second) == (5, 4, 4)
    assert f"finished already: {first / runs.LAST}" in train(*auto, "steps=4").out  # no seed: that of the defaults
    assert f"finished already: {second / runs.LAST}" in train(*auto, "seed=5", "steps=4").out
    third = folder_of(train(*auto, "steps=4", "+model.lr=0.01"))
    assert third not in (first, second)
    fewer = folder_of(train(*auto, "steps=2"))
    assert fewer not in (first, second, third) and trained_with(fewer) == (0, 2, 2)
    assert folder_of(train(*auto, "steps=7", "+model.lr=0.01", "logger=csv")) == third  # more steps
    assert trained_with(third) == (0, 7, 7)
    default = folder_of(train(*auto))  # of six steps, which none of those had
    assert trained_with(default) == (0, 6, 6) and default not in (first, second, third, fewer)


def test_auto_in_a_multirun(train: Command, tmp_path: Path) -> None:
    """Every job is a run of its own, and the same command finds all of them again."""
    many = ("-m", f"hydra.sweep.dir={tmp_path / 'sweep'}", "experiment=tiny", "ckpt_path=auto")
    shelf = tmp_path / "runs" / "train" / "tiny"
    for words, expected in (
        (("seed=0,1,2", "steps=4"), {(0, 4, 4), (1, 4, 4), (2, 4, 4)}),
        (("seed=7", "steps=4,6,2"), {(7, 4, 4), (7, 6, 6), (7, 2, 2)}),
    ):
        before = set(shelf.iterdir()) if shelf.is_dir() else set()
        once = train(*many, *words)
        assert once.code == 0 and "finished already" not in once.out, once.err
        assert {trained_with(folder) for folder in set(shelf.iterdir()) - before} == expected
        assert train(*many, *words).out.count("finished already") == 3
        assert len(set(shelf.iterdir()) - before) == 3


def test_a_default_that_has_changed_changes_no_run(train: Command, tmp_path: Path) -> None:
    """The experiment's file is another one by the time that the run goes on; its own is still ``steps=6``."""
    conf = tmp_path / "conf" / "experiment"
    conf.mkdir(parents=True)
    text = (HERE / "conf" / "experiment" / "tiny.yaml").read_text()
    (conf / "small.yaml").write_text(text.replace("experiment: tiny", "experiment: small") + "seed: 3\n")
    words = ("--config-dir", str(tmp_path / "conf"), "experiment=small")
    folder = folder_of(train(*words))
    changed = text.replace("experiment: tiny", "experiment: small").replace("steps: 6", "steps: 11")
    (conf / "small.yaml").write_text(changed + "seed: 4\n")
    again = train(*words, "ckpt_path=last")
    assert folder_of(again) == folder and OmegaConf.load(folder / "config.yaml").seed == 3
    assert "seed 3 as in the run; a new run would have 4" in again.out
    assert content(folder)["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"]["ready"] == 6


def test_data_and_weights_that_were_moved(train: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kill, move both, continue with their new places: weights and figures of the unbroken run."""
    data, weights = tmp_path / "a" / "rows", tmp_path / "a" / "start.pt"
    data.parent.mkdir()
    torch.save(torch.randn(64, 3), data)
    torch.save(torch.ones(1, 3), weights)
    words = ("experiment=tiny", "+data.root=" + str(data), "+model.start=" + str(weights), "steps=20")
    whole = folder_of(train(*words, f"paths.runs={tmp_path / 'whole'}"))
    step = Tiny.training_step
    with monkeypatch.context() as broken:
        broken.setattr(Tiny, "training_step", lambda self, *rest: setattr(self, "stop_at", 13) or step(self, *rest))
        assert train(*words).code == 130
    (folder,) = (tmp_path / "runs" / "train" / "tiny").iterdir()
    shutil.move(tmp_path / "a", tmp_path / "b")
    moved = (f"+data.root={tmp_path / 'b' / 'rows'}", f"+model.start={tmp_path / 'b' / 'start.pt'}")
    again = train("experiment=tiny", "ckpt_path=auto", *moved, "steps=20")
    assert folder_of(again) == folder
    assert f"data.root {data} -> {tmp_path / 'b' / 'rows'}, given on the command line" in again.out.splitlines()
    same(folder, whole)


def test_other_data_is_not_continued_by_itself(train: Command, tmp_path: Path) -> None:
    """``auto`` begins a new run on a second data set of the same name; ``last`` means the run that there is."""
    for name in ("one", "two"):
        torch.save(torch.randn(64, 3), tmp_path / name)
    first = folder_of(train("experiment=tiny", f"+data.root={tmp_path / 'one'}"))
    second = ("experiment=tiny", f"+data.root={tmp_path / 'two'}")
    assert folder_of(train(*second, "ckpt_path=last", "steps=8")) == first
    shutil.rmtree(first)
    first = folder_of(train("experiment=tiny", f"+data.root={tmp_path / 'one'}"))
    assert folder_of(train(*second, "ckpt_path=auto")) != first


def test_the_run_folder_was_moved(train: Command, tmp_path: Path) -> None:
    """Checkpoints, figures and everything else are written where it lies now."""
    mine = (
        "+callbacks.mine._target_=anon.training.callbacks.guards.FiniteLosses",
        "+callbacks.mine.folder=${run.dir}/mine",
    )
    folder = folder_of(train("experiment=tiny", "checkpoint_every=4", *mine))
    shutil.move(tmp_path / "runs", tmp_path / "elsewhere")
    moved = tmp_path / "elsewhere" / "train" / "tiny" / folder.name
    again = train("experiment=tiny", "ckpt_path=last", "steps=12", f"paths.runs={tmp_path / 'elsewhere'}")
    assert folder_of(again) == moved and not folder.exists()
    config = OmegaConf.load(moved / "config.yaml")
    assert config.checkpoint_every == 4 and config.callbacks.mine.folder == str(moved / "mine")
    assert str(folder) not in (moved / "config.yaml").read_text()


def test_the_newest_goes_by_its_record(train: Command) -> None:
    """Whatever the folders are called; in runs that do not record it, by the first line of command.txt."""
    first, second = (folder_of(train("experiment=tiny", f"seed={seed}")) for seed in (1, 2))
    first = first.rename(first.with_name("z_my_best_run"))
    last = ("experiment=tiny", "ckpt_path=last")
    assert folder_of(train(*last)) == second
    for folder, year in ((first, 2023), (second, 2022)):
        (folder / "started.json").unlink()
        (folder / "command.txt").write_text(f"{year}-05-01 12:00:00 python train.py\n")
    assert folder_of(train(*last)) == first
    assert json.loads((first / "started.json").read_text())["time"].startswith("2023-05-01")


def test_what_else_lies_among_the_runs(train: Command) -> None:
    """A folder of notes, a broken configuration, a pipe, a run that holds no checkpoint: passed over, with a line."""
    folder = folder_of(train("experiment=tiny"))
    shelf = folder.parent
    (shelf / "notes").mkdir()
    (shelf / "notes.txt").write_text("mine")
    for name, text in (("broken", "a: [1"), ("list", "[1, 2]"), ("odd", "data: 7\nscale: default\n"), ("empty", "")):
        (shelf / name).mkdir()
        (shelf / name / "config.yaml").write_text(text)
    (shelf / "pipe").mkdir()
    os.mkfifo(shelf / "pipe" / "config.yaml")
    later = shutil.copytree(folder, shelf / "9999-01-01_00-00-00_abc", ignore=shutil.ignore_patterns("*.ckpt"))
    (later / "started.json").unlink()
    (later / "command.txt").unlink()
    ended = train("experiment=tiny", "ckpt_path=last", "steps=9")
    assert folder_of(ended) == folder
    for name in ("broken", "list", "empty", "pipe"):
        assert f"passed over {shelf / name}: " in ended.out
    assert f"passed over {later}: it holds no checkpoint" in ended.out
    assert ended.err == ""


def test_the_configuration_of_a_run_folder_is_hostile(train: Command, tmp_path: Path) -> None:
    folder = folder_of(train("experiment=tiny"))
    text = (folder / "config.yaml").read_text()
    last = ("experiment=tiny", "ckpt_path=last", "steps=9")

    def written(key: str, value: object) -> None:
        config = OmegaConf.create(text)
        OmegaConf.update(config, key, value, force_add=True)
        OmegaConf.save(config, folder / "config.yaml")

    written("callbacks.more", {"_target_": "os.system", "command": f"touch {tmp_path / 'canary'}"})
    refused(train(*last), "asks to run os.system")
    outside = tmp_path / "outside.ckpt"
    written(
        "callbacks.more", {"_target_": "anon.training.callbacks.steps.LastCheckpoint", "path": str(outside), "every": 1}
    )
    refused(train(*last), f"callbacks.more.path write to {outside}")
    written("callbacks.checkpoint.path", str(outside))
    train(*last)
    assert not outside.exists() and not (tmp_path / "canary").exists()


def test_a_run_whose_parts_have_moved_goes_on(train: Command) -> None:
    """Its configuration names callbacks by the modules where they were when it was begun."""
    folder = folder_of(train("experiment=tiny"))
    file = folder / "config.yaml"
    text = file.read_text()
    assert "anon.training.callbacks.steps.LastCheckpoint" in text
    file.write_text(re.sub(r"anon\.training\.callbacks\.(?=guards|progress|steps)", "anon.training.", text))
    assert folder_of(train("experiment=tiny", "ckpt_path=last", "steps=9")) == folder
    assert file.read_text() == text.replace("steps: 6", "steps: 9").replace("ckpt_path: null", "ckpt_path: last")


class Tells(Tiny):
    """Each rank leaves in the run folder which rate it was built with."""

    def on_train_start(self) -> None:
        folder = Path(str(self.trainer.default_root_dir))
        (folder / f"rank{self.global_rank}.txt").write_text(f"{self.lr} {self.trainer.world_size}")


@pytest.mark.slow
def test_both_ranks_go_on_with_the_runs_settings(train: Command) -> None:
    words = ("experiment=tiny", "model._target_=tests.apps.run_folders.test_resume.Tells")
    folder = folder_of(train(*words, "+model.lr=0.002", "steps=2"))
    assert (folder / "rank0.txt").read_text() == "0.002 1"
    options = [*words, "trainer=ddp", "trainer.limit_val_batches=0", "ckpt_path=last", "steps=4"]
    done = subprocess.run(
        [sys.executable, "train.py", "--config-dir", str(HERE / "conf"), *options, f"paths.runs={folder.parents[2]}"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert [(folder / f"rank{rank}.txt").read_text() for rank in (0, 1)] == ["0.002 2"] * 2


def test_last_says_why_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "train" / "x" / "odd").mkdir(parents=True)
    (tmp_path / "train" / "x" / "odd" / "config.yaml").write_text("a: &b 1")
    config = {"experiment": "x", "scale": "default", "data": {"name": "d"}, "paths": {"runs": str(tmp_path)}}
    with pytest.raises(UserError, match=r"no run of experiment=x .*passed over .*aliases"):
        last_run(OmegaConf.create(config))


def test_last_is_the_newest_whatever_its_data(train: Command, tmp_path: Path) -> None:
    """It looked for a run on the default data alone, and said that there was none."""
    torch.save(torch.randn(64, 3), tmp_path / "rows")
    packed = ("+data.root=" + str(tmp_path / "rows"), "data.name=packed")
    plain = folder_of(train("experiment=tiny"))
    folder = folder_of(train("experiment=tiny", *packed))
    assert folder_of(train("experiment=tiny", "ckpt_path=last", "steps=8")) == folder
    assert folder_of(train("experiment=tiny", "ckpt_path=last", "steps=9", "data.name=packed")) == folder  # any root
    assert folder_of(train("experiment=tiny", "ckpt_path=last", "data.name=tiny")) == plain
    told = (f"with scale=default and data=other in {tmp_path / 'runs' / 'train'}; there is: ",)
    told += (f"experiment=tiny scale=default data=packed data.root={tmp_path / 'rows'} ckpt_path=last; or ",)
    told += ("experiment=tiny scale=default data=tiny ckpt_path=last; or train one first",)
    refused(train("experiment=tiny", "ckpt_path=last", "data.name=other"), "".join(told))


def test_a_run_folder_as_checkpoint(train: Command, tmp_path: Path) -> None:
    folder = folder_of(train("experiment=tiny"))
    again = folder_of(train("experiment=tiny", f"ckpt_path={folder}", "steps=8"))
    assert again != folder and trained_with(again) == (0, 8, 8)
    refused(train("experiment=tiny", f"ckpt_path={tmp_path}"), f"the folder {tmp_path} holds no checkpoints/last.ckpt")
    refused(train("experiment=tiny", "ckpt_path="), "ckpt_path is empty; give last, a checkpoint file or a run folder.")


def test_a_folder_of_runs_spelled_with_two_dots(train: Command, tmp_path: Path) -> None:
    """One side was normalized only, so the run's own folder was refused under any other spelling."""
    (tmp_path / "a").mkdir()
    spelled = f"paths.runs={tmp_path}/a/../runs"
    folder = folder_of(train("experiment=tiny", spelled))
    assert OmegaConf.load(folder / "config.yaml").run.dir == str(tmp_path / "runs" / "train" / "tiny" / folder.name)
    assert folder_of(train("experiment=tiny", "ckpt_path=last", "steps=8")) == folder
    text = (folder / "config.yaml").read_text()  # as it was recorded before
    (folder / "config.yaml").write_text(text.replace(f"{tmp_path}/runs", f"{tmp_path}/a/../runs"))
    assert folder_of(train("experiment=tiny", "ckpt_path=last", "steps=10")) == folder
