from __future__ import annotations

import csv
import json
import math

import pytest
from omegaconf import OmegaConf
from PIL import Image

from anon.errors import UserError
from anon.evaluation.figures import Figure, Row
from anon.evaluation.measure import JUDGE
from anon.evaluation.published import published
from anon.evaluation.results import Results, as_json, as_markdown, write
from anon.evaluation.table1 import Eyes, run
from anon.identity.encoder import Encoder
from anon.identity.judge import Judge
from tests.evaluation.tiny_world import Data, Other, Projection, encoder, judge

CONFIG = {
    "seed": 3,
    "protocol": {
        "_target_": "anon.evaluation.protocol.Protocol",
        "far": 0.01,
        "resamples": 200,
        "clip_frames": 3,
        "anchors": 15,
        "degradations": ["jpeg75"],
        "grid_faces": 2,
        "batch_size": 7,
    },
    "policy": {
        "_target_": "anon.identity.tracking.IdentityTracker",
        "threshold": None,
        "policy": {"_target_": "anon.identity.policies.AnchorSampling", "_partial_": True, "m": -0.3, "mirrored": True},
    },
    "metrics": {"attributes": {"_target_": "tests.evaluation.tiny_world.Read"}, "lpips": None},
    "logger": {"images": False},
    "paths": {"cache": None},
}


def config(**changes):
    return OmegaConf.merge(OmegaConf.create(CONFIG), OmegaConf.from_dotlist([f"{k}={v}" for k, v in changes.items()]))


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    path = run(Other(), encoder(0), judge(0x5EED), Data(clips=2), config(), folder, commit="abc")
    return folder, path, json.loads(path.read_text())


def figures(content, method):
    return next(row for row in content["rows"] if row["method"] == method)["metrics"]


def test_schema(evaluated):
    _, path, content = evaluated
    assert path.name == "results.json"
    wanted = {"schema", "seed", "rows", "judge", "threshold", "far", "counts", "config", "commit"}
    assert set(content) == wanted
    assert (content["schema"], content["seed"], content["far"], content["commit"]) == (1, 3, 0.01, "abc")
    assert [row["method"] for row in content["rows"]] == ["Real", "FIVA", "FIVA + Sampling", "FIVA + ITM"]
    for row in content["rows"]:
        assert set(row) == {"method", "policy", "defense", "attack", "adversary", "data", "split", "metrics"}
        assert (row["data"], row["split"]) == ("fake", "evaluation")
        assert {"ID", "negID", "negID_rank1", "M_tc_mu", "M_tc_sigma"} <= set(row["metrics"])
        for figure in row["metrics"].values():
            assert set(figure) == {"value", "low", "high", "reason", "n"}
            assert (figure["value"] is None) == (figure["reason"] is not None)
            if figure["low"] is not None:
                assert figure["low"] <= figure["value"] + 1e-9 and figure["value"] <= figure["high"] + 1e-9


def test_counts(evaluated):
    """8 people, the last a distractor; 4 stills and 2 clips of 3 frames each: 2 stills and a clip probe."""
    counts = evaluated[2]["counts"]
    assert (counts["identities"], counts["gallery"], counts["distractors"]) == (7, 8, 1)
    assert (counts["probes"], counts["enrolled"], counts["clips"]) == (7 * 5, 7 * 5 + 1, 14)
    assert counts["impostor_pairs"] == 35 * 34 // 2 - 7 * (5 * 4 // 2)
    assert counts["far_background"] <= 0.01


def test_unchanged_faces_are_recognized_and_redrawn_ones_are_not(evaluated):
    content = evaluated[2]
    assert figures(content, "Real")["ID"]["value"] == 1.0
    assert figures(content, "Real")["ID"]["low"] == pytest.approx(0.025 ** (1 / 7), abs=1e-6)
    assert figures(content, "Real")["ID"]["n"] == 35
    for method in ("FIVA", "FIVA + Sampling", "FIVA + ITM"):
        assert figures(content, method)["ID"]["value"] == 0.0
        assert figures(content, method)["ID_encoder"]["value"] == 0.0


