"""From a training on one folder to an evaluation on another in which one of its people has another name."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from anon.apps.checkpoints import LEARNED_KEY, read_checkpoint
from anon.apps.run_folders.folder import LAST
from anon.evaluation.document import read
from anon.faces.splits import SPLITS, split_of
from anon.faces.synthetic import parameters
from anon.faces.synthetic.render import render
from tests.apps.conftest import Command, folder_of
from tests.apps.launch.test_exit_codes import refused

EACH = 4
PEOPLE = {"train": 6, "background": 12, "evaluation": 6}
SMALL = ("data=folder", "data.size=32", "data.batch_size=4", "logger=csv")
RULES = ("suite.far=0.05", "suite.resamples=20", "suite.anchors=8", "suite.grid_faces=0", "judge=synthetic_b")
RULES += ("suite.tables.robustness=null", "suite.tables.table1.measures=[retrieval]")


def folder(root: Path, people: list[str], first: int) -> Path:
    """Rendered people under these names, ``EACH`` pictures of each."""
    who = [first + number for number in range(len(people)) for _ in range(EACH)]
    shown = render(parameters.people(who), parameters.stills(who, list(range(len(who))), occluders=0.0), 32)
    for place, image in enumerate(shown.images):
        path = root / people[place // EACH] / f"{place % EACH}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.numpy()).save(path)
    return root


def named(stem: str, counts: dict[str, int]) -> list[str]:
    names = [f"{stem}_{number}" for number in range(400)]
    return [name for split in SPLITS for name in [n for n in names if split_of(n) == split][: counts.get(split, 0)]]


@pytest.mark.slow
def test_a_training_remembers_its_people(train: Command, evaluate: Command, tmp_path: Path) -> None:
    first = folder(tmp_path / "first", named("Ann", PEOPLE), 0)
    learned = [path.name for path in first.iterdir() if split_of(path.name) == "train"]
    spellings = (name.replace("_", mark).lower() for name in learned for mark in (" ", "-", "__", " - "))
    spelled = next(name for name in spellings if split_of(name) == "evaluation")
    second = folder(tmp_path / "second", [*named("Bob", PEOPLE), spelled], 100)

    run = folder_of(train("experiment=fiva", "steps=2", f"data.root={first}", *SMALL))
    kept = read_checkpoint(run / LAST)[0][LEARNED_KEY]
    assert len(kept["people"]) == 6 and kept["domains"] == ["photographs"]
    given = ("experiment=fiva", f"checkpoint={run / LAST}", *SMALL, *RULES)
    refused(evaluate(*given, f"data.root={second}"), "FIVA learned from 1 of the 7 people", "allow_training_people")

    marked = evaluate(*given, f"data.root={second}", "suite.allow_training_people=true")
    notes = read(folder_of(marked)).notes
    assert any("FIVA learned from 1 of the 7 evaluated people" in note for note in notes)
    assert any("synthetic_robust" in note and "never saw a photograph" in note for note in notes)
    assert "never saw a photograph" in (folder_of(marked).parent / "report.html").read_text()

    again = folder_of(train("experiment=fiva", "steps=3", f"ckpt_path={run / LAST}", f"data.root={second}", *SMALL))
    begun = folder_of(train("experiment=fiva", "steps=2", f"model.start={run / LAST}", f"data.root={second}", *SMALL))
    for later in (again, begun):
        both = read_checkpoint(later / LAST)[0][LEARNED_KEY]
        assert set(kept["people"].tolist()) < set(both["people"].tolist()) and len(both["people"]) == 12
