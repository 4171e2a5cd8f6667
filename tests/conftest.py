"""Shared by all tests: few threads, a cache that is not the user's, and the real faces where they are at hand."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

import anon  # noqa: F401, before anything imports Lightning: see anon.torchvision_ops

ROOT = Path(__file__).resolve().parent.parent

#: Files that take a minute or so begin first, so that no process works alone at the end (--no-loadscope-reorder).
LONGEST = (
    "evaluation/harness/test_killed.py",
    "apps/run_folders/test_killed.py",
    "apps/test_evaluate.py",
    "identity/test_real_recognizers.py",
    "apps/launch/test_preempted.py",
    "apps/test_people.py",
    "apps/test_folder_method.py",
    "apps/run_folders/test_records.py",
    "training/test_ddp.py",
    "apps/test_own_parts.py",
    "training/test_identity_follows_z.py",
    "apps/door/test_documented.py",
    "test_package.py",
)

os.environ.setdefault("ANON_REAL", str(ROOT.parent / "shared" / "real"))
os.environ.setdefault("WANDB_MODE", "offline")
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)
# When Hydra sets up logging, absl, which TensorBoard imports, closes the stderr that it was imported under: pytest's.
with contextlib.suppress(ImportError):
    from absl.logging import get_absl_handler

    get_absl_handler().python_handler.stream = sys.__stderr__


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    last = len(LONGEST)
    places = {str(ROOT / "tests" / name): place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(str(item.path), last))  # stable: within a file nothing moves


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    """A test's random numbers depend on no other test, nor does its number of threads, which a line on stderr tells."""
    torch.manual_seed(0)
    yield
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ.setdefault("ANON_CACHE", str(tmp_path_factory.mktemp("cache")))


def script(path: str) -> ModuleType:
    """A script of the checkout, such as ``docs/results.py``, which is in no package, as a module."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def real() -> Path:
    """Folder of real faces and models, named by ``ANON_REAL``; the test is skipped where there is none."""
    folder = Path(os.environ["ANON_REAL"])
    if not (folder / "faces").is_dir():
        pytest.skip(f"needs real faces: ANON_REAL={folder} has no folder 'faces'")
    return folder
