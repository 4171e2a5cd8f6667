"""What makes a result, as a hash: whatever computes changes it, and nothing else does.

The kind of mistake: a key names what was used (a class's own file, a configuration, a file's time) in place of what it
holds. Instances: a helper in another file, a constant of a module, a closure, settings of an object that was built in a
notebook, buffers that are not saved, a file's bytes under an unchanged time, the version of a package; and the other
way round, a comment in a file that nothing reaches.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from anon import provenance
from anon.anonymizers import filters
from anon.identity.encoder import Encoder
from anon.provenance import code, made_of
from tests.evaluation.tiny_world import Projection
from tests.rewriting import rewrite

FILTER = """
from torch import nn
{top}
class Filter(nn.Module):
    def forward(self, images):
        {inside}
        return images * {call}
"""
HELPER = "import second\nWEIGHT = 0.5\ndef strength():\n    return second.deeper() * WEIGHT\n"
SECOND = "def deeper():\n    return 2.0\n"
WAYS = {  # how a filter may use its helper: at the top of its file, inside its function, what it calls
    "a function": ("from helper import strength", "", "strength()"),
    "a module": ("import helper", "", "helper.strength()"),
    "a module by another name": ("import helper as h", "", "getattr(h, 'strength')()"),
    "inside": ("", "from helper import strength", "strength()"),
    "a module inside": ("", "import helper", "helper.strength()"),
    "by its name": ("import importlib", "", "importlib.import_module('helper').strength()"),
    "a table": ("from helper import strength\nTABLE = {'it': [strength]}", "", "TABLE['it'][0]()"),
    "a partial": ("import functools, helper\nit = functools.partial(helper.strength)", "", "it()"),
    "a base class": (
        "from helper import strength\nclass Base:\n    def amount(self):\n        return strength()",
        "",
        "Base().amount()",
    ),
    "the globals": ("from helper import strength", "", "globals()['strength']()"),
}


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., nn.Module]]:
    """Writes a user's three files, as another process would find them, and builds the filter."""
    monkeypatch.syspath_prepend(str(tmp_path))
    names = ("filters_of_mine", "helper", "second")

    def build(way: str, helper: str = HELPER, second: str = SECOND) -> nn.Module:
        top, inside, call = WAYS[way]
        for name, text in zip(names, (FILTER.format(top=top, inside=inside, call=call), helper, second), strict=True):
            (tmp_path / f"{name}.py").write_text(text)
            sys.modules.pop(name, None)
        sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
        try:
            return __import__(names[0]).Filter()
        finally:
            sys.dont_write_bytecode = before

    yield build
    for name in names:
        sys.modules.pop(name, None)


@pytest.mark.parametrize("way", WAYS)
def test_what_a_filter_reaches_is_part_of_it(way: str, built: Callable[..., nn.Module]) -> None:
    before = made_of(built(way))
    assert made_of(built(way)) == before
    assert made_of(built(way, helper=HELPER.replace("* WEIGHT", "+ WEIGHT"))) != before
    assert made_of(built(way, helper=HELPER.replace("0.5", "0.4"))) != before
    assert made_of(built(way, second=SECOND.replace("2.0", "3.0"))) != before
    told = "# a remark\n" + HELPER.replace("():\n", '():\n    """What it does."""\n\n').replace("0.5", "( 0.5 )")
    assert made_of(built(way, helper=told, second="'''A file.'''\n" + SECOND)) == before


def test_comments_docstrings_and_other_definitions_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    before = made_of(filters.Pixelate(2))
    for old, new in (
        ("from __future__", "# a remark that moves every line\n\nfrom __future__"),
        ('class Pixelate(Filter):\n    """', 'class Pixelate(Filter):\n    """In other words: '),
        ("class PixelNoise(", "def nobody_calls_it():\n    return 1\n\n\nclass PixelNoise("),
    ):
        with monkeypatch.context() as patch:
            rewrite(patch, filters, old, new)
            assert made_of(filters.Pixelate(2)) == before, new


def test_a_change_in_a_function_that_is_called_does(monkeypatch: pytest.MonkeyPatch) -> None:
    before = made_of(filters.Pixelate(2)), made_of(filters.PixelNoise(0.1))
    monkeypatch.setattr(filters, "block_means", lambda images, blocks: images)
    assert made_of(filters.Pixelate(2)) != before[0]
    assert made_of(filters.PixelNoise(0.1)) == before[1]


