"""The template of a report in W&B: its panels show figures that runs log."""

from __future__ import annotations

import csv
from types import ModuleType

import pytest

from tests.apps.conftest import Command, command, folder_of, train
from tests.apps.test_debug import SMALL
from tests.conftest import script

__all__ = ["command", "train"]  # fixtures


@pytest.fixture(scope="module")
def report() -> ModuleType:
    pytest.importorskip("wandb_workspaces", reason="needs the extra report")
    return script("sweeps/report.py")


def test_every_figure_is_one_that_a_training_logs(report: ModuleType, train: Command) -> None:
    folder = folder_of(train(*SMALL, "debug=fast", "trainer.log_every_n_steps=1"))
    with (folder / "metrics.csv").open() as file:
        logged = set(next(csv.reader(file)))
    asked = {name for question in report.QUESTIONS for names in question.panels.values() for name in names}
    assert asked - logged == set()


def test_its_panels_are_of_trainings_and_its_table_of_evaluations(report: ModuleType) -> None:
    grids = [block for block in report.blocks("me", "mine") if type(block).__name__ == "PanelGrid"]
    filters = [runs.filters for grid in grids for runs in grid.runsets]
    assert filters == ["JobType == 'train'"] * (len(report.QUESTIONS) + 1) + ["JobType == 'evaluate'"]
    drawn = [panel.y for grid in grids for panel in grid.panels if type(panel).__name__ == "LinePlot"]
    assert drawn == [names for question in report.QUESTIONS for names in question.panels.values()]
    assert {(runs.entity, runs.project) for grid in grids for runs in grid.runsets} == {("me", "mine")}
