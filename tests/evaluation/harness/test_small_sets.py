"""Sets too small for splits of their own: thresholds from elsewhere, everyone evaluated, one picture a person.

The kind: an evaluation took everything from the evaluated set's own splits, so a set of twenty people was refused
whatever was known of the judge. Other instances than the threshold: anchors of fake identities, thresholds of the
method's encoder and of adversaries, the check that a judge recognizes, people with a single picture; and the keys
of kept figures, which must hold a threshold that is given.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import open_dict

from anon.errors import UserError
from anon.evaluation.compare.evaluations import unlike
from anon.evaluation.document import Document, as_json, from_json, read
from anon.evaluation.harness.run import run
from anon.evaluation.judges.gallery import templates
from anon.evaluation.protocol import halves, one_of_each
from anon.faces.contract import in_eight_bits
from anon.faces.learned import Learned, remember
from anon.identity.judge import Judge
from tests.evaluation import tiny_world
from tests.evaluation.harness.test_run import JUDGE, ONLY, Built, config, line
from tests.evaluation.harness.tiny_stages import stages
from tests.evaluation.tiny_world import Data, Negative, People, encoder, judge

OTHER = {"_target_": "tests.evaluation.tiny_world.Data"}


class Whole:
    """Seven people of two pictures and one of a single one, all of them evaluated."""

    name, everyone = "few", True

    def __init__(self, stills: int = 2) -> None:
        self.people = People("evaluation", 8, stills=stills)

    def faces(self, split: str) -> People:
        assert split == "evaluation", f"{split} was asked for"
        return self.people


def evaluate(output: Path, *words: str, data: Any = None, seed: int = JUDGE, generator: Any = None) -> Document:
    cfg = config(*ONLY, *words)
    with open_dict(cfg):
        cfg.suite.datasets = {"synthetic": OTHER, "other": OTHER}
    method = {"title": "FIVA", "policies": True, "anonymizer": Built(generator or Negative(), encoder(0))}
    return read(run(judge(seed), data or Whole(), cfg, output, methods={"checkpoint": method}))


def refusal(output: Path, *words: str, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        evaluate(output, *words, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is known of the judge from other people."""
    folder = tmp_path_factory.mktemp("large")
    evaluate(folder, data=Data())
    return folder


def found(people: People, enrolled: torch.Tensor, probes: torch.Tensor, limit: float, negative: bool) -> float:
    """By hand: the share of the probes whose nearest enrolled average is their own person's, nearer than the limit."""
    images = in_eight_bits(people.images)
    see = judge(JUDGE).embed
    averages, owners = templates(see(images[enrolled]), people.labels[enrolled], people.videos[enrolled])
    apart = 1 - see(in_eight_bits(-images[probes]) if negative else images[probes]) @ averages.T
    nearest, place = apart.min(1)
    return float(((owners[place] == people.labels[probes]) & (nearest < limit)).double().mean())


def test_a_small_set_without_anything_is_refused_with_the_ways_out(tmp_path: Path) -> None:
    text = refusal(tmp_path)
    assert "data.everyone=true leaves nobody of few" in text
    assert "suite.threshold=<distance" in text and "suite.reference=<name>" in text


def test_a_given_distance_judges_everyone(tmp_path: Path) -> None:
    document = evaluate(tmp_path, "suite.threshold=0.3")
    people, known = document.people["few"], document.judges["few"]
    assert (people.split, people.identities, people.probes, people.gallery) == ("everyone", 7, 7, 8)
    assert (people.reference, people.enrolment) == ("fake", "apart")
    assert (known.threshold, known.picture_threshold, known.threshold_low, known.threshold_levels) == (
        0.3,
        0.3,
        None,
        (),
    )
    assert (known.source, known.split, known.impostor_pairs) == ("given and taken as exact", "everyone", 7 * 7)
    assert {each.split for each in document.lines} == {"everyone"}
    half = halves(Whole().people)
    for policy, negative in (("none", False), ("plain", True)):
        figure = line(document, "Real" if policy == "none" else "FIVA", policy)["ID"]
        assert figure.value == pytest.approx(found(Whole().people, half.enrol, half.probe, 0.3, negative))
        assert figure.high - figure.low > 0.25  # seven people tell little
    told = (tmp_path / "table.md").read_text()
    assert "is 0.3, given and taken as exact; on the unchanged faces of few it accepts" in told
    assert "All 8 people of few are evaluated" in told
    assert "Anchors of fake identities are training people of fake" in told
    assert "| everyone" in told and "other pictures than the probes" in told