class Given(nn.Module):
    """A filter as somebody builds it in a notebook."""

    def __init__(self, **settings: object) -> None:
        super().__init__()
        for name, value in settings.items():
            setattr(self, name, value)

    @functools.cached_property
    def worked_out(self) -> float:
        return 1.0


class Inner:
    def __init__(self, amount: float) -> None:
        self.amount = amount


@pytest.mark.parametrize(
    "one, other",
    [
        (1, 2),
        (1, 1.0),
        (True, 1),
        ("a", "b"),
        ([1, [2]], [1, [3]]),
        ({"a": 1}, {"a": 2}),
        (torch.zeros(2), torch.tensor([0.0, 1.0])),
        (torch.zeros(2).numpy(), torch.zeros(2, 1).numpy()),
        (Inner(1), Inner(2)),
        (functools.partial(max, 1), functools.partial(max, 2)),
        (lambda x: x + 1, lambda x: x + 2),
        (torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)),
        (nn.Conv2d(3, 3, 3, padding=1, bias=False), nn.Conv2d(3, 3, 3, padding=2, bias=False)),
    ],
)
def test_settings_that_no_file_states(one: object, other: object) -> None:
    if isinstance(other, nn.Conv2d):
        other.load_state_dict(one.state_dict())  # type: ignore[attr-defined]
    assert made_of(Given(setting=one)) == made_of(Given(setting=one)) != made_of(Given(setting=other))


def test_closures_and_defaults() -> None:
    def made(amount: float, least: float = 0.0) -> Callable[..., float]:
        def scaled(x: float, *, least: float = least) -> float:
            return max(x * amount, least)

        return scaled

    assert made_of(made(1.0)) == made_of(made(1.0))
    assert len({made_of(made(1.0)), made_of(made(2.0)), made_of(made(1.0, 1.0))}) == 3


def test_what_a_part_remembers_is_not_part_of_it() -> None:
    part = Given(setting=1)
    before = made_of(part)
    assert part.worked_out == 1.0 and made_of(part) == before


def test_weights_and_buffers_that_are_not_saved() -> None:
    torch.manual_seed(0)
    one, other = nn.Linear(2, 2), nn.Linear(2, 2)
    assert made_of(one) != made_of(other)
    other.load_state_dict(one.state_dict())
    assert made_of(one) == made_of(other) != made_of(nn.Bilinear(2, 1, 1))
    bright, dark = (Encoder(Projection(0), size=16, mean=(mean,) * 3) for mean in (0.5, 0.4))
    assert bright.fingerprint == dark.fingerprint and made_of(bright) != made_of(dark)


def test_a_file_counts_by_its_bytes(tmp_path: Path) -> None:
    file, moved = tmp_path / "weights.onnx", tmp_path / "copy.onnx"
    for each in (file, moved):
        each.write_bytes(b"one")
    stat = file.stat()
    before = made_of(Given(path=str(file)))
    assert before == made_of(Given(path=str(moved)))
    assert made_of(Given(path=file)) == made_of(Given(path=moved))
    file.write_bytes(b"two")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert file.stat().st_size == stat.st_size and made_of(Given(path=str(file))) != before


def test_versions_of_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    before = made_of(filters.Pixelate(2))
    monkeypatch.setattr(provenance, "version", lambda package: "0.0.1")
    assert made_of(filters.Pixelate(2)) != before


def test_code_takes_no_names_of_rooms() -> None:
    with pytest.raises(TypeError, match="'metrics'"):
        code("metrics")  # type: ignore[arg-type]


@pytest.mark.slow
def test_another_process_finds_the_same() -> None:
    text = (
        "from anon.faces.synthetic.shards import draw; from anon.anonymizers.filters import Pixelate\n"
        "from anon.provenance import code, made_of; print(code(draw), made_of(Pixelate(3)))"
    )
    from anon.faces.synthetic.shards import draw

    command = [sys.executable, "-W", "ignore", "-c", text]
    seeded = {**os.environ, "PYTHONHASHSEED": "7"}
    found = subprocess.run(command, env=seeded, capture_output=True, text=True, check=True).stdout
    assert found.split() == [code(draw), made_of(filters.Pixelate(3))]
