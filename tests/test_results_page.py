"""docs/results.md is what docs/results.py makes of docs/results/all.json: no figure of it is a copy by hand."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

from tests.conftest import ROOT


def test_the_page_is_what_the_results_say(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("results", ROOT / "docs" / "results.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = tmp_path / "all" / "run"
    folder.mkdir(parents=True)
    shutil.copyfile(ROOT / "docs" / "results" / "all.json", folder / "results.json")
    (folder / "started.json").write_text(json.dumps({"overrides": ["suite=all", "paths.runs=/somewhere"]}))
    chapter = module.chapter(folder)
    assert chapter.startswith("## Every method, attack and metric\n\n`python evaluate.py suite=all` (2")
    assert chapter.rstrip() in (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    assert "/somewhere" not in chapter