def test_a_threshold_of_another_evaluation_comes_with_its_spread(tmp_path: Path, large: Path) -> None:
    theirs = read(large).judges["fake"]
    document = evaluate(tmp_path / "taken", f"suite.threshold={large}")
    known = document.judges["few"]
    for name in ("threshold", "threshold_low", "threshold_high", "threshold_levels", "picture_threshold"):
        assert getattr(known, name) == getattr(theirs, name)
    assert known.source == f"taken from fake: FAR 0.01 on {theirs.impostor_pairs} pairs of its background people"
    exact = evaluate(tmp_path / "exact", f"suite.threshold={theirs.threshold}")
    for each in ("Real", "FIVA"):
        policy = "none" if each == "Real" else "itm"
        one, other = line(document, each, policy)["ID"], line(exact, each, policy)["ID"]
        assert one.value == other.value
        assert one.low <= other.low + 1e-9 and one.high >= other.high - 1e-9  # the threshold's spread comes on top


def test_a_threshold_is_of_one_judge_with_its_settings(tmp_path: Path, large: Path) -> None:
    assert "in other weights or settings" in refusal(tmp_path, f"suite.threshold={large}", seed=JUDGE + 1)
    flipping = Judge(encoder(JUDGE), flip=True)
    with pytest.raises(UserError, match="in other weights or settings"):
        stages(data=Whole(), judge=flipping, threshold=str(large), far=0.01)
    assert "say suite.far=0.01" in refusal(tmp_path, f"suite.threshold={large}", "suite.far=0.02")


def test_a_threshold_that_was_given_is_not_handed_on(tmp_path: Path, large: Path) -> None:
    evaluate(tmp_path / "given", "suite.threshold=0.3")
    assert "was itself given" in refusal(tmp_path, f"suite.threshold={tmp_path / 'given'}")
    content = json.loads((large / "results.json").read_text())
    content["judges"]["more"] = content["judges"]["fake"]
    (tmp_path / "results.json").write_text(json.dumps(content))
    assert "on 2 data sets (fake, more)" in refusal(tmp_path / "a", f"suite.threshold={tmp_path}")


@pytest.mark.parametrize(
    "change",
    [
        {"threshold": 3.0},
        {"threshold": None},
        {"threshold": -0.1},
        {"threshold": "0.3"},
        {"threshold_levels": [0.1, None]},
        {"threshold_levels": [0.5] * 2000},
        {"picture_threshold": None},
    ],
)
def test_results_that_hold_no_distances(tmp_path: Path, large: Path, change: dict[str, Any]) -> None:
    content = json.loads((large / "results.json").read_text())
    content["judges"]["fake"] |= change
    (tmp_path / "results.json").write_text(json.dumps(content))
    told = refusal(tmp_path / "a", f"suite.threshold={tmp_path}")
    assert "it is damaged" in told or "is not what stands there" in told


def test_results_of_versions_that_kept_no_judge(tmp_path: Path, large: Path) -> None:
    content = json.loads((large / "results.json").read_text())
    for name in ("fingerprint", "source", "threshold_levels", "picture_threshold_levels"):
        del content["judges"]["fake"][name]
    for name in ("enrolment", "reference"):
        del content["people"]["fake"][name]
    (tmp_path / "results.json").write_text(json.dumps(content))
    assert read(tmp_path).judges["fake"].threshold == read(large).judges["fake"].threshold
    assert unlike(read(tmp_path), read(large), "fake") == ""  # what nobody kept is no difference
    other = replace(read(large).judges["fake"], fingerprint="another")
    assert unlike(replace(read(large), judges={"fake": other}), read(large), "fake") == "other judge"
    assert "did not keep which judge" in refusal(tmp_path / "a", f"suite.threshold={tmp_path}")


@pytest.mark.parametrize("value", ["62", "0", "-0.5", "true", "nan"])
def test_what_is_no_distance(tmp_path: Path, value: str) -> None:
    assert f"suite.threshold={'True' if value == 'true' else value}" in refusal(tmp_path, f"suite.threshold={value}")
    assert "cannot be read" in refusal(tmp_path, "suite.threshold=/nowhere")


def test_a_judge_that_says_nothing_at_a_distance_judges_nothing(tmp_path: Path) -> None:
    """Everybody is below 1.99; nobody but identical pictures below .0001."""
    assert "accepts 100.0% of the pairs of different people" in refusal(tmp_path, "suite.threshold=1.99")
    assert "and 0.0% of those of one" in refusal(tmp_path, "suite.threshold=0.0001")
    same = refusal(tmp_path, "suite.threshold=1.99", "suite.enrolment=same")
    assert "accepts 100.0% of the pairs of different people" in same


def test_everything_else_comes_from_the_reference(large: Path) -> None:
    other = Data()
    made = stages(data=Whole(), threshold=0.3, reference="other", datasets={"other": other}, far=0.01)
    made.datasets = {"default": Whole(), "other": other}.__getitem__
    people = made.subjects("default")
    assert people.anchors.faces is other.faces("train") and people.background.faces is other.faces("background")
    by = made.conditioning(encoder(0))
    assert made.calibrations.of_probes("default", by).found.impostor_pairs > 300  # of 19 background people
    assert made.calibrations.of_probes("default", made.judge).found.threshold == 0.3


