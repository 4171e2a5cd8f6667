"""HiFD of a context: scores and composites by hand, what is missing, and files that the package reads."""

from __future__ import annotations

import json

import pytest
import torch
import yaml

from anon.evaluation.document.estimates import Estimate
from anon.evaluation.measures.hifd import Hifd
from tests.evaluation.measures.known_context import KnownContext, three_people

TARGET = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
CHANGED = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [-0.6, 0.0, 0.8], [0.6, 0.8, 0.0]])
POINTS = torch.tensor([[10.0, 10.0], [30.0, 10.0], [20.0, 20.0], [12.0, 30.0], [28.0, 30.0]]).expand(4, 5, 2)
BEFORE = {
    "age": torch.tensor([20.0, 30.0, 40.0, 50.0]),
    "gender": torch.tensor([0.0, 1.0, 0.5, 0.25]),
    "landmarks": POINTS,
    "gaze": torch.zeros(4, 2),
}
AFTER = {
    "age": torch.tensor([30.0, 40.0, 50.0, 60.0]),  # 10 years each: .9
    "gender": torch.tensor([0.5, 0.5, 1.0, 0.75]),  # half each: .5
    "landmarks": POINTS + torch.tensor([1.0, 0.0]),  # a twentieth of the eyes' 20 pixels: .5
    "gaze": torch.tensor([[9.0, 0.0]]).expand(4, 2),  # a tenth of 90 degrees: .9
}


def known(**given):
    images = torch.zeros(4, 3, 16, 16)
    context = KnownContext(
        [7, 8, 9, 7],
        z={"target": TARGET, "changed": CHANGED},
        images={"target": images, "changed": images},
        read={"target": BEFORE, "changed": AFTER},
        truth=dict.fromkeys(("pose", "expression", "gaze", "landmarks"), torch.zeros(4)),
        gallery=three_people(),
        reads=tuple(BEFORE),
        **given,
    )
    context.view = lambda of: type("View", (), {"eight_bits": lambda self: images.permute(0, 2, 3, 1)})()
    return context


def test_by_hand():
    found = {name: figure.value for name, figure in Hifd()(known()).items()}
    # cosines 0, 0, .8 and .6: .5, .5, .1 and .2
    assert found["hifd_P"] == pytest.approx((0.5 + 0.5 + 0.1 + 0.2) / 4)
    assert found["hifd_age"] == pytest.approx(0.9) and found["hifd_gender"] == pytest.approx(0.5)
    assert found["hifd_landmarks"] == pytest.approx(0.5) and found["hifd_expression"] is None
    assert found["hifd_U1"] == pytest.approx((0.9 + 0.5 + 0.5) / 3)
    assert found["hifd_U2"] == pytest.approx(0.9, abs=1e-4)
    whole = 0.2 + 0.2 + 0.2
    expected = whole / (0.2 / 0.325 + 0.2 / (1.9 / 3) + 0.2 / 0.9)
    assert found["hifd_balanced"] == pytest.approx(expected, abs=1e-4)
    assert found["hifd_balanced_covered"] == pytest.approx(0.6) and found["hifd_clinical_covered"] == 0.45


def test_nothing_is_measured():
    """A judge without directions and no reader: every composite says so, and the line's other figures stay."""
    context = KnownContext([7, 8, 9, 7], z={"target": TARGET, "changed": CHANGED}, gallery=three_people(), reads=())
    context.given_read = {"target": {}, "changed": {}}
    context.stages.judge.recognizer.metric = "euclidean"
    measure = Hifd()
    measure._quality = lambda context: Estimate.absent("n/a (no picture)")
    found = measure(context)
    assert found["hifd_balanced"].reason == "n/a (no part of it is measured)"
    assert found["hifd_balanced_covered"].value == 0.0


def test_what_is_missing_is_said():
    found = Hifd()(known())
    assert found["hifd_Q"].reason == "needs lpips=<alexnet-owt-7be5be79.pth>"
    assert found["hifd_U3"].reason == "n/a (nothing here reads a pulse)"
    assert found["hifd_expression"].reason.startswith("n/a (reader does not read it")
    assert found["hifd_balanced"].low < found["hifd_balanced"].value < found["hifd_balanced"].high
    assert Hifd()(known(method="real")) == {} and Hifd()(known(attack="mirror")) == {}
    assert Hifd().files(known(), "A method") == {}


def written(folder):
    for path, text in Hifd(export=True).files(known(policy="itm"), "A Method + ITM").items():
        assert path.startswith("known-known-itm/")  # data, method and policy
        file = folder / path.removeprefix("known-known-itm/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return folder


def test_files(tmp_path):
    folder = written(tmp_path)
    methods = yaml.safe_load((folder / "methods.yaml").read_text())
    assert methods == {
        "original": {"base_path": "original"},
        "methods": [{"name": "A Method + ITM", "base_path": "deid"}],
    }
    tasks = yaml.safe_load((folder / "estimators.yaml").read_text())["tasks"]
    assert set(tasks) == {"face_embedding", "age", "gender", "landmark", "gaze"}
    assert tasks["age"]["estimators"] == [{"name": "reader", "deid_json": "age.json", "orig_json": "age.json"}]
    gender = json.loads((folder / "deid" / "gender.json").read_text())
    assert gender["class_names"] == ["female", "male"] and gender["schema_version"] == "1.0"
    assert gender["source"] == "deid" and gender["predictions"]["000003"]["probs"] == [0.75, 0.25]
    landmark = json.loads((folder / "original" / "landmark.json").read_text())["predictions"]["000000"]
    assert (landmark["left_eye_center"], landmark["right_eye_center"]) == ([10.0, 10.0], [30.0, 10.0])
    assert len(landmark["points"]) == 5


def test_the_package_reads_them(tmp_path):
    hifd = pytest.importorskip("hifd", reason="the package hifd is not installed")
    from hifd.cli import main

    folder = written(tmp_path / "in")
    where = ["--methods", str(folder / "methods.yaml"), "--estimators", str(folder / "estimators.yaml")]
    assert main(["validate", *where, "--data-dir", str(folder)]) == 0
    result = hifd.run_pipeline(
        str(folder / "methods.yaml"),
        str(folder),
        str(tmp_path / "out"),
        estimators_config=str(folder / "estimators.yaml"),
    )
    own = {name: figure.value for name, figure in Hifd()(known()).items()}
    (row,) = result.per_method_df.to_dict("records")
    for name in ("P", "U1", "U2"):
        assert row[name] == pytest.approx(own[f"hifd_{name}"], abs=1e-4)
    (row,) = result.composite_df.to_dict("records")
    assert row["balanced"] == pytest.approx(own["hifd_balanced"], abs=1e-4)  # both without Q and U3
