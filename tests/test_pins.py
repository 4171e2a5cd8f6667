"""The ways to install agree: pyproject.toml, constraints.txt, Dockerfile, environment.yml; and the version is one."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

import anon
from tests.conftest import ROOT

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib  # type: ignore[no-redef]


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def pins() -> dict[str, Version]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    assert {str(each.marker) for each in found} <= {"None", 'python_version >= "3.11"'}  # of what has left 3.10 behind
    return {canonicalize_name(each.name): Version(str(each.specifier).removeprefix("==")) for each in found}


def asked(project: dict[str, Any], *extras: str) -> list[Requirement]:
    extra = [each for name in extras for each in project["optional-dependencies"][name]]
    return [Requirement(each) for each in [*project["dependencies"], *extra]]


def test_pins_lie_within_the_ranges(project: dict[str, Any], pins: dict[str, Version]) -> None:
    """Of everything that is installed by make, the Dockerfile or for the documentation there is a pin."""
    for each in asked(project, *project["optional-dependencies"]):
        pin = pins.get(canonicalize_name(each.name))
        assert pin is None or pin in each.specifier, each
    for each in asked(project, "dev", "docs", "demo", "detector", "store", "tensorboard"):
        assert canonicalize_name(each.name) in pins, each


def test_make_installs_what_extras_need(project: dict[str, Any]) -> None:
    """`dev`, whose tests run the demo, the site and TensorBoard, has all that these extras have."""
    dev = {str(each) for each in asked(project, "dev")}
    for extra in ("docs", "demo", "detector", "store", "tensorboard"):
        assert {str(each) for each in asked(project, extra)} <= dev, extra


def test_the_dockerfile_installs_the_same(project: dict[str, Any]) -> None:
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    steps = [line.partition(" ")[::2] for line in text.splitlines() if line and not line.startswith("#")]
    known = {"FROM", "RUN", "WORKDIR", "COPY", "ARG", "USER", "ENTRYPOINT", "CMD"}
    assert {name for name, _ in steps} <= known and steps[0][0] == "FROM"
    python = re.fullmatch(r"python:([\d.]+)-slim", steps[0][1])
    assert python is not None and Version(python[1]) in SpecifierSet(project["requires-python"])
    copied = [source for name, words in steps if name == "COPY" for source in words.split()[:-1]]
    assert {"constraints.txt", "pyproject.toml", "anon", "conf", *project["license-files"]} <= set(copied)
    assert all((ROOT / source).exists() for source in copied)
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert {f"!{source}" for source in copied} <= set(ignored)  # nothing else is sent, so all of it must be
    (install,) = [shlex.split(words) for name, words in steps if name == "RUN" and words.startswith("pip install")]
    assert install[install.index("-c") + 1] == "constraints.txt"
    extras = re.fullmatch(r"\.\[([\w,]+)\]", install[-1])
    assert extras is not None and set(extras[1].split(",")) <= set(project["optional-dependencies"])


def test_the_conda_environment_installs_the_same(project: dict[str, Any]) -> None:
    content = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    *packages, by_pip = content["dependencies"]
    (python,) = [each for each in packages if each.startswith("python=")]
    assert Version(python.partition("=")[2]) in SpecifierSet(project["requires-python"]) and "pip" in packages
    assert by_pip == {"pip": ["-c constraints.txt", "-e .[dev]"]}


def test_the_version_is_told_once() -> None:
    """CHANGELOG.md and CITATION.cff name the version of the package; a released one has one date in both."""
    heads = re.findall(r"^## \[(.+?)\] - (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    version, date = heads[0]
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert version == anon.__version__ == str(cited["version"])
    assert date == "unreleased" or date == str(cited["date-released"])


def test_the_citation_is_one() -> None:
    """The required keys of Citation File Format 1.2.0, and of every reference."""
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["cff-version"] == "1.2.0" and {"message", "title", "authors"} <= cited.keys()
    assert all({"name"} <= who.keys() or {"family-names", "given-names"} <= who.keys() for who in cited["authors"])
    papers = {each["title"].partition(":")[0]: each for each in cited["references"]}
    assert {"FIVA", "FaceDancer", "SimSwap"} <= papers.keys() and len(papers) >= 4
    for each in cited["references"]:
        assert {"type", "title", "authors", "year"} <= each.keys()
    license_ = Path(ROOT / "LICENSE").read_text(encoding="utf-8").split()[0]
    assert cited["license"] == license_ == "MIT"