def test_a_reference_alone_calibrates_the_judge(tmp_path: Path, large: Path) -> None:
    document = evaluate(tmp_path, "suite.reference=other")
    known, theirs = document.judges["few"], read(large).judges["fake"]
    assert (known.threshold, known.split, known.source) == (theirs.threshold, "background", None)
    assert "thresholds of recognizers are those of its background people" in " ".join(document.notes)
    handed_on = evaluate(tmp_path / "on", f"suite.threshold={tmp_path}")
    assert handed_on.judges["few"].source.startswith("taken from fake: FAR 0.01")  # whose people they are, not few's
    assert "none of suite.datasets" in refusal(tmp_path, "suite.reference=nobody")


def test_nobody_is_in_the_reference_and_evaluated(tmp_path: Path) -> None:
    """In any spelling; numbers are many people's names."""

    class Known(Whole):
        def faces(self, split: str) -> People:
            found = super().faces(split)
            found.names = ["Background_3", "TRAIN 1", *found.names[2:]]
            return found

    text = refusal(tmp_path, "suite.threshold=0.3", "suite.reference=other", data=Known())
    assert "1 of the 8 evaluated people of few are in suite.reference, fake" in text


def test_one_picture_a_person_is_searched_for_with_what_becomes_of_it(tmp_path: Path) -> None:
    """The kind of set that was refused: eight people with one picture each."""
    single = Whole(stills=1)
    text = refusal(tmp_path, "suite.threshold=0.3", data=single)
    assert "two pictures" in text and "suite.enrolment=same" in text
    document = evaluate(tmp_path, "suite.threshold=0.3", "suite.enrolment=same", data=single)
    people, known = document.people["few"], document.judges["few"]
    assert (people.identities, people.probes, people.gallery, people.enrolment) == (8, 8, 8, "same")
    assert known.eer is None and known.impostor_pairs == 8 * 7
    every = torch.arange(8)
    assert line(document, "Real")["ID"].value == 1.0
    assert line(document, policy="plain")["ID"].value == found(single.people, every, every, 0.3, True)
    assert line(document, policy="plain")["ID_rank1"].value == found(single.people, every, every, math.inf, True)
    told = (tmp_path / "table.md").read_text()
    assert "re-identification against the original" in told and "the one picture that probes, unchanged" in told
    assert from_json(as_json(document)) == document


def test_one_picture_of_those_who_have_more_and_a_calibration_that_compares_two(tmp_path: Path) -> None:
    """A picture is no distance from itself, so background people probe with others than the one that is enrolled."""
    people = People("evaluation", 5, stills=4, clips=2)
    half = one_of_each(people)
    assert torch.equal(half.enrol, half.probe) and people.labels[half.enrol].tolist() == [0, 1, 2, 3, 4]
    assert (people.videos[half.enrol] < 0).all()
    made = stages(enrolment="same")
    roles = made.subjects("default").calibrating
    assert len(roles.enrol) == 20 and not torch.isin(roles.probe, roles.enrol).any()
    known = made.calibrations.of_probes("default", made.judge).found
    assert known.threshold > 0.01 and len(made.subjects("default").clips) == 0
    assert "must be apart or same" in refusal(tmp_path, "suite.enrolment=twice")


def test_kept_figures_are_of_their_threshold(tmp_path: Path) -> None:
    """The same cache, another threshold: a figure that is found again must not be that of the other."""
    cache = f"paths.cache={tmp_path / 'cache'}"
    values = []
    for number, limit in enumerate((0.05, 0.3, 0.05)):
        document = evaluate(tmp_path / str(number), cache, f"suite.threshold={limit}", "suite.max_eer=1")
        values.append(line(document, "Real")["ID"].value)
    assert values[0] == values[2] < values[1]


def test_who_taught_a_network_is_not_evaluated_whatever_the_set(tmp_path: Path) -> None:
    known = Negative()
    remember(known, Learned.of(["evaluation-3"], synthetic=True))
    text = refusal(tmp_path, "suite.threshold=0.3", generator=known)
    assert "learned from 1 of the 8 people of few" in text


def test_the_tables_of_a_usual_evaluation_say_where_its_threshold_is_from(large: Path) -> None:
    document = read(large)
    assert (document.people["fake"].split, document.judges["fake"].source) == ("evaluation", None)
    told = (large / "table.md").read_text()
    assert "background people" in told and "taken as exact" not in told
    assert replace(document.judges["fake"], threshold_levels=()) != document.judges["fake"]
    assert tiny_world.judge(JUDGE).fingerprint != document.judges["fake"].fingerprint  # settings count too
