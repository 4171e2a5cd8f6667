"""Whole evaluations of the shipped configuration on the tiny world: one checkpoint's tables, defenses, swaps."""

from __future__ import annotations

import csv
import json
import math
from typing import Any, NamedTuple

import pytest
import torch
from PIL import Image
from torch import nn

from anon.apps.config import composed
from anon.errors import UserError
from anon.evaluation.document import read
from anon.evaluation.harness.run import run
from anon.evaluation.harness.subjects import subjects
from anon.evaluation.protocol import Protocol, halves
from anon.faces.contract import in_eight_bits
from anon.faces.detection.contract import Detections
from anon.generators.contract import Redrawn
from tests.evaluation import tiny_world
from tests.evaluation.tiny_world import Data, Negative, Other, People, encoder, judge

HERE = "tests.evaluation.harness.test_run"
JUDGE = 0x5EED
RULES = ("seed=3", "logger=csv", "paths.cache=null", "suite.far=0.01", "suite.resamples=100", "suite.attacked_probes=2")
RULES += ("suite.clip_frames=3", "suite.anchors=15", "suite.grid_faces=2", "suite.batch_size=7")
ATTACK = ("attack=reconstruction",)


class Built(NamedTuple):
    """In the place of what a checkpoint gives."""

    generator: nn.Module
    encoder: nn.Module
    name: str = "FIVA"


class Detector:
    """Finds a face in whatever is not all of one colour."""

    name, has_points = "detector", False

    def detect_batch(self, frames):
        return [self.detect(frame) for frame in frames]

    def detect(self, frame):
        count = int(frame.float().std() > 1)
        return Detections(torch.zeros(count, 4), torch.zeros(count, 5, 2), torch.ones(count))


class Perfect(nn.Module):
    """A swapper that draws the person whose embedding it gets: the picture nearest to z."""

    steers = 1

    def __init__(self, faces: People) -> None:
        super().__init__()
        self.faces, self.z = faces, encoder(0)(faces.images).z

    def forward(self, target, z):
        return Redrawn(self.faces.images[(z @ self.z.T).argmax(1)], None)


class Nothing(nn.Module):
    steers = 1

    def forward(self, target, z):
        return Redrawn(target.clone(), None)


@pytest.fixture(autouse=True)
def attacks(monkeypatch):
    """A checkpoint's name is the factor by which the attack multiplies; or it stands in the file."""

    def trained(checkpoint):
        factor, _, seed = str(checkpoint).partition("@")
        if factor.endswith(".ckpt"):
            with open(factor) as file:
                factor = file.read()
        return tiny_world.attack(factor, int(seed or 0))

    monkeypatch.setattr("anon.apps.victims.trained_attack", trained)


def config(*words: str, **detectors: Any):
    found = composed("evaluate", ["experiment=fiva", *RULES, *words])
    found.attributes, found.detectors = {"_target_": "tests.evaluation.tiny_world.Read"}, detectors
    return found


def evaluate(output, *words, generator=None, data=None, seed=JUDGE, name="checkpoint", detectors=None, **rest):
    """The document of an evaluation of one built generator."""
    cfg = config(*words, **(detectors or {}))
    built = Built(Other() if generator is None else generator, encoder(0), **rest)
    method = {"title": built.name, "policies": True, "anonymizer": built}
    return read(run(judge(seed), data or Data(clips=2), cfg, output, commit="abc", methods={name: method}))


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return evaluate(folder), folder


def line(document, method="FIVA", policy="none", defense="none", attack="none"):
    place = (method, policy, defense, attack)
    (found,) = (each for each in document.lines if (each.method, each.policy, each.defense, each.attack) == place)
    return found.metrics


def test_what_was_evaluated(evaluated):
    """8 people, the last a distractor; 4 stills and 2 clips of 3 frames each: 2 stills and a clip probe."""
    document, _ = evaluated
    assert (document.seed, document.commit) == (3, "abc")
    shared, note = document.notes  # there are six people to mix
    assert "are both a Projection" in shared
    assert "wanted cosine m=-0.5 is out of reach for 95% of the background faces" in note
    assert [(each.method, each.policy) for each in document.lines if each.attack == each.defense == "none"] == [
        ("Real", "none"),
        ("FIVA", "plain"),
        ("FIVA", "sampling"),
        ("FIVA", "itm"),
    ]
    assert [(table.name, table.published) for table in document.tables] == [
        ("table1", "fiva_table1"),
        ("robustness", None),
        ("identities", None),
    ]
    people, known = document.people["fake"], document.judges["fake"]
    assert (people.identities, people.gallery, people.probes, people.clips) == (7, 8, 7 * 5, 7)
    assert people.impostor_pairs == 35 * 34 // 2 - 7 * (5 * 4 // 2)
    assert (known.name, known.far) == (f"projection-{JUDGE}", 0.01) and known.far_achieved <= 0.01
    assert document.config["suite"]["resamples"] == 100


