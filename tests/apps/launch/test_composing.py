"""A command's configuration is composed once, and is the one that Hydra would have made."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import yaml
from hydra._internal import hydra as app
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import OmegaConf, _utils

from anon.apps.config import composed as alone
from anon.apps.config import config_dir
from anon.apps.launch import composing
from anon.apps.launch.composing import ComposedOnce, composed_once, read_by_libyaml

HERE = Path(__file__).parents[1] / "conf"


@pytest.fixture
def composed(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The words of every composition that is really made."""
    made: list[list[str]] = []
    real = ConfigLoaderImpl._load_configuration_impl

    def counted(self: ConfigLoaderImpl, config_name: str, overrides: list[str], *args: object, **kwargs: object):
        made.append(list(overrides))
        return real(self, config_name, overrides, *args, **kwargs)

    monkeypatch.setattr(ConfigLoaderImpl, "_load_configuration_impl", counted)
    return made


def hydra(folder: Path, loader: type[ConfigLoaderImpl]) -> Hydra:
    GlobalHydra.instance().clear()
    return Hydra("test", loader(create_config_search_path(f"file://{folder}")))


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    (tmp_path / "group").mkdir()
    (tmp_path / "root.yaml").write_text("defaults: [{group: null}, _self_]\nsteps: 1\nhere: ${hydra:job.name}\n")
    (tmp_path / "needs.yaml").write_text("defaults: [{group: '???'}, _self_]\nsteps: 1\n")
    (tmp_path / "group" / "one.yaml").write_text("value: 1\n")
    (tmp_path / "group" / "many.yaml").write_text("# @package hydra\nmode: MULTIRUN\n")
    return tmp_path


@pytest.mark.parametrize("words", [[], ["steps=3"], ["+group=one", "hydra.mode=RUN"], ["group=one", "hydra.job.num=4"]])
def test_it_is_the_configuration_that_hydra_makes(conf: Path, words: list[str], composed: list[list[str]]) -> None:
    words = [word.lstrip("+") for word in words]
    told = []
    for loader in (ConfigLoaderImpl, ComposedOnce):
        here, given = hydra(conf, loader), list(words)
        mode = here.get_mode("root", given)
        given += [] if mode is not None else ["hydra.mode=RUN"]
        config = here.compose_config("root", given, run_mode=RunMode.RUN)
        told.append((mode, OmegaConf.to_yaml(config), OmegaConf.is_struct(config)))
    assert told[0] == told[1]
    assert len(composed) == 2 + 1


def test_other_words_and_several_values_are_composed_anew(conf: Path, composed: list[list[str]]) -> None:
    here = hydra(conf, ComposedOnce)
    assert here.get_mode("root", ["group=one"]) is None
    assert here.compose_config("root", ["steps=5"], run_mode=RunMode.RUN).steps == 5
    assert here.get_mode("root", ["steps=1,2"]) is None
    with pytest.raises(HydraException, match="Ambiguous value"):
        here.compose_config("root", ["steps=1,2"], run_mode=RunMode.RUN)
    assert here.get_mode("root", ["group=many"]) == RunMode.MULTIRUN
    assert here.compose_config("root", ["group=many"], run_mode=RunMode.MULTIRUN).hydra.mode == RunMode.MULTIRUN
    assert here.get_mode("root", []) is None
    once = here.compose_config("root", ["hydra.mode=RUN"], run_mode=RunMode.RUN)
    assert here.compose_config("root", ["hydra.mode=RUN"], run_mode=RunMode.RUN) is not once


def test_what_cannot_be_composed_is_told_as_hydra_tells_it(conf: Path) -> None:
    for words, told in (([], "must specify 'group'"), (["group=none"], "Could not find 'group/none'")):
        here = hydra(conf, ComposedOnce)
        assert here.get_mode("needs", words) is None
        with pytest.raises(HydraException, match=told):
            here.compose_config("needs", words, run_mode=RunMode.RUN)


def test_hydras_own_loader_is_there_again() -> None:
    with pytest.raises(KeyError), composed_once():
        assert app.ConfigLoaderImpl is ComposedOnce
        raise KeyError
    assert app.ConfigLoaderImpl is ConfigLoaderImpl


def test_a_command_composes_once(train, composed: list[list[str]]) -> None:
    ended = train("experiment=tiny", "steps=1")
    assert ended.code == 0, ended.err
    assert len([words for words in composed if "experiment=tiny" in words]) == 1


def test_libyaml_reads_what_omegaconf_reads() -> None:
    """Every configuration of the project, numbers as OmegaConf has them, and no key twice."""
    texts = [path.read_text() for path in sorted(config_dir().rglob("*.yaml"))]
    texts.append("a: 1e-3\nb: .5\nc: 2020-01-01\nd: on\ne: 1_0\nf: 12:30:45\ng: .inf\nh: '1'\ni: ~\nj: 0x1F\n")
    theirs = [OmegaConf.create(text) for text in texts]
    for text, read in zip(texts, theirs, strict=True):
        with read_by_libyaml():
            ours = OmegaConf.create(text)
        assert OmegaConf.to_container(ours) == OmegaConf.to_container(read)
        assert OmegaConf.to_yaml(ours) == OmegaConf.to_yaml(read)  # 1 and 1.0 and true are equal, and not the same
    with read_by_libyaml(), read_by_libyaml():
        assert _utils.get_yaml_loader() is composing._Parser
        with pytest.raises(yaml.YAMLError, match="found duplicate key a"):
            OmegaConf.create("a: 1\na: 2")
    assert issubclass(_utils.get_yaml_loader(), yaml.SafeLoader)


@pytest.mark.parametrize("text", ["a: {a:}", "a: [a:]", "%FOO x\n---\na: 1", "a: !", "# c\n\ufeffa: 1", "a: 'b\tc'"])
def test_what_libyaml_takes_otherwise_is_as_omegaconf_has_it(text: str) -> None:
    with read_by_libyaml():
        ours = _answer(text)
    assert ours == _answer(text)


@pytest.mark.parametrize("text", ["a:\t1", "a: [1,\t2]", "a: b\tc", "a: [b", "a: b: c"])
def test_what_omegaconf_refuses_is_refused_in_its_words(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    told = []
    for reading in (read_by_libyaml, contextlib.nullcontext):
        with reading(), pytest.raises(yaml.MarkedYAMLError) as error:
            OmegaConf.load(tmp_path / "a.yaml")
        mark = error.value.problem_mark
        told.append((error.value.problem, mark.name, mark.line, mark.column))
    assert told[0] == told[1] and told[0][1] == str(tmp_path / "a.yaml")


def _answer(text: str) -> object:
    return OmegaConf.to_container(OmegaConf.create(text))


def test_a_job_reads_without_libyaml(train, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends the process where a hostile file is nested deeply, and a job reads what others made."""
    seen = []
    monkeypatch.setattr("anon.apps.train.train", lambda config: seen.append(_utils.get_yaml_loader()), raising=True)
    ended = train("experiment=tiny")
    assert ended.code == 0, ended.err
    assert seen and issubclass(seen[0], yaml.SafeLoader)


def test_a_part_of_a_command_composes_another(conf: Path) -> None:
    running = hydra(conf, ComposedOnce)
    GlobalHydra.instance().hydra = running
    assert alone("evaluate", ["method=blur"]).method.title == "Blur"
    assert GlobalHydra.instance().hydra is running
    GlobalHydra.instance().clear()