def test_plain_flees_z_and_the_other_sign_does_not(evaluated):
    plain = figures(evaluated[2], "FIVA")
    assert plain["cosine"]["value"] < 0 < plain["cosine_opposite"]["value"]
    assert plain["target_distance"]["n"] == 35 and plain["cosine"]["n"] == plain["cosine_opposite"]["n"] == 28
    assert plain["target_distance"]["value"] == pytest.approx(1 - plain["cosine"]["value"], abs=0.1)
    assert plain["mask_area"]["value"] == 1.0
    assert plain["lpips"] == Figure.absent("needs alexnet-owt-7be5be79.pth").__dict__


def test_attribute_errors_are_those_of_the_regressor(evaluated):
    """It reads 1 + mean of the image for a truth of 1: the pose error is sqrt(3) |mean|."""
    faces = Data(clips=2).faces("evaluation")
    from anon.evaluation.protocol import halves

    mean = faces.images[halves(faces).probe].flatten(1).mean(1).abs()
    error = figures(evaluated[2], "Real")["pose_error"]["value"]
    assert error == pytest.approx(math.sqrt(3) * float(mean.mean()), rel=1e-4)
    plain = figures(evaluated[2], "FIVA")
    assert plain["pose_ratio"]["value"] == pytest.approx(plain["pose_error"]["value"] / error, rel=1e-4)


def test_the_tracker_holds_a_person_still(evaluated):
    """Every frame of a person gets one condition, and the fake generator draws nothing else."""
    assert figures(evaluated[2], "FIVA + ITM")["M_tc_mu"]["value"] == pytest.approx(0.0, abs=1e-5)
    assert figures(evaluated[2], "FIVA")["M_tc_mu"]["value"] > 1e-3


def test_files(evaluated, capsys):
    folder, _, content = evaluated
    assert sorted(path.name for path in folder.iterdir()) == ["grid.png", "results.json", "table.csv", "table.md"]
    rows = list(csv.DictReader((folder / "table.csv").open()))
    assert len(rows) == sum(len(row["metrics"]) for row in content["rows"])
    chosen = next(row for row in rows if row["method"] == "FIVA" and row["metric"] == "negID")
    assert float(chosen["value"]) == figures(content, "FIVA")["negID"]["value"]
    text = (folder / "table.md").read_text()
    assert ".966" in text and "projection-" in text and "35 probes" in text
    with Image.open(folder / "grid.png") as grid:
        cell = 16 * 11  # the least multiple of 16 from 176 on
        assert grid.size == (6 + 6 * (cell + 6), 24 + 2 * (cell + 22 + 6))  # target, raw, mask and three methods


def test_last_lines_and_stills_without_truth(tmp_path, capsys):
    data = Data(truth=False)
    data.faces("evaluation").synthetic = False
    path = run(Other(), encoder(0), judge(1), data, config(), tmp_path, name="Other")
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines[-1] == str(path) and str(tmp_path) in lines[-2] and "logger.images=true" in lines[-3]
    assert not (tmp_path / "grid.png").exists()
    content = json.loads(path.read_text())
    real = figures(content, "Real")
    assert real["M_tc_mu"] == {"value": None, "low": None, "high": None, "reason": "n/a (no clips)", "n": 0}
    assert real["pose_error"]["value"] == 0.0  # without truth, readings are compared with those of the unchanged face
    assert figures(content, "Other")["pose_error"]["value"] > 0.0
    assert "unchanged face" in figures(content, "Other")["pose_ratio"]["reason"]
    assert "n/a (no clips)" in (tmp_path / "table.md").read_text()


def test_the_regressor_of_rendered_faces_reads_no_photographs(tmp_path):
    rendered = config(**{"metrics.attributes._target_": "anon.attributes.regressor.AttributeRegressor"})
    path = run(Other(), encoder(0), judge(1), Data(truth=False), rendered, tmp_path)
    assert "no ground truth" in figures(json.loads(path.read_text()), "FIVA")["pose_error"]["reason"]