def test_unchanged_faces_are_recognized_and_redrawn_ones_are_not(evaluated):
    document, _ = evaluated
    real = line(document, "Real")["ID"]
    assert (real.value, real.n) == (1.0, 35)
    assert real.low == pytest.approx(0.025 ** (1 / 7), abs=1e-6)  # exact, of seven people
    for policy in ("plain", "sampling", "itm"):
        found = line(document, policy=policy)
        assert found["ID"].value == found["ID_projection-0"].value == 0.0
    for defense in ("jpeg", "resample"):
        worse = line(document, policy="itm", defense=defense)
        assert worse["ID"].value == 0.0 and worse["ID"].n == 14  # two probes of seven people
        assert 0.0 < worse["defense_ssim"].value < 1.0


def test_plain_flees_z(evaluated):
    plain = line(evaluated[0], policy="plain")
    assert plain["target_distance"].value > 1.0 and plain["target_distance"].n == 35
    assert plain["mask_area"].value == 1.0 and plain["lpips"].reason.startswith("needs lpips")


def test_the_tracker_holds_a_person_still(evaluated):
    """Every frame of a person gets one condition, and the fake generator draws nothing else."""
    assert line(evaluated[0], policy="itm")["M_tc_mu"].value == pytest.approx(0.0, abs=1e-5)
    assert line(evaluated[0], policy="plain")["M_tc_mu"].value > 1e-3


def test_attribute_errors_are_those_of_the_estimator(evaluated):
    """It reads 1 + mean of the picture for a truth of 1: the pose error is sqrt(3) |mean|."""
    faces = Data(clips=2).faces("evaluation")
    mean = in_eight_bits(faces.images[halves(faces).probe]).flatten(1).mean(1).abs()
    error = line(evaluated[0], "Real")["pose_error"].value
    assert error == pytest.approx(math.sqrt(3) * float(mean.mean()), rel=1e-4)
    plain = line(evaluated[0], policy="plain")
    assert plain["pose_ratio"].value == pytest.approx(plain["pose_error"].value / error, rel=1e-4)


def test_files(evaluated):
    document, folder = evaluated
    grids = ["grid_robustness.png", "grid_table1.png"]
    assert sorted(document.pictures) == grids
    reports = ["plots", "report.html", "results.json", "table.csv", "table.md", "tables.tex"]
    assert sorted(path.name for path in folder.iterdir()) == [*grids, *reports]
    rows = list(csv.DictReader((folder / "table.csv").open()))
    chosen = next(row for row in rows if (row["policy"], row["metric"]) == ("plain", "negID"))
    assert float(chosen["value"]) == line(document, policy="plain")["negID"].value
    assert ".966" in (folder / "table.md").read_text()  # the paper's
    with Image.open(folder / "grid_table1.png") as grid:
        cell = 16 * 11  # the least multiple of 16 from 176 on
        assert grid.size == (
            6 + 4 * (cell + 6),
            24 + 2 * (cell + 22 + 6),
        )  # target and three policies, two people


def test_the_last_lines_and_what_data_without_clips_and_truth_has(tmp_path, capsys):
    document = evaluate(tmp_path, data=Data(truth=False))
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines[-2:] == [f"run folder {tmp_path}", str(tmp_path / "results.json")]
    real, plain = line(document, "Real"), line(document, policy="plain")
    assert real["M_tc_mu"].reason == "n/a (no clips)" and "n/a (no clips)" in (tmp_path / "table.md").read_text()
    assert real["pose_error"].reason == "n/a (no ground truth)"
    assert plain["pose_error"].value > 0 and "unchanged face" in plain["pose_ratio"].reason


def test_people_who_exist_are_drawn_only_when_asked_for(tmp_path, capsys):
    data = Data()
    data.sets["evaluation"].synthetic = False
    silent = evaluate(tmp_path / "silent", data=data)
    assert not list((tmp_path / "silent").glob("*.png")) and not silent.pictures
    assert "logger.images=true" in capsys.readouterr().out
    assert "data:image/png" not in (tmp_path / "silent" / "report.html").read_text()
    asked = evaluate(tmp_path / "asked", "logger.images=true", data=data)
    assert asked.pictures and (tmp_path / "asked" / "grid_table1.png").is_file()
    shown = [tmp_path / "asked" / name for name in ("report.html", "grid_table1.png")]
    assert {path.stat().st_mode & 0o777 for path in shown} == {0o600}  # faces of people: their owner's only


