"""What an evaluation may name: every choice of the groups, as its file says it and in their order."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml
from omegaconf import DictConfig, OmegaConf

from anon.apps import offered
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
    here = OmegaConf.to_container(suite[place])
    base = OmegaConf.load(config_dir() / "suite" / "base.yaml")
    own = set(base.get(place) or ()) | {"plain"}
    compared = 0
    for path in sorted((config_dir() / group).glob("*.yaml")):
        file = yaml.safe_load(path.read_text())
        if path.stem in here and path.stem not in own and "defaults" not in file:
            choice = here[path.stem]
            assert (choice[inner.lstrip(".")] if inner else choice) == file
            compared += 1
    assert compared >= 4
    names = [name for name in here if name not in own]
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


def test_what_a_choice_is_made_of_is_there_too() -> None:
    """Composed alone, as Hydra composes it where it is chosen."""
    suite = composed("evaluate", ["suite=table1"]).suite
    for name in ("cloak_pgd", "ensemble_in_turn", "identity_mask"):
        alone = composed("evaluate", [f"method={name}"]).method
        assert OmegaConf.to_container(suite.methods[name]) == OmegaConf.to_container(alone)


def test_ones_own_choices_are_read_anew_and_may_reach_elsewhere(tmp_path: Path) -> None:
    """What a choice sets outside of itself, or takes from the rest, is where it says."""
    (tmp_path / "method").mkdir()
    words = ["suite=table1", f"hydra.searchpath=[file://{tmp_path}]"]
    (tmp_path / "method" / "plain.yaml").write_text("title: One")
    assert composed("evaluate", words).suite.methods.plain.title == "One"
    (tmp_path / "method" / "plain.yaml").write_text("title: Two")
    (tmp_path / "method" / "reaches.yaml").write_text("defaults: [/logger@_global_.logger_of_mine: csv]\ntitle: Far")
    (tmp_path / "method" / "takes.yaml").write_text('defaults: [{/table@mine: "${suite}"}]\ntitle: Near')
    config = composed("evaluate", words)
    assert config.suite.methods.plain.title == "Two"
    assert config.suite.methods.reaches.title == "Far" and "csv" in config.logger_of_mine
    assert "grid" in config.suite.methods.takes.mine
    assert "plain" not in composed("evaluate", ["suite=table1"]).suite.methods


def test_offered_again_where_a_file_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conf = tmp_path / "conf"
    shutil.copytree(config_dir(), conf)
    monkeypatch.setattr("anon.apps.config.config_dir", lambda: conf)
    assert composed("evaluate", ["suite=table1"]).suite.methods.blur.title == "Blur"
    kept = offered._last["node"]
    assert composed("evaluate", ["suite=table1"]).suite.methods.blur.title == "Blur"
    assert offered._last["node"] is kept
    file = conf / "method" / "blur.yaml"
    file.write_text(file.read_text().replace("title: Blur", "title: Dim"))
    assert composed("evaluate", ["suite=table1"]).suite.methods.blur.title == "Dim"


def test_a_defaults_list_that_leads_to_itself_is_one_sentence(evaluate: Command, tmp_path: Path) -> None:
    (tmp_path / "method").mkdir()
    (tmp_path / "method" / "mine.yaml").write_text("defaults: [mine]\ntitle: T")
    for words in (["method=mine"], ["suite=table1"]):
        ended = evaluate(*words, f"hydra.searchpath=[file://{tmp_path}]")
        assert ended.code == 2 and "leads back to itself" in ended.err.splitlines()[-1]
