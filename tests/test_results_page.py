"""docs/results.md is what docs/results.py makes of docs/results/all.json: no figure of it is a copy by hand."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from tests.conftest import ROOT, script


def test_the_page_is_what_the_results_say(tmp_path: Path) -> None:
    module = script("docs/results.py")
    folder = tmp_path / "all" / "run"
    folder.mkdir(parents=True)
    shutil.copyfile(ROOT / "docs" / "results" / "all.json", folder / "results.json")
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    shown = module.chapters(page)["all"]
    said = re.search(r"`python evaluate\.py (suite=all[^`]*)`", shown)
    assert said is not None
    (folder / "started.json").write_text(json.dumps({"overrides": [*said[1].split(), "paths.runs=/somewhere"]}))
    chapter = module.chapter(folder)
    assert chapter.startswith(f"## Every method, attack and metric\n\n`python evaluate.py {said[1]}` (2")
    assert chapter.rstrip() == shown and "/somewhere" not in chapter
    assert module.HEAD.rstrip() + "\n\n" + "\n\n".join(module.chapters(page).values()) + "\n" == page
