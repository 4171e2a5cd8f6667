"""The groups of ``conf/``: not too many, each explained, and the page that lists them up to date."""

from __future__ import annotations

from types import ModuleType

import pytest

from tests.conftest import ROOT, script


@pytest.fixture(scope="module")
def configuration() -> ModuleType:
    return script("docs/configuration.py")


def test_groups_are_few_and_explained(configuration: ModuleType) -> None:
    groups = configuration.groups(ROOT / "conf")
    assert len(groups) <= 24
    for group in groups:
        (line,) = (group / "README.md").read_text().splitlines()
        assert line.endswith(".") and len(line) > 30, group
        unexplained = [file.name for file in group.glob("*.yaml") if not configuration.told(file.read_text())]
        assert not unexplained, group


def test_the_page_is_up_to_date(configuration: ModuleType) -> None:
    """``python docs/configuration.py`` makes it."""
    assert (ROOT / "docs" / "configuration.md").read_text() == configuration.page(ROOT / "conf")


def test_what_a_choice_says(configuration: ModuleType) -> None:
    assert configuration.told("# @package _global_\n# A (b) of\n# c: python train.py x=1\na: 1") == "A (b) of c"
    given = {"defaults": [], "_target_": "x", "size": 5, "on": True, "file": None, "data": "${data}", "part": {"a": 1}}
    assert list(configuration.settings(given)) == [("size", "5"), ("on", "true"), ("file", "null")]
