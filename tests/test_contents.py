"""What an object holds is part of its hash, whatever its type, and so is which one stands where.

The kind of mistake: contents are read from the types that somebody thought of, and all others hash as equal. Found in:
objects of Python's own classes (namespaces, deques, arrays, seeds, descriptors, files), of packages' in C,
bound built-ins, private slots, attributes of a kind of dict, objects in an array, masks; functions told apart by
their names, in no order; folders, the environment. What tells nothing was equal to all of its type.
"""

from __future__ import annotations

import sys
import types
from pathlib import Path

import numpy as np
import pytest

from anon import contents, provenance
from anon.evaluation.harness.store import Store, key_of
from anon.provenance import UNSHARED, made_of

FILTER = """
{top}
class Filter:
    def __call__(self, images, **given):
        return {call}
"""
CLOSURE = "def scaled(s):\n    def f(x): return x * s\n    return f\n"
#: One text for .1 and .9, or two texts.
WRITTEN = {
    "a namespace": ("from types import SimpleNamespace\nO = SimpleNamespace(s={})", "images * O.s"),
    "arguments": ("import argparse\nO = argparse.Namespace(s={})", "images * O.s"),
    "a view": ("from types import MappingProxyType\nO = MappingProxyType(dict(s={}))", "images * O['s']"),
    "a deque": ("from collections import deque\nO = deque([{}])", "images * O[0]"),
    "an array": ("import array\nO = array.array('d', [{}])", "images * O[0]"),
    "a user's dict": ("from collections import UserDict\nO = UserDict(s={})", "images * O['s']"),
    "a chain": ("from collections import ChainMap\nO = ChainMap(dict(s={}))", "images * O['s']"),
    "a default": ("from collections import defaultdict\nO = defaultdict(lambda: {})", "images * O['s']"),
    "an order": (
        "from collections import OrderedDict\nO = OrderedDict(a=0, b=0)\nO.move_to_end(('a' if {} < .5 else 'b'))",
        "images * list(O)[0]",
    ),
    "a file of settings": (
        "import configparser\nO = configparser.ConfigParser()\nO.read_string('[a]\\ns={}')",
        "O['a']['s']",
    ),
    "a partial method": (
        "import functools\nclass H:\n    g = functools.partialmethod(lambda self, x, s: x * s, s={})",
        "H().g(images)",
    ),
    "a getter": ("import operator\nO = operator.itemgetter({})", "O(images)"),
    "a caller": ("import operator\nO = operator.methodcaller('mul', {})", "O(images)"),
    "a built-in's object": ("O = dict(s={}).get", "images * O('s')"),
    "a variable of a context": (
        "from contextvars import ContextVar\nO = ContextVar('o', default={})",
        "images * O.get()",
    ),
    "a thread's own": ("import threading\nO = threading.local()\nO.s = {}", "images * O.s"),
    "a seed": ("import random\nO = random.Random({})", "images * O.random()"),
    "an array's seed": ("import numpy\nO = numpy.random.RandomState(int({} * 10))", "images * O.rand()"),
    "another generator's": ("import numpy\nO = numpy.random.default_rng(int({} * 10))", "images * O.random()"),
    "a format": ("import struct\nO = struct.Struct('>f' if {} < .5 else '<f')", "images * O.unpack(b'1234')[0]"),
    "a view of bytes": ("O = memoryview(str({}).encode())", "images * O[2]"),
    "a weak reference": ("import weakref\nclass Q: pass\nq = Q()\nq.s = {}\nO = weakref.ref(q)", "images * O().s"),
    "a cycle": ("import itertools\nO = itertools.cycle([{}])", "images * next(O)"),
    "a picture": ("from PIL import Image\nO = Image.new('L', (2, 2), int({} * 10))", "images * O.getpixel((0, 0))"),
    "objects in an array": (
        "import numpy\nclass Q:\n    def __init__(s): s.s = {}\n    def __repr__(s): return 'Q'\n"
        "O = numpy.array([Q()], dtype=object)",
        "images * O[0].s",
    ),
    "a mask": ("import numpy\nO = numpy.ma.array([1, 2], mask=[0, {} < .5])", "images * O.sum()"),
    "a private slot": (
        "class Q:\n    __slots__ = '__s',\n    def __init__(s): s.__s = {}\n    def s(s): return s.__s\nO = Q()",
        "images * O.s()",
    ),
    "a kind of dict": ("class Q(dict): pass\nO = Q()\nO.s = {}", "images * O.s"),
    "a kind of number": ("class Q(float):\n    def __repr__(s): return 'Q'\nO = Q({})", "images * O"),
    "a docstring that is read": ("class Q:\n    '{}'", "images * float(Q.__doc__)"),
    "an annotation that is read": ("class Q:\n    s: {}", "images * Q.__annotations__['s']"),
    "by a name": ("import sys\ndef h_1(x): return x * {}", "getattr(sys.modules[__name__], 'h_' + str(1))(images)"),
    "which of two": ("A = lambda x: x * {}\nB = lambda x: x * (1 - {})", "A(images) if len(images) else B(images)"),
    "closures in a list": (f"{CLOSURE}O = [scaled({{}}), scaled(1 - {{}})]", "O[0](images)"),
    "closures in a dict": (f"{CLOSURE}O = dict(weak=scaled({{}}), strong=scaled(1 - {{}}))", "O['weak'](images)"),
    "closures in a closure": (
        f"{CLOSURE}def both(f, g): return lambda x: f(x)\nO = both(scaled({{}}), scaled(1 - {{}}))",
        "O(images)",
    ),
}


