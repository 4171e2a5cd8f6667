"""Writes docs/results.md and docs/results/<suite>.json from evaluations, so that no figure is copied by hand.

    python evaluate.py suite=all && python docs/results.py runs/evaluate/all/<run>

Several run folders become several chapters. A chapter whose run folder is not given stays as it is.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from anon.apps.run_folders.started import start_record
from anon.evaluation.document import read
from anon.evaluation.report.plain import markdown

DOCS = Path(__file__).resolve().parent
_RUNS = re.compile(r"/[^\s\"'=,]*(?=/(?:train|evaluate)/\w+/\d{4}-\d\d-\d\d_)")
PACKAGES = ("python", "torch", "numpy", "torchmetrics")
HEAD = """# Results

*Made by `python docs/results.py <run folder> ...`, of evaluations with what ships: no figure is copied by hand.*

Brackets are 95 % intervals. Synthetic faces of people who do not exist. What photographs, recognizers, attribute
readers and the training step give is in [measurements.md](measurements.md); older figures, of attackers that hours of
training made, in [results/2026-11-22.md](results/2026-11-22.md). Where we differ from a paper, [papers.md](papers.md)
says how.
"""


def chapter(folder: Path) -> str:
    """The tables of one evaluation as Markdown, one heading lower, under its command."""
    document, name = read(folder), folder_name(folder)
    given = [word for word in start_record(folder).get("overrides") or [] if not word.startswith(("paths.", "logger"))]
    versions = ", ".join(f"{package} {document.versions[package]}" for package in PACKAGES)
    told = (
        f"`python evaluate.py {' '.join(given)}` ({str(document.made.get('date', ''))[:10]}, commit "
        f"{str(document.commit)[:7]}, {document.made.get('device')}; {versions}): {len(document.lines)} combinations. "
        f"Every figure: [{name}.json](results/{name}.json)."
    )
    head, _, rest = markdown(document).partition("\n")
    lowered = [f"#{line}" if line.startswith("#") else line for line in rest.splitlines()]
    return "\n".join([f"#{head}", "", told, *lowered])


def placeless(text: str) -> str:
    """Run folders without the place where they lay.

    >>> placeless("checkpoint=/home/me/runs/train/parrot/2026-11-30_09-38-11_1882fa/checkpoints/last.ckpt")
    'checkpoint=runs/train/parrot/2026-11-30_09-38-11_1882fa/checkpoints/last.ckpt'
    """
    return _RUNS.sub("runs", text)


def folder_name(folder: Path) -> str:
    """What was evaluated: the folder that a run folder stands in."""
    return folder.resolve().parent.name


def chapters(page: str) -> dict[str, str]:
    """The chapters that a page has, by the name of their results.

    >>> chapters("# Results\\n\\n## All\\n[all.json](results/all.json).\\n\\n### One\\n\\n## Lfw\\n(results/lfw.json)")
    {'all': '## All\\n[all.json](results/all.json).\\n\\n### One', 'lfw': '## Lfw\\n(results/lfw.json)'}
    """
    found = [f"## {part.strip()}" for part in page.split("\n## ")[1:]]
    return {re.search(r"\(results/(\w+)\.json\)", part)[1]: part for part in found}  # type: ignore[index]


def main(folders: list[str]) -> None:
    """Write the page and copy each results.json."""
    if not folders:
        sys.exit("error: name the run folders of evaluations, such as runs/evaluate/all/<run>.")
    runs = [Path(folder) for folder in folders]
    old = chapters((DOCS / "results.md").read_text(encoding="utf-8"))
    page = "\n\n".join([HEAD.rstrip(), *(old | {folder_name(run): chapter(run) for run in runs}).values()])
    (DOCS / "results.md").write_text(placeless(page).rstrip() + "\n", encoding="utf-8")
    for run in runs:
        figures = (run / "results.json").read_text(encoding="utf-8")
        (DOCS / "results" / f"{folder_name(run)}.json").write_text(placeless(figures), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