def test_a_second_run_is_the_same_and_makes_nothing(tmp_path, capsys):
    texts = []
    for number in range(2):
        evaluate(tmp_path / str(number), f"paths.cache={tmp_path / 'cache'}")
        content = json.loads((tmp_path / str(number) / "results.json").read_text())
        content.pop("made")
        texts.append(json.dumps(content))
    assert texts[0] == texts[1]
    assert "made 0 intermediate results" in capsys.readouterr().out


def test_mistakes_are_told_before_anything_is_written(tmp_path):
    for words, options, said in (
        ((), {"seed": 0}, "The judge 'projection-0' is the encoder that FIVA was trained with"),
        (("suite.far=0.00001",), {}, r"FAR 1e-05"),
        ((), {"data": Single()}, "two pictures"),
        ((*ATTACK, f"attack.checkpoint='-1@{JUDGE}'"), {}, "trained with the judge"),
        (("suite.measures.distribution.inception=no.pth",), {}, r"inception='no\.pth' is no file"),
    ):
        with pytest.raises(Exception, match=said) as told:
            evaluate(tmp_path, *words, **options)
        assert any(isinstance(each, UserError) for each in (told.value, told.value.__cause__))
    assert list(tmp_path.iterdir()) == []


def test_an_unfit_checkpoint_is_told_before_any_picture_is_read(tmp_path):
    class Unread(Data):
        def faces(self, split):
            raise AssertionError("a picture was asked for")

    with pytest.raises(Exception, match="no checkpoint at"):
        run(judge(JUDGE), Unread(), config("checkpoint=no.ckpt"), tmp_path)


def test_the_training_encoder_judges_where_it_is_allowed(tmp_path):
    evaluate(tmp_path, "suite.allow_training_encoder=true", seed=0)
    assert "the figures flatter it" in (tmp_path / "table.md").read_text()


class Single(Data):
    """Evaluation people with one picture each."""

    def faces(self, split):
        return People(split, 5, stills=1) if split == "evaluation" else super().faces(split)


ONLY = (
    "suite.tables.robustness=null",
    "suite.grid_faces=0",
    "suite.tables.table1.measures=[retrieval,attacked]",
)


def test_ra_is_of_the_attack_that_is_given(tmp_path):
    undone = evaluate(tmp_path / "undone", *ONLY, *ATTACK, "attack.checkpoint='-1'", generator=Negative())
    for method, policy in (("Real", "none"), ("FIVA", "plain"), ("FIVA", "itm")):
        found = line(undone, method, policy, attack="given")
        assert found["RA"].value == found["RA_rank1"].value == (0.0 if method == "Real" else 1.0)
    left = evaluate(tmp_path / "left", *ONLY, *ATTACK, "attack.checkpoint='1'", generator=Negative())
    assert line(left, policy="itm", attack="given")["RA"].value == 0.0
    assert line(left, "Real", attack="given")["RA"].value == 1.0
    without = evaluate(tmp_path / "without", *ONLY, generator=Negative())
    needs = "needs attack=reconstruction, which takes the newest on this method, or another attack=<choice>"
    trains = "python train.py experiment=reconstruction method=negative policy=itm trains one on this method"
    told = {each.method: each.needs for each in without.lines if each.attack == "given"}
    assert told == {"Real": needs, "FIVA": f"{needs}; {trains}"}
    assert not line(without, policy="itm", attack="given")


def test_a_parrot_can_be_given_too(tmp_path):
    found = line(evaluate(tmp_path, *ONLY, "attack=parrot"), policy="itm", attack="given")
    assert found["recalibrated"].value == 1.0 and found["RA"].n == 14


def test_detectors_look_at_every_method(tmp_path):
    detectors = {"grey": {"_target_": f"{HERE}.Detector"}}
    words = (ONLY[0], ONLY[1], "suite.tables.table1.measures=[detection]")
    document = evaluate(tmp_path, *words, generator=Negative(), detectors=detectors)
    found = [each.metrics["detected"] for each in document.lines if each.attack == "none"]
    assert [figure.value for figure in found] == [1.0] * 4 and found[0].low == pytest.approx(0.025 ** (1 / 7))


TABLE3 = (
    "suite=table3",
    *RULES,
    "suite.grid_faces=0",
    "suite.tables.table3.measures=[retrieval,attacked,picture]",
)
TABLE3 += (
    "suite.tables.table3.grid.0.defenses=[none,uniform_noise,fgsm]",
    "suite.defenses.uniform_noise.epsilon=2.0",
)
TABLE3 += ("suite.defenses.fgsm.epsilon=2.0", "suite.attacks.reconstruction.trained.fiva='-1'")