def key(way: str, strength: str) -> str:
    top, call = WRITTEN[way]
    if way == "which of two":
        top = f"A = lambda x: x * {strength}\nB = lambda x: x * {'.1' if strength == '.9' else '.9'}"
    elif "closures" in way:
        top = top.replace("1 - {}", ".1" if strength == ".9" else ".9")
    module = types.ModuleType("written_by_a_user")
    sys.modules[module.__name__] = module
    try:
        exec(compile(FILTER.format(top=top.replace("{}", strength), call=call), "a.py", "exec"), vars(module))
        return made_of(module.Filter())
    finally:
        del sys.modules[module.__name__]


@pytest.mark.parametrize("way", WRITTEN)
def test_an_edit_of_what_an_object_holds_changes_the_hash(way: str) -> None:
    assert not key(way, ".1").startswith(UNSHARED)
    assert key(way, ".1") == key(way, ".1") != key(way, ".9")


def test_cycles_end_and_count() -> None:
    def ring(*strengths: float) -> list[object]:
        made: list[object] = [types.SimpleNamespace(s=each) for each in strengths]
        for one, other in zip(made, [*made[1:], made[0]], strict=True):
            one.next = other  # type: ignore[attr-defined]
        return made

    assert made_of(ring(1, 2, 3)) == made_of(ring(1, 2, 3)) != made_of(ring(1, 3, 2))
    one: list[object] = [1]
    one.append({"self": one})
    assert made_of(one) == made_of(one)


def test_sets_have_no_order_and_hold_what_they_hold() -> None:
    class Part:
        def __init__(self, s: float) -> None:
            self.s = s

    parts = [Part(0.1), Part(0.9), Part(0.5)]
    assert made_of({*parts}) == made_of({*parts[::-1]}) != made_of({*parts[:2]})
    assert made_of({Part(0.1)}) == made_of({Part(0.1)}) != made_of({Part(0.2)})


def test_what_cannot_be_told_is_never_equal_and_is_not_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    provenance._told.clear()
    first, second = ((x for x in (1, 2)) for _ in range(2))
    keys = [made_of({"s": first}), made_of({"s": second})]
    assert keys[0] != keys[1] and all(each.startswith(UNSHARED) for each in keys)
    assert made_of({"s": first}) == keys[0]  # the same object of one process
    assert capsys.readouterr().err.count("nobody can tell what is in a builtins.generator") == 1
    outer = key_of(of=keys[0], seed=1)
    assert outer.startswith(UNSHARED) and made_of(outer).startswith(UNSHARED)
    store = Store(tmp_path)
    assert store.get("kind", outer, lambda: {"a": provenance.torch.zeros(1)})["a"] == 0
    assert store.get("kind", outer, dict)["a"] == 0 and not list(tmp_path.iterdir())


def test_modules_in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A remark in the module that reads the weights' folder redrew all embeddings, as the bytecode beside it did."""
    folder = tmp_path / "parts"
    (folder / "__pycache__").mkdir(parents=True)
    (folder / "face.py").write_text("A = 1")
    before = made_of(folder)
    (folder / "__pycache__" / "face.pyc").write_text("compiled")
    assert made_of(folder) == before
    (folder / "face.py").write_text("A = 1  # a remark")
    assert made_of(folder) != before  # to a stranger it may be data
    monkeypatch.setattr(contents, "PACKAGE", tmp_path)
    before = made_of(folder)
    (folder / "face.py").write_text("A = 1")
    assert made_of(folder) == before
    (folder / "weights.bin").write_text("1")
    assert made_of(folder) != before


def test_a_folder_counts_by_the_names_and_bytes_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "tables"
    (folder / "deep").mkdir(parents=True)
    file = folder / "deep" / "strength.txt"
    file.write_text(".1")
    before = made_of(folder)
    assert made_of(str(folder)) == before
    file.write_text(".9")
    changed = made_of(folder)
    file.rename(folder / "deep" / "other.txt")
    assert len({before, changed, made_of(folder)}) == 3
    monkeypatch.setattr(contents, "FILES", 1)
    assert made_of(folder).startswith(UNSHARED)


def test_the_environment_where_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    source = "import os\ndef f(x): return x * float(os.environ['STRENGTH_OF_MINE'])"
    space: dict[str, object] = {"__name__": "written_by_a_user"}
    exec(compile(source, "a.py", "exec"), space)
    keys = []
    for strength in (".1", ".9"):
        monkeypatch.setenv("STRENGTH_OF_MINE", strength)
        keys.append(made_of(space["f"]))
    assert keys[0] != keys[1]


def test_dates_of_arrays_and_empty_ones() -> None:
    assert made_of(np.array(["2020-01-01"], "M8[D]")) != made_of(np.array(["2020-01-02"], "M8[D]"))
    assert made_of(np.zeros((0, 3))) != made_of(np.zeros((0, 4))) and made_of(np.float32(1)) != made_of(np.float64(1))