def test_settings_of_one_file_share_no_embeddings():
    """Mean, deviation and size of the input are part of the cache's key; weights and name alone are not enough."""
    keys = []
    for options in ({}, {"mean": (0.4, 0.5, 0.5)}, {"bgr": True}):
        other = Judge(Encoder(Projection(1), 16, name="p", **options))
        keys.append(Eyes(encoder(0), other, None, "cpu", None).key[JUDGE])
    assert len(set(keys)) == 3
    assert keys[0] == Eyes(encoder(0), Judge(Encoder(Projection(1), 16, name="q")), None, "cpu", None).key[JUDGE]


def test_a_second_run_is_the_same_and_reads_what_was_kept(tmp_path):
    changed = {"paths.cache": str(tmp_path / "cache")}
    texts = []
    for number in range(2):
        path = run(Other(), encoder(0), judge(1), Data(), config(**changed), tmp_path / str(number))
        texts.append(path.read_text())
    assert texts[0] == texts[1]
    assert len(list((tmp_path / "cache" / "embeddings").iterdir())) == 5  # 2 x background, 2 x enrolled, anchors


def test_the_training_encoder_is_no_judge(tmp_path):
    with pytest.raises(UserError, match="allow_training_encoder"):
        run(Other(), encoder(0), judge(0), Data(), config(), tmp_path)
    assert list(tmp_path.iterdir()) == []
    run(Other(), encoder(0), judge(0), Data(), config(**{"protocol.allow_training_encoder": True}), tmp_path)
    assert "the figures flatter it" in (tmp_path / "table.md").read_text()


def test_refusals(tmp_path):
    with pytest.raises(UserError, match=r"FAR 0\.0001"):
        run(Other(), encoder(0), judge(1), Data(), config(**{"protocol.far": 1e-4}), tmp_path)
    alone = config()
    alone.policy = CONFIG["policy"]["policy"]  # type: ignore[index]
    with pytest.raises(UserError, match="policy=itm"):
        run(Other(), encoder(0), judge(1), Data(), alone, tmp_path)
    with pytest.raises(UserError, match="two pictures"):
        run(Other(), encoder(0), judge(1), Single(), config(), tmp_path)
    assert list(tmp_path.iterdir()) == []


class Single(Data):
    """Evaluation people with one picture each."""

    def faces(self, split):
        from tests.evaluation.tiny_world import People

        return People(split, 5, stills=1) if split == "evaluation" else super().faces(split)


def test_numbers_that_are_not_finite_are_null_with_a_reason():
    row = Row("Real", "d", "s", metrics={"ID": Figure(float("nan"), float("nan"), 1.0, n=2)})
    content = json.loads(as_json(Results(0, [row], "j", 0.5, 0.001, {}, {}, None)))
    figure = content["rows"][0]["metrics"]["ID"]
    assert figure == {"value": None, "low": None, "high": 1.0, "reason": "not finite", "n": 2}


def test_unwritable_results_are_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        write(tmp_path / "file" / "table.md", "x")


def test_published_table_1():
    """Spot checks against the printed table."""
    rows = published("fiva_table1").rows
    assert rows["FIVA + ITM"] == {"ID": 0.0, "negID": 0.0, "RA": 0.996, "M_tc_mu": 0.075, "M_tc_sigma": 0.041}
    assert rows["Real"] == {"M_tc_mu": 0.150, "M_tc_sigma": 0.074}
    assert len(rows) == 12


def test_markdown_shows_the_paper_under_ours():
    metrics = {name: Figure(0.25, 0.2, 0.3, n=4) for name in ("ID", "negID", "negID_rank1", "M_tc_mu", "M_tc_sigma")}
    counts = dict.fromkeys(
        ["far_background", "background_pairs", "far_evaluation", "impostor_pairs", "identities", "probes", "clips"], 1
    )
    results = Results(
        0,
        [Row("FIVA", "d", "s", metrics=metrics)],
        "j",
        0.5,
        0.001,
        {**counts, "gallery": 2, "distractors": 0},
        {},
        None,
    )
    lines = [line for line in as_markdown(results, published("fiva_table1")).splitlines() if line.startswith("|")]
    assert [cell.strip() for cell in lines[2].split("|")[1:-1]] == ["**FIVA**", *[".250 [.200, .300]"] * 5]
    assert [cell.strip() for cell in lines[3].split("|")[1:-1]] == ["*paper*", ".000", ".966", "-", ".227", ".101"]
