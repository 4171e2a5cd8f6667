"""Makes a report of a project in Weights & Biases: ``python sweeps/report.py <entity>/<project>``; needs a login.

Its questions stand in :data:`QUESTIONS`, each with the panels that answer it (docs/tracking.md). It is saved as a
draft, to be edited there.

    pip install 'anon-faces[report]'
    python sweeps/report.py my-team/anon
"""

from __future__ import annotations

import argparse
from typing import Any, NamedTuple

import wandb_workspaces.reports.v2 as wr

STEP = "trainer/global_step"


class Question(NamedTuple):
    """A heading, what its answer means, and the figures of its lines, each panel a title and names."""

    heading: str
    meaning: str
    panels: dict[str, list[str]]


QUESTIONS = (
    Question(
        "Does it flee?",
        "The cosine of the changed face to the person falls, and that of the generator's own picture with it. Where it "
        "stays near 1, the network copies its input.",
        {"cosine to the own person": ["val/cos_own"], "in training": ["train/cos_blended", "train/cos_raw"]},
    ),
    Question(
        "What does it keep?",
        "Read beside the panels above: a run that is better in both is better, one that buys this with that is not.",
        {"pixel distance": ["val/l1"], "share of the frame that is redrawn": ["train/mask_area"]},
    ),
    Question(
        "Is it healthy?",
        "A discriminator near 0 has won, one at 1.39 sees no difference; gradients that jump come before a collapse.",
        {
            "discriminator": ["train/discriminator"],
            "gradients": ["train/generator_grad", "train/discriminator_grad"],
            "images a second": ["train/images_per_s"],
        },
    ),
)


def blocks(entity: str, project: str) -> list[Any]:
    """The blocks of the report: of trainings, grouped as they were, their grids, and a table of evaluations."""
    training = wr.Runset(entity, project, name="trainings", filters="JobType == 'train'", groupby=["Group"])
    evaluation = wr.Runset(entity, project, name="evaluations", filters="JobType == 'evaluate'")
    made: list[Any] = [wr.TableOfContents()]
    for question in QUESTIONS:
        lines = [wr.LinePlot(title=title, x=STEP, y=list(names)) for title, names in question.panels.items()]
        made += [wr.H1(question.heading), wr.P(question.meaning), wr.PanelGrid(runsets=[training], panels=lines)]
    grid = wr.PanelGrid(runsets=[training], panels=[wr.MediaBrowser(media_keys=["grid"])])
    made += [wr.H1("What does it look like?"), grid, wr.H1("What is it worth?")]
    return [*made, wr.P(WORTH), wr.PanelGrid(runsets=[evaluation], panels=[])]


WORTH = (
    "Columns to show: table1/.../ID, purified_ID and RA with their _low and _high, beside SSIM. The judge who finds "
    "most decides, and a figure whose interval overlaps with another's is not better."
)


def main() -> None:
    """Save the draft and print its address."""
    parser = argparse.ArgumentParser(description="Make a report of a W&B project.")
    parser.add_argument("project", help="<entity>/<project>")
    entity, _, project = parser.parse_args().project.partition("/")
    if not project:
        parser.error("give <entity>/<project>, as in my-team/anon")
    report = wr.Report(entity=entity, project=project, title="anon", blocks=blocks(entity, project))
    report.save(draft=True)
    print(report.url)


if __name__ == "__main__":
    main()
