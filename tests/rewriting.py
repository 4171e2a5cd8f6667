"""A module of this package as if its file had another text."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest


def rewrite(monkeypatch: pytest.MonkeyPatch, module: ModuleType, old: str, new: str) -> None:
    """Put the definitions of the other text in the place of a module's own."""
    text = Path(str(module.__file__)).read_text(encoding="utf-8")
    assert old in text
    other = {"__name__": module.__name__, "__package__": module.__package__, "__file__": module.__file__}
    exec(compile(text.replace(old, new), str(module.__file__), "exec"), other)
    for name, value in other.items():
        if not name.startswith("__"):
            monkeypatch.setattr(module, name, value, raising=False)