def test_defenses_and_an_attacker_who_adapted(tmp_path):
    """Noise as large as the range stops the naive attacker; the newest adaptive attacker of noise learned nothing."""
    for name, date, factor in (
        ("none", "2026-01-01_a", "-1"),
        ("none", "2026-01-02_b", "1"),
        ("fgsm", "2026-01-01_a", "-1"),
    ):
        path = tmp_path / "ladder" / name / "train" / "reconstruction" / date / "checkpoints" / "last.ckpt"
        path.parent.mkdir(parents=True)
        path.write_text(factor)
    words = (*TABLE3, f"+suite.attacks.adaptive.folders.fiva={tmp_path / 'ladder'}")
    document = evaluate(tmp_path / "out", *words, generator=Negative(), name="fiva")

    def found(defense, attack):
        return line(document, policy="itm", defense=defense, attack=attack)

    assert found("none", "none")["ID"].value == 0.0
    assert found("none", "reconstruction")["RA"].value == 1.0 and found("none", "adaptive")["RA"].value == 0.0
    assert found("uniform_noise", "reconstruction")["RA"].value < 0.5
    assert found("uniform_noise", "none")["defense_ssim"].value < 0.5
    assert found("fgsm", "adaptive")["RA"] == found("fgsm", "reconstruction")["RA"]  # it undoes as the naive one does
    assert found("fgsm", "reconstruction")["RA"].value < 1.0
    (untrained,) = (each for each in document.lines if (each.defense, each.attack) == ("uniform_noise", "adaptive"))
    assert "python train.py experiment=reconstruction +sweep=defenses" in untrained.needs
    assert ".004" in (tmp_path / "out" / "table.md").read_text()  # the paper's


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("+suite.attacks.adaptive.trained.fiva={unifrm_noise: '1'}",), "did you mean 'uniform_noise'"),
        (("+suite.attacks.reconstruction.trained.fivva='1'",), "did you mean 'fiva'"),
        (
            ("+suite.attacks.adaptive.folders.fiva=/no/such",),
            r"holds no trained attack.*[+]sweep=defenses paths.attackers=/no/such",
        ),
    ],
)
def test_attacks_of_nothing_are_told(tmp_path, words, said):
    with pytest.raises(UserError, match=said):
        evaluate(tmp_path, *TABLE3, *words, generator=Negative(), name="fiva")
    assert not list(tmp_path.iterdir())


SWAP = ("suite=swap", "suite.tables.table4.measures=[swap,attributes,distribution]")


def test_a_perfect_swapper(tmp_path):
    data = Data()
    document = evaluate(tmp_path, *SWAP, generator=Perfect(data.faces("evaluation")), data=data)
    found = line(document, policy="source")
    assert found["swap_ID"].value == 1.0 and found["swap_ID_target"].value == 0.0
    assert found["cosine_source"].value > 0.9 > found["cosine_target"].value
    assert found["pose_error"].value > 0 and found["FID_judge"].value >= 0
    assert ".993" in (tmp_path / "table.md").read_text()  # the paper's
    with Image.open(tmp_path / "grid_table4.png") as grid:
        assert grid.size == (6 + 2 * (176 + 6), 24 + 2 * (176 + 22 + 6))


def test_a_swapper_that_changes_nothing(tmp_path):
    found = line(evaluate(tmp_path, *SWAP, generator=Nothing(), data=Data()), policy="source")
    assert (found["swap_ID"].value, found["swap_ID_target"].value) == (0.0, 1.0)
    assert found["pose_ratio"].value == 1.0 and found["FID_judge"].value == pytest.approx(0.0, abs=1e-3)


def test_sources_are_other_people_and_not_enrolled():
    data = Data(clips=2)
    found = subjects(data, Protocol(clip_frames=3, resamples=1), 2, seed=3)
    faces, half = data.faces("evaluation"), halves(data.faces("evaluation"))
    assert not bool((found.items.labels == found.source_labels).any())
    assert set(found.sources.tolist()) <= set(half.probe.tolist())
    assert not set(found.sources.tolist()) & set(half.enrol.tolist())
    donors = {
        (own, other) for own, other in zip(found.items.labels.tolist(), found.source_labels.tolist(), strict=True)
    }
    assert len(donors) == len({own for own, _ in donors}) == len({other for _, other in donors}) == 7  # a circle
    again = subjects(data, Protocol(clip_frames=3, resamples=1), 2, seed=3)
    assert torch.equal(found.sources, again.sources) and faces is data.faces("evaluation")
