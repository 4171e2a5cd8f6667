"""Every experiment composes at both scales with every trainer, logger and debug choice, and its parts exist."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from anon.apps.config import choices
from anon.apps.config import composed as config_of
from anon.apps.door.config import check_config
from anon.apps.door.limits import limit_of
from anon.apps.evaluate import SECTIONS

TRAINED = choices("experiment")
OF_A_CHECKPOINT = {"checkpoint", "swap", "lfw"}
SUITES = [name for name in choices("suite") if name not in OF_A_CHECKPOINT | {"base"}]


def composed(name: str, *overrides: str) -> DictConfig:
    return config_of(name, overrides)


def numbers(node: Any, path: str = "") -> Iterator[str]:
    """Keys of numbers."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from numbers(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list):
        for value in node:
            yield from numbers(value, path)
    elif isinstance(node, (int, float)) and not isinstance(node, bool):
        yield path


def check(config: DictConfig) -> None:
    """What the scripts check at the door; and every number has a range there."""
    config = OmegaConf.masked_copy(config, SECTIONS) if config.task == "evaluate" else config
    check_config(config)
    loose = ("lacks.", "trainer.")  # conditions, and what Lightning checks
    content = OmegaConf.to_container(config, resolve=True)
    assert [key for key in numbers(content) if not key.startswith(loose) and limit_of(key) is None] == []


def test_the_experiments_of_the_readme_exist() -> None:
    assert {"fiva", "recognizer", "attributes"} <= set(TRAINED)
    tables = {
        "table1",
        "table2",
        "table3",
        "table4",
        "verification",
        "dial",
        "all",
        "attackers",
        "transfer",
        "noise_share",
        "robustness",
    }
    assert tables <= set(SUITES) and set(choices("suite")) >= OF_A_CHECKPOINT


@pytest.mark.parametrize(("experiment", "scale"), itertools.product(TRAINED, choices("scale")))
def test_experiment_composes(experiment: str, scale: str) -> None:
    config = composed("train", f"experiment={experiment}", f"scale={scale}")
    assert (config.experiment, config.scale, config.task) == (experiment, scale, "train")
    assert config.model is not None
    check(config)


@pytest.mark.parametrize(
    ("suite", "scale"), [*((name, "default") for name in SUITES), ("all", "paper"), ("table1", "paper")]
)
def test_suite_of_methods_composes(suite: str, scale: str) -> None:
    """It works alone: what it measures ships, or is no one checkpoint. A scale changes data and judge alone."""
    config = composed("evaluate", f"suite={suite}", f"scale={scale}")
    assert (config.experiment, config.scale, config.task) == (suite, scale, "evaluate")
    assert config.suite.tables and OmegaConf.select(config, "suite.methods.checkpoint") is None
    check(config)


@pytest.mark.parametrize(("suite", "experiment"), itertools.product(sorted(OF_A_CHECKPOINT), ("fiva", "simswap")))
def test_suite_of_a_checkpoint_composes(suite: str, experiment: str) -> None:
    config = composed("evaluate", f"suite={suite}", f"experiment={experiment}")
    assert (config.experiment, config.suite.methods.checkpoint.train) == (
        experiment,
        f"python train.py experiment={experiment}",
    )
    check(config)


def together(*groups: str, beside: dict[str, str] | None = None) -> list[list[str]]:
    """Every choice of the groups at least once, one of each group at a time: a composition takes a second."""
    names = [[f"{(beside or {}).get(group, group)}={name}" for name in choices(group)] for group in groups]
    longest = max(len(each) for each in names)
    return [[each[number % len(each)] for each in names] for number in range(longest)]


@pytest.mark.parametrize(
    "words", together("data", "trainer", "logger", "debug", "encoder", "judge", "policy", "generator", "discriminator")
)
def test_every_choice_composes(words: list[str]) -> None:
    words = ["discriminator=fiva" if word == OF_EDITORS else word for word in words]
    check(composed("train", "experiment=fiva", *words))


OF_EDITORS = "discriminator=attributes"  # it reads those that an editor changes: with experiment=stgan it composes


@pytest.mark.parametrize("words", together("data", "judge", "policy", "attack"))
def test_every_choice_of_evaluate_composes(words: list[str]) -> None:
    needed = ["attack.recognizer.checkpoint=some.ckpt"] if any(word.endswith("tuned") for word in words) else []
    check(composed("evaluate", *words, *needed))


@pytest.mark.parametrize("words", together("method", "defense", beside={"defense": "+defense@attack.defense"}))
def test_every_method_and_defense_composes(words: list[str]) -> None:
    needed = ["+checkpoint=shipped:fiva"] if "method=checkpoint" in words else []
    config = composed("train", "experiment=reconstruction", *words, *needed)
    check(config)
    assert config.attack.defense._target_.startswith("anon.defenses.")


@pytest.mark.parametrize(
    "words",
    [[], ["domain=synthetic"], *([f"detector={name}"] for name in choices("detector")), ["judge=[edgeface,onnx]"]],
)
def test_anonymize_composes(words: list[str]) -> None:
    check(composed("anonymize", *words))
