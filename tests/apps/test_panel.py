"""A panel on the command line: ``judge=[a,b]`` and ``+judge@panel.<name>=<choice>``."""

from __future__ import annotations

from pathlib import Path

import pytest

from anon.apps.door.words import with_panel
from anon.errors import UserError
from anon.evaluation.document import read
from tests.apps.conftest import Command
from tests.apps.launch.test_exit_codes import refused
from tests.apps.test_configs import check, composed
from tests.apps.test_evaluate import SMALL

RULES = ("suite.far=0.01", "suite.resamples=20", "suite.anchors=16", "suite.grid_faces=0", "suite.attacked_probes=1")


def test_a_list_is_a_judge_and_a_panel() -> None:
    config = composed("evaluate", "experiment=fiva", "judge=[synthetic_b,edgeface,onnx]", "panel.onnx.path=x.onnx")
    assert config.judge.encoder.name == "synthetic_b" and list(config.panel) == ["edgeface", "onnx"]
    assert config.panel.edgeface.encoder.size == 112 and config.panel.onnx.path == "x.onnx"
    named = composed("evaluate", "+judge@panel.mine=onnx", "panel.mine.path=a.onnx", "+judge@panel.other=onnx")
    assert named.panel.mine.path == "a.onnx" and named.panel.other.path is None
    assert composed("evaluate", "judge=[edgeface]") == composed("evaluate", "judge=edgeface")
    assert composed("evaluate", "judge=edgeface").panel == {}
    check(config)


def test_lists_that_are_none() -> None:
    assert with_panel(["judge=edgeface", "a=[b]"]) == ["judge=edgeface", "a=[b]"]
    for word, told in (
        ("judge=[]", "is no list of judges"),
        ("judge=[1,2]", "is no list of judges"),
        ("judge=[onnx,onnx]", r"names onnx twice.*[+]judge@panel.<name>=onnx"),
        ("judge=[a,b],[c]", "is several panels of judges"),
    ):
        with pytest.raises(UserError, match=told):
            with_panel([word])


EDGEFACE = "judge=[synthetic_b,edgeface] panel.edgeface.encoder.weights=random"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("judge=[synthetic_b,edgefac]", "no judge named 'edgefac'; did you mean 'edgeface'"),
        pytest.param(
            "judge=[edgefac,synthetic_b]", "no judge named 'edgefac'; did you mean 'edgeface'", marks=pytest.mark.slow
        ),
        ("judge=[synthetic_b,synthetic_a]", "'synthetic_a' is the encoder that FIVA was trained"),
        ("judge=[synthetic_b,edgeface]", "needs a weight file"),
        pytest.param(
            "judge=[synthetic_b,onnx] panel.onnx.path=/absent/x",
            "panel.onnx.path=/absent/x: there is no such file",
            marks=pytest.mark.slow,
        ),
        pytest.param("judge=[synthetic_b,onnx] panel.onnx.pth=x", "did you mean 'path'?", marks=pytest.mark.slow),
        pytest.param("+panel.mine=5", "panel.mine=5 must be", marks=pytest.mark.slow),
        (f"{EDGEFACE} suite.threshold=0.4", "says not which of the 2 judges it is of"),
        (
            f"{EDGEFACE} suite.threshold={{synthetic_b:/absent,edgeface:1}}",
            "synthetic_b=/absent: there is no such file",
        ),
    ],
)
def test_mistakes_are_one_sentence(evaluate: Command, tmp_path: Path, words: str, told: str) -> None:
    refused(evaluate("experiment=fiva", "checkpoint=shipped:fiva", *SMALL, *words.split()), told)
    assert not (tmp_path / "runs").exists()


def test_two_judges_from_the_command_line_to_the_table(evaluate: Command) -> None:
    """The second is one's own, and may be worse than a judge must be."""
    words = ("judge=[synthetic_b,projection]", "panel.projection.seed=5", "suite.max_eer=1")
    grid = "suite.tables.table1.grid=[{methods: [real, checkpoint], policies: [plain]}]"
    rest = (grid, "suite.tables.table1.measures=[retrieval]", "suite.tables.robustness=null")
    ended = evaluate("experiment=fiva", "checkpoint=shipped:fiva", *SMALL, *RULES, *words, *rest, "data.clips=0")
    assert ended.code == 0, ended.err
    path = Path(ended.out.splitlines()[-1])
    document = read(path)
    assert [judge.name for judge in document.panel["synthetic"]] == ["synthetic_b", "projection-5"]
    assert document.judges["synthetic"].name == "synthetic_b" and len(document.correlations) == 1
    assert set(document.config["panel"]) == {"projection"}
    for line in document.lines:
        if "ID" in line.metrics:
            own = [line.by_judge[name]["ID"].number for name in ("synthetic_b", "projection-5")]
            assert line.metrics["ID"].number == max(own)
    assert "impostor scores correlate with projection-5" in ended.out
    assert any("synthetic_b learned from the same people as the encoder of FIVA" in note for note in document.notes)
