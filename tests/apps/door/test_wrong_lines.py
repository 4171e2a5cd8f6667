"""Wrong command lines: a sentence, exit code 2, and no run folder that ``last`` could find.

The kind: a value was believed until something deep inside could not use it (a traceback), or could (a training that
trained nothing, ``steps=-5``; an average outside of [0, 1], ``model.ema=2``; one identity). On the old code none of the
fourteen that are named was refused before a run folder was made: nine reached the training, four were tracebacks when
the parts were built, and one (``data.batch_size=0``) was a sentence that left its folder.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from anon.apps.door.limits import RANGES, Limit, out_of_range
from tests.apps.conftest import Command
from tests.apps.door.lines import EVALUATE, NAMED, TRAIN
from tests.apps.test_evaluate import SMALL


def wrong(run: Command, tmp_path: Path, word: str, told: str, *rest: str) -> None:
    key = word.lstrip("+~").partition("=")[0].partition("@")[0]
    small = [each for each in SMALL if not each.startswith((f"{key}=", f"{key}.")) and key != "data"]
    if word.startswith(("data.", "+data")):
        small = [each for each in small if each.partition("=")[0] != key]
    ended = run(*rest, *small, word)
    assert ended.code == 2, (word, ended)
    assert len(ended.err.strip().splitlines()) == 1, ended.err
    assert ended.err.startswith("error: ") and told in ended.err, (word, ended.err)
    assert not list((tmp_path / "runs").rglob("*")), word


@pytest.mark.parametrize("word", ["steps=-5", "model.ema=2", "data.identities=1", "generator.widths=[]", "model.lrr=1"])
def test_a_few(train: Command, tmp_path: Path, word: str) -> None:
    wrong(train, tmp_path, word, {**NAMED, **TRAIN}[word])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("+trainer.gradient_clip_val=1", "Automatic gradient clipping is not supported for manual optimization"),
        ("trainer.accelerator=tpu", "no trainer of this configuration can be had here: "),
        ("+trainer.overfit_batches=0.01", "this training cannot be had with conf/trainer so: "),
        ("trainer.max_epochs=0", "trainer.max_epochs=0 trains nothing."),
        ("+trainer.limit_train_batches=0", "trainer.limit_train_batches=0 must be a number above 0"),
        ("+callbacks.mine._target_=collections.OrderedDict", "callbacks.mine=collections.OrderedDict must be a part"),
        ("+logger.mine._target_=collections.OrderedDict", "logger.mine=collections.OrderedDict must be a part"),
        ("+callbacks.mine._target_=tests.apps.door.test_wrong_lines.anything", "callbacks.mine is no Callback"),
        ("--resolve", "--resolve goes with --cfg job"),
        ("--package x", "--package goes with --cfg job"),
        ("-m --cfg job", "only one of --run, --multirun (-m), --cfg and --info"),
        ("run.dir=elsewhere", "runs go where paths.runs=<folder> says"),
        ("~data ckpt_path=last", "data=<choice> takes other data"),
        ("steps=999999999999999999999999", "from 1 to 1000000000"),
    ],
)
def test_words_that_did_nothing_or_ended_in_a_traceback(train: Command, tmp_path: Path, words: str, told: str) -> None:
    options = words.split()
    ended = train(*([*options, "experiment=tiny"] if words[0] == "-" else ["experiment=tiny", *options]))
    assert ended.code == 2 and len(ended.err.splitlines()) == 1, ended.err
    assert ended.err.startswith("error: ") and told in ended.err
    assert not list((tmp_path / "runs").rglob("*"))


def anything():  # type: ignore[no-untyped-def]
    """A factory that does not say what it makes."""
    return object()


def test_data_that_says_not_where(train: Command, tmp_path: Path) -> None:
    """The run folder was made, told and removed before."""
    ended = train("experiment=fiva", "data=packed", "encoder=synthetic_a")
    assert ended.code == 2 and ended.err.startswith("error: data=packed needs data.root=<folder")
    assert ended.out == ""


@pytest.mark.parametrize(
    ("words", "key"),
    [
        ("data=folder data.root=ABSENT", "data.root"),
        ("data=folder data.root=. data.points=ABSENT", "data.points"),
        ("encoder=mobilefacenet encoder.weights=ABSENT", "encoder.weights"),
        ("generator=fiva ckpt_path=ABSENT", "ckpt_path"),
    ],
)
def test_places_that_are_not_there(train: Command, words: str, key: str) -> None:
    """The run folder was made, told and removed before; with points, all photographs were listed."""
    ended = train("experiment=fiva", *words.replace("ABSENT", "/absent/x").split())
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == f"error: {key}=/absent/x: there is no such file or folder.\n"


@pytest.mark.parametrize(
    "word",
    [
        "checkpoint=/absent/x",
        "attack=reconstruction attack.checkpoint=/absent/x",
        "judge=onnx judge.path=/absent/x",
        "suite.threshold=/absent/x",
        "suite.measures.picture.lpips=/absent/x",
        "+detector@detectors.yunet=yunet detectors.yunet.weights=/absent/x",
        "+data@suite.datasets.lfw=folder suite.datasets.lfw.root=/absent/x",
        "+suite.attacks.adaptive.trained.fiva.jpeg=/absent/x suite=table3",
    ],
)
def test_places_of_an_evaluation_that_are_not_there(evaluate: Command, word: str) -> None:
    given = [] if "suite=table3" in word else ["experiment=fiva"]
    given += [] if word.startswith("checkpoint") or "table3" in word else ["checkpoint=shipped:fiva"]
    ended = evaluate(*given, *word.split())
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.endswith("=/absent/x: there is no such file or folder.\n") and len(ended.err.splitlines()) == 1


@pytest.mark.slow
def test_wrong_lines(train: Command, evaluate: Command, tmp_path: Path) -> None:
    for word, told in (NAMED | TRAIN).items():
        wrong(train, tmp_path, word, told)
    for word, told in EVALUATE.items():
        given = ("experiment=fiva", "checkpoint=shipped:fiva", *["suite.far=0.01"] * ("far" not in word))
        wrong(evaluate, tmp_path, word, told, *given)
    counts = len(NAMED), len(TRAIN) + len(EVALUATE)
    print(f"\n{counts[0]} named and {counts[1]} other wrong command lines: a sentence and exit code 2 each, no folder")
    assert counts[1] >= 60


def test_ranges_are_of_numbers() -> None:
    """Every row reads as an interval, and its ends are in it or out of it as its brackets say."""
    for text in RANGES:
        limit = Limit.of(text)
        assert limit.least < limit.most and limit.words().startswith("a ")
        if abs(limit.least) < 1e12:
            kind = int if limit.whole else float
            assert limit.holds(kind(limit.least)) is not limit.above
        assert not limit.holds(True) and not limit.holds("1") and not limit.holds(float("nan"))
    assert not Limit.of("whole [1, inf)").holds(1.0) and Limit.of("(0, 1]").holds(1)


def test_the_settings_of_somebody_elses_part_have_the_ranges_of_their_own() -> None:
    """``strength`` of a part of ours is above 0; what a stranger's means is the stranger's to say."""
    own = {"_target_": "anon.attacks.classical.NonLocalMeans", "strength": 0}
    strange = {"_target_": "mine.Filter", "strength": 0, "size": -1, "inner": {"mean": 1000}}
    assert [key for key, _ in out_of_range({"attack": own})] == ["attack.strength"]
    assert list(out_of_range({"attack": strange})) == []
    assert [key for key, _ in out_of_range({"attack": {**strange, "inner": own}})] == ["attack.inner.strength"]
