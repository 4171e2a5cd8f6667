"""docs/metrics.md names every metric, and nothing that there is not."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest
import torchmetrics

import anon.metrics

PAGE = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"
NAMES = [found.name for found in pkgutil.iter_modules(anon.metrics.__path__)]


def test_the_page_names_every_metric_and_only_what_there_is():
    if not PAGE.is_file():
        pytest.skip("a source distribution has no docs/")
    modules = {name: importlib.import_module(f"anon.metrics.{name}") for name in NAMES}
    named = set(re.findall(rf"`((?:{'|'.join(NAMES)})\.\w+)`", PAGE.read_text(encoding="utf-8")))
    missing = [name for name in named if not hasattr(modules[name.split(".")[0]], name.split(".")[1])]
    assert missing == []
    classes = {
        f"{name}.{kind.__name__}"
        for name, module in modules.items()
        for kind in vars(module).values()
        if inspect.isclass(kind) and issubclass(kind, torchmetrics.Metric) and kind.__module__ == module.__name__
    }
    bases = {f"states.{base}" for base in ("FaceMean", "KnownMean", "FaceMeans", "Kept")}
    bases.add("verification._LabelledEmbeddings")
    assert bases < classes and len(classes - bases) > 25
    assert classes - bases - named == set()
