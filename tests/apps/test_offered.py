"""What an evaluation may name: every choice of the groups, as its file says it and in their order."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from omegaconf import DictConfig, OmegaConf

from anon.apps.config import composed, config_dir
from anon.apps.offered import GROUPS
from tests.apps.conftest import Command


@pytest.fixture(scope="module")
def suite() -> DictConfig:
    return composed("evaluate", ["suite=table1"]).suite


@pytest.mark.parametrize("group", GROUPS)
def test_every_choice_is_there_as_its_file_says(suite: DictConfig, group: str) -> None:
    """A plain file's content word for word, references unresolved, and all in the order of their names."""
    place, _, inner = GROUPS[group].partition(".{}")
    offered = OmegaConf.to_container(suite[place])
    base = OmegaConf.load(config_dir() / "suite" / "base.yaml")
    own = set(base.get(place) or ()) | {"plain"}
    compared = 0
    for path in sorted((config_dir() / group).glob("*.yaml")):
        file = yaml.safe_load(path.read_text())
        if path.stem in offered and path.stem not in own and "defaults" not in file:
            here = offered[path.stem]
            assert (here[inner.lstrip(".")] if inner else here) == file
            compared += 1
    assert compared >= 4
    names = [name for name in offered if name not in own]
    assert names == sorted(names)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"title: [a\nb: c", r"broken\.yaml, line 2: this is no YAML \("),
        (b"title: a\ntitle: b", r"broken\.yaml, line 2: this is no YAML \("),
        (b"title: \xff", r"a configuration is no YAML: .* byte 0xff .* UTF-8"),
    ],
)
def test_a_file_that_is_no_yaml_is_one_sentence(
    evaluate: Command, train: Command, tmp_path: Path, content: bytes, told: str
) -> None:
    (tmp_path / "mine" / "method").mkdir(parents=True)
    (tmp_path / "mine" / "method" / "broken.yaml").write_bytes(content)
    search = f"hydra.searchpath=[file://{tmp_path / 'mine'}]"
    for ended in (evaluate("suite=table1", search), train("experiment=reconstruction", "method=broken", search)):
        assert ended.code == 2
        line = ended.err.splitlines()[-1]
        assert re.search(told, line), line
