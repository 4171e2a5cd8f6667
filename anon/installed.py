"""Which modules were installed and by which version, and which ones somebody works on."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import re
import sys
import sysconfig
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

_SOLD_AS = {"PIL": "pillow", "cv2": "opencv-python-headless", "hydra": "hydra-core"}  # others take a second to find


@functools.cache
def is_module(name: str) -> bool:
    """Whether a text is the name of a module that can be imported."""
    if re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", name) is None:
        return False
    if name in sys.modules:
        return True
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError, AttributeError):
        return False


@functools.cache
def library(name: str) -> str | None:
    """The package that a module was installed with; "" for Python's own, None for a module that somebody works on."""
    top = name.partition(".")[0]
    if top in ("anon", "__main__"):
        return None
    file = getattr(sys.modules.get(name), "__file__", None)
    if file is None and is_module(name) and name not in sys.modules:
        file = getattr(importlib.util.find_spec(name), "origin", None)
    if file is None or not Path(file).is_absolute():
        if top in sys.stdlib_module_names:
            return ""
        return top if is_module(name) and version(top) else None
    parts = Path(file).parts
    if "site-packages" in parts or "dist-packages" in parts:
        return top
    standard = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
    return "" if any(str(file).startswith(f"{folder}/") for folder in standard) else None


@functools.cache
def version(package: str) -> str:
    """Of what was installed by the name that is imported, or by another; "" for what was not."""
    for name in (package, _SOLD_AS.get(package, package)):
        with contextlib.suppress(metadata.PackageNotFoundError):
            return metadata.version(name)
    return " ".join(sorted({metadata.version(name) for name in _distributions().get(package, ())}))


@functools.cache
def _distributions() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()
