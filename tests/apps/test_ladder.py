"""The ladder from the command line: a generator, a parrot's recognizer, and who finds blurred people again."""

from __future__ import annotations

import json
from pathlib import Path

from anon.apps.runs import LAST
from tests.apps.conftest import Command, folder_of
from tests.apps.test_evaluate import SMALL
from tests.apps.test_exit_codes import refused

BLUR = ("anonymizer@protocol.victim=blur", "protocol.adversaries.reconstruction=null", "protocol.far=0.01")
TUNED = ("+attack@protocol.adversaries.parrot_tuned=parrot_tuned", "protocol.resamples=20")


def test_adversaries_of_a_filter(train: Command, evaluate: Command) -> None:
    generator = folder_of(train("experiment=fiva", "steps=2", "data.batch_size=4", *SMALL)) / LAST
    parrot = train(
        "experiment=parrot", "anonymizer@attack.victim=blur", "steps=2", "data.batch_size=4", "attack.runs=2", *SMALL
    )
    tuned = folder_of(parrot) / LAST
    ended = evaluate(
        "experiment=ladder",
        f"checkpoint={generator}",
        "data.clips=1",
        *SMALL,
        *BLUR,
        *TUNED,
        f"protocol.adversaries.parrot_tuned.recognizer.checkpoint={tuned}",
        "+attack@protocol.adversaries.wiener=wiener",
    )
    assert ended.code == 0, ended.err
    path = Path(ended.out.splitlines()[-1])
    rows = json.loads(path.read_text())["rows"]
    names = ["Real", "none", "negation", "parrot", "parrot_tuned", "wiener"]
    assert [(row["defense"], row["adversary"]) for row in rows] == [
        (defense, name) for defense in ("none", "uniform_noise") for name in names
    ]
    assert {row["method"] for row in rows} == {"Real", "GaussianBlur"}
    for name in ("table.md", "table.csv", "config.yaml"):
        assert (path.parent / name).is_file()
    assert not list(path.parent.glob("*.png"))  # the ladder shows nobody
    refused(evaluate("experiment=ladder", f"checkpoint={generator}", *SMALL, *BLUR, *TUNED), "recognizer.checkpoint")
