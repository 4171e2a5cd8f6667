"""Tables and figures from the command line, of what ships."""

from __future__ import annotations

from pathlib import Path

from anon.evaluation.document import read
from tests.apps.conftest import Command
from tests.apps.test_evaluate import SMALL

RULES = ("suite.far=0.01", "suite.resamples=20", "suite.anchors=16", "data.clips=0", "judge=synthetic_b")


def test_defenses_need_no_checkpoint_to_be_named(evaluate: Command) -> None:
    few = (
        "suite.attacked_probes=1",
        "suite.grid_faces=2",
        "suite.tables.table3.grid.0.defenses=[none,fgsm,parameter_noise]",
    )
    ended = evaluate("suite=table3", *few, *SMALL, *RULES)
    assert ended.code == 0, ended.err
    found = read(Path(ended.out.splitlines()[-1]))
    naive = [line for line in found.lines if line.attack == "reconstruction"]
    assert [line.defense for line in naive] == ["none", "fgsm", "parameter_noise"]
    assert all(line.metrics["RA"].n == 6 for line in naive)  # one probe of six people
    adaptive = {line.defense: str(line.needs) for line in found.lines if line.attack == "adaptive"}
    assert adaptive.pop("none") == "n/a (no defense to adapt to)"
    assert adaptive and all("+sweep=defenses" in needs for needs in adaptive.values())
    assert list(found.pictures) == ["grid_table3.png"]


def test_the_share_of_noise(evaluate: Command) -> None:
    few = ("suite.attacked_probes=1", "suite.grid_faces=0", "suite.tables.noise_share.grid.0.dial.values=[0,0.47,1]")
    ended = evaluate("suite=noise_share", *few, *SMALL, *RULES)
    assert ended.code == 0, ended.err
    path = Path(ended.out.splitlines()[-1])
    lines = [line for line in read(path).lines if line.attack == "reconstruction"]
    assert [(line.dial, line.metrics["RA"].n) for line in lines] == [(0.0, 6), (0.47, 6), (1.0, 6)]
    found = (path.parent / "table.md").read_text()
    assert "| FIVA + ITM, uniform_noise, 0.47" in found and "| *.003*" in found  # the paper's, under that share
    assert "SSIM of the defense" in (path.parent / "report.html").read_text()


def test_one_attack_shown_to_all(evaluate: Command, tmp_path: Path) -> None:
    """The matrix of what ships, and the command for what does not; no generator is asked for."""
    grid = "suite.tables.transfer.grid=[{methods: [real, blur, solid], attacks: [none, of_fiva, of_blur]}]"
    ended = evaluate("suite=transfer", grid, "suite.attacked_probes=1", "suite.grid_faces=0", *SMALL, *RULES)
    assert ended.code == 0, ended.err
    path = Path(ended.out.splitlines()[-1])
    found = {(line.method, line.attack): line for line in read(path).lines}
    assert found["Blur", "of_fiva"].learned == "transfer from FIVA + ITM"
    assert found["Blur", "of_fiva"].metrics["detection_AUC"].n == 12
    assert "+sweep=methods" in str(found["Blur", "of_blur"].needs)
    text = (path.parent / "table.md").read_text()
    assert "**AUC of the detector**" in text and "of\\_fiva" not in text and "| of_fiva" in text
    missing = evaluate("suite=transfer", f"suite.folder={tmp_path / 'absent'}", *SMALL)
    assert missing.code == 2 and "is no folder; give that of the runs of +sweep=methods" in missing.err


def test_swaps(evaluate: Command) -> None:
    ended = evaluate("experiment=facedancer", "checkpoint=shipped:facedancer", "suite=swap", *SMALL, *RULES)
    assert ended.code == 0, ended.err
    (line,) = read(Path(ended.out.splitlines()[-1])).lines
    assert (line.method, line.policy) == ("FaceDancer", "source") and line.metrics["swap_ID"].n == 18
