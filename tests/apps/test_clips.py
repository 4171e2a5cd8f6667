"""``evaluate.py suite=video``: the settings of ``anon anonymize``, what is refused, and real clips."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from anon.apps.anonymize import _SETTINGS
from anon.apps.config import composed
from anon.evaluation.document import read
from tests.apps.conftest import Command, folder_of
from tests.apps.launch.test_exit_codes import refused
from tests.video.scenes import frame_of, write_clip

QUICK = ("suite.resamples=20", "logger=csv")


@pytest.mark.parametrize(
    ("of_clips", "of_files"),
    [
        (["input=a.mp4"], []),
        (["input=a.mp4", "method=pixelate", "detector=yunet"], ["method=pixelate", "detector=yunet"]),
        ([], ["domain=synthetic"]),
        (["method=facedancer", "judge=synthetic_c"], ["domain=synthetic", "method=facedancer", "judge=synthetic_c"]),
    ],
)
def test_what_is_evaluated_is_what_anonymizes(of_clips: list[str], of_files: list[str]) -> None:
    """No value of conf/suite/video.yaml may drift from conf/anonymize.yaml."""
    clips, files = composed("evaluate", ["suite=video", *of_clips]), composed("anonymize", of_files)
    for name in (*_SETTINGS, "panel", "batch", "seed", "data", "checkpoint", "checkpoints"):
        if name not in ("audio", "strict", "recover"):
            assert OmegaConf.select(clips, name) == OmegaConf.select(files, name), name


def test_a_clip_from_the_command_line(evaluate: Command, tmp_path: Path) -> None:
    write_clip(tmp_path / "clip.mp4", [frame_of([(3, 20, 20)])[0]] * 3, sound=True)
    ended = evaluate("suite=video", f"input={tmp_path / 'clip.mp4'}", "detector=fixed", "method=blur", *QUICK)
    folder = folder_of(ended).parent
    found = read(folder)
    (line,) = found.lines
    assert (line.data, line.method, line.policy, line.split) == ("clip.mp4", "Blur", "none", "everyone")
    figures = line.metrics
    assert figures["frames"].value == figures["faces_due"].value == 3 and figures["unverified"].value == 1.0
    assert figures["unchanged_faces"].value == 0 and figures["M_tc_mu"].reason
    assert "Solid mask" in str(found.config["fallback"]) and str(tmp_path) not in str(found.config)
    assert folder.parent.name == "video" and "| clip.mp4" not in ended.err
    again = evaluate("suite=video", f"input={tmp_path / 'clip.mp4'}", "detector=fixed", "method=blur", *QUICK)
    assert "made 0 intermediate results, found 1 kept ones" in again.out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("input=nowhere.mp4", "input=nowhere.mp4: there is no such file or folder"),
        ("input=clip.mp4 scale=paper", "scale=paper would do nothing here: it is for crowds"),
        ("input=clip.mp4 suite.crowds.frames=9", "suite.crowds.frames=9 would do nothing here: it is for crowds"),
        ("input=clip.mp4 policy=own", "policy=own would do nothing here: this method redraws nobody"),
        ("input=clip.mp4 gate.min_size=9 method=blur", "gate.min_size=9 would do nothing here: a filter takes"),
        ("input=clip.mp4 judge=synthetic_b", "learned from rendered faces alone and never verifies photographs"),
        ("input=clip.mp4 attack=negation", "attack=negation would do nothing here: this suite shows clips"),
        ("input=clip.mp4 lpips=clip.mp4", "lpips=clip.mp4 would do nothing here: this suite shows clips"),
        ("input=clip.mp4 experiment=fiva", "experiment=fiva would do nothing here: this suite shows clips"),
        ("input=clip.mp4 logger.images=true", "logger.images=true would do nothing here: no face of a clip"),
        ("input=clip.mp4 checkpoint=last", "checkpoint=last would do nothing here: method=checkpoint takes it"),
        ("input=clip.mp4 margin=9", "margin=9 must be a number from 0 to 4"),
        ("input=clip.mp4 method=real", "this method is none to anonymize by"),
        ("suite.crowds.frames=0", "suite.crowds.frames=0 must be a whole number"),
        ("suite.attacked_probes=4", "there is no setting 'suite.attacked_probes'"),
    ],
)
def test_what_nothing_reads_is_refused(
    evaluate: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_clip(tmp_path / "clip.mp4", [frame_of([(3, 20, 20)])[0]] * 2)
    refused(evaluate("suite=video", *words.split(), "detector=fixed", *QUICK), told)
    assert not list((tmp_path / "runs").rglob("results.json"))


def test_input_is_of_this_suite_alone(evaluate: Command) -> None:
    assert evaluate("suite=table1", "input=clip.mp4").code == 2


@pytest.mark.slow
def test_what_ships_on_crowds(evaluate: Command) -> None:
    """By default nobody is missed or left unchanged who shows, and few are only masked."""
    found = read(folder_of(evaluate("suite=video", *QUICK)).parent)
    every = found.lines[-1]
    assert len(found.lines) == 4 and every.data == "all clips" and every.policy == "itm" and len(every.by_judge) == 3
    assert every.metrics["unchanged_faces"].value == 0 and (every.metrics["faces_due"].value or 0) > 100


@pytest.mark.slow
def test_a_real_clip(evaluate: Command, real: Path) -> None:
    clip = real / "clips" / "liveportrait" / "driving_d19.mp4"
    if not clip.is_file():
        pytest.skip(f"needs the clip {clip.name}")
    (line,) = read(folder_of(evaluate("suite=video", f"input={clip}", *QUICK)).parent).lines
    assert line.metrics["unchanged_faces"].value == 0 and line.metrics["covered"].value == 1.0
    assert (line.metrics["faces_due"].value or 0) > 50 and line.metrics["missed"].value is None
