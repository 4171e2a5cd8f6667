"""Evaluations of the shipped configuration on pairs: only the second photographs are changed, and all of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from anon.errors import UserError
from anon.evaluation.document import Document
from anon.evaluation.harness.context import ATTACKED, MeasureContext
from anon.evaluation.harness.suite import Combination
from anon.evaluation.measures.pairs import Pairs
from anon.faces.collections.pairs import PairData, Roles
from anon.faces.collections.photographs.lfw import LFW
from tests.evaluation.harness.test_run import config, evaluate
from tests.evaluation.harness.tiny_stages import stages
from tests.evaluation.tiny_world import Data, Negative, Other, People
from tests.faces.collections.tiny_lfw import PEOPLE, make_lfw, pair_lines

GRID = "suite.tables.pairs.grid=[{{data: [lfw], methods: [{}], {}}}]"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_lfw(tmp_path_factory.mktemp("lfw"))


@pytest.fixture(scope="module")
def crossed(root: Path) -> Path:
    """Pairs whose mismatched second photographs are the first ones of the matched pairs."""
    path = root / "crossed.txt"
    path.write_text("\n".join(pair_lines(1)) + "\n")
    return path


def words(root: Path, *more: str) -> tuple[str, ...]:
    place = "suite.datasets.lfw"
    given = (f"{place}.collection.root={root}", f"{place}.collection.points={root}/points.csv", f"{place}.size=16")
    return "suite=lfw", *given, "suite.far=0.125", "suite.resamples=50", *more


def verified(output: Path, root: Path, *more: str, generator: Any = None, **options: Any) -> Document:
    return evaluate(output, *words(root, *more), generator=generator, data=options.pop("data", Data()), **options)


def figures(document: Document, method: str, **place: str) -> dict[str, float | None]:
    (found,) = (
        line
        for line in document.lines
        if (line.method, line.policy, line.defense, line.attack)
        == (method, *(place.get(part, "none") for part in ("policy", "defense", "attack")))
    )
    assert found.needs is None
    return {name: figure.value for name, figure in found.metrics.items()}


def test_a_checkpoint_from_end_to_end(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = verified(tmp_path, root, generator=Other())
    assert [(line.data, line.method, line.policy) for line in document.lines] == [
        ("lfw", "Real", "none"),
        ("lfw", "FIVA", "plain"),
        ("lfw", "FIVA", "sampling"),
        ("lfw", "FIVA", "itm"),
    ]
    real, plain = figures(document, "Real"), figures(document, "FIVA", policy="plain")
    assert set(real) == set(Pairs.metrics)
    assert real["TPR"] == real["ID_pairs"] == real["accuracy"] == 1.0 and real["TPR_own"] == real["TPR"]
    assert (plain["TPR"] or 0) < 0.5 and (plain["ID_pairs"] or 0) < 0.5
    people, known = document.people["lfw"], document.judges["lfw"]
    assert (people.probes, people.gallery, people.identities, people.reference) == (16, 16, 16, "fake")
    assert (known.impostor_pairs, known.far, known.split) == (16, 0.125, "evaluation") and known.far_achieved < 0.5
    assert known.source == "unchanged pairs of the other folds"
    (counts,) = (note for note in document.notes if note.startswith("Pairs of pairs.txt: "))
    assert "16 matched and 16 mismatched in 2 folds, 16 people, 32 photographs (points: 32 given" in counts
    printed = capsys.readouterr().out
    assert "Gafni" in printed and ".035" in printed and not any(name in printed for name in PEOPLE)
    assert printed.splitlines()[-1] == str(tmp_path / "results.json")
    shown = (tmp_path / "report.html").read_text()
    assert "TPR, own threshold" in shown and "data:image/png" not in shown
    assert json.loads((tmp_path / "results.json").read_text())["schema"] == 3


def test_attacks_and_defenses_take_part(root: Path, crossed: Path, tmp_path: Path) -> None:
    """The negative has the opposite embedding, which negation undoes. Both meet every pair."""
    grid = GRID.format("checkpoint", "policies: [plain], defenses: [none, resample], attacks: [none, negation, parrot]")
    listed = f"suite.datasets.lfw.collection.pairs={crossed}"
    document = verified(tmp_path, root, grid, listed, "suite.attacked_probes=1", generator=Negative())
    plain, undone = (figures(document, "FIVA", policy="plain", attack=attack) for attack in ("none", "negation"))
    assert plain["TPR"] == plain["ID_pairs"] == 0.0 and undone["TPR"] == undone["ID_pairs"] == 1.0
    worse = next(line for line in document.lines if (line.defense, line.attack) == ("resample", "negation"))
    assert [worse.metrics[name].n for name in ("TPR", "FPR", "ID_pairs")] == [16, 16, 16]
    parrot = next(line for line in document.lines if (line.defense, line.attack) == ("none", "parrot"))
    assert {figure.reason for figure in parrot.metrics.values()} == {"n/a (an adversary who enrols for himself)"}


def test_only_the_second_photographs_are_changed(root: Path, crossed: Path) -> None:
    data = PairData(LFW(root, pairs=crossed, points=root / "points.csv"), size=16)
    made = stages(data=Data(), far=0.125, reference="default", datasets={"pairs": {}})
    made.datasets = lambda name: data if name == "pairs" else Data()
    context = MeasureContext(made, Combination("pairs", "noise"))
    assert (len(context.rows), len(context.of_items().rows)) == (16, 32)  # probes, and all that are second somewhere
    assert context.pairs is not None and not context.pairs.real.isnan().any()
    every, faces = context.of_items().z(ATTACKED), data.faces("evaluation")
    real = context.pairs.real[context.people.items.indices]
    assert ((every * real).sum(1) < 0.9999).all()
    assert torch.equal(context.people.enrolled.indices, torch.arange(0, 32, 2)) and len(faces) == 32


def test_data_without_pairs_says_so() -> None:
    found = Pairs()(MeasureContext(stages(), Combination("default", "real")))
    assert set(found) == set(Pairs.metrics) and {figure.reason for figure in found.values()} == {"n/a (no pairs)"}


def test_faces_that_an_input_chooses_are_no_pairs(root: Path, tmp_path: Path) -> None:
    turned = "+suite.inputs.turned={_target_: anon.evaluation.harness.inputs.Turned, yaw: 0.1}"
    document = verified(tmp_path, root, GRID.format("real", "inputs: [turned]"), turned)
    (line,) = document.lines
    assert {figure.reason for figure in line.metrics.values()} == {"n/a (some faces of the pairs only)"}


def test_what_is_refused(root: Path, tmp_path: Path) -> None:
    def refused(match: str, *more: str, place: Path = root, **options: Any) -> None:
        with pytest.raises(UserError, match=match):
            verified(tmp_path / "out", place, *more, **options)
        assert not (tmp_path / "out").exists()

    few = r"needs 1,000 mismatched pairs outside of the fold that it judges, and pairs\.txt has 8"
    refused(few, "suite.far=0.001")
    refused("says itself who is enrolled", "suite.enrolment=same")
    refused("have no split 'background': name the data", "suite.reference=null")
    refused("encoder that FIVA was trained with", seed=0)
    strangers = make_lfw(tmp_path / "strangers", alike=False)
    refused(r"The judge .* does not recognize unchanged faces", place=strangers)


def test_people_of_the_pairs_who_are_anchors_are_told(root: Path, tmp_path: Path) -> None:
    data = Data()
    data.sets["train"].names = [*PEOPLE[:2], "a", "b", "c", "d"]
    document = verified(tmp_path, root, GRID.format("real", "policies: [plain]"), data=data)
    assert "2 of the 16 people of the pairs are in fake's training split." in document.notes


def test_a_given_threshold_is_none_of_the_pairs(root: Path, tmp_path: Path) -> None:
    document = verified(tmp_path, root, GRID.format("real", "policies: [plain]"), "suite.threshold=0.0001")
    assert figures(document, "Real")["TPR"] == 1.0 and document.judges["lfw"].threshold > 0.01
    assert any(note.startswith("suite.threshold does not hold for lfw") for note in document.notes)


class Listed(Data):
    """A data set whose own protocol says who is enrolled and who probes, with its own background people."""

    def __init__(self) -> None:
        super().__init__()
        people: People = self.sets["evaluation"]
        first = torch.cat([torch.tensor([True]), people.labels[1:] != people.labels[:-1]])
        self.roles = Roles(first.nonzero()[:, 0], torch.tensor([1, 5]), torch.tensor([1, 2, 5]))


def test_any_data_set_may_bring_roles() -> None:
    people = stages(data=Listed()).subjects("default")
    assert people.enrolled.indices.tolist() == [0, 4, 8, 12, 16, 20, 24, 28]
    assert people.items.indices.tolist() == [1, 2, 5] and people.items.indices[people.probes].tolist() == [1, 5]
    assert people.pairs is None and people.reference is None
    assert (people.items.labels != people.source_labels).all()


def test_the_shipped_configuration_names_other_data(root: Path) -> None:
    composed = config(*words(root)).suite
    assert composed.reference == "default" and composed.datasets.lfw.view == "pairs.txt"
    assert composed.measures.pairs["_target_"] == "anon.evaluation.measures.pairs.Pairs"
