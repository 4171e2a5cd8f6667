"""Every command of README.md and docs/ that trains, evaluates or anonymizes, run to its end on a few small faces.

The kind: a documented command that composes and fails in the middle (``suite=attackers method=fiva`` asked a row of
filters for a policy). What stands for a file (``<faces>``) is one that :func:`world` made, and numbers
that only say how long a run takes are small. :data:`ELSEWHERE` says what does not run here, and why.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, save
from PIL import Image
from torch import nn

from anon.anonymizers.filters import GaussianBlur
from anon.apps import anonymize, evaluate, recover, train
from anon.apps.export import command as export_file
from anon.apps.run_folders.folder import LAST
from anon.faces.alignment import template
from anon.faces.contract import to_float, to_uint8
from anon.faces.points import OURS
from anon.faces.prepare.__main__ import main as prepare
from anon.faces.splits import SPLITS
from anon.faces.synthetic.export import export
from tests.apps.door.test_documented import APPS, mine
from tests.faces.collections.tiny_lfw import make_lfw
from tests.identity.onnx_graphs import channel_means
from tests.video.scenes import frame_of, write_clip

__all__ = ["mine"]  # a fixture: the documentation's own method
pytestmark = pytest.mark.slow

#: What is not run: (pattern, reason).
ELSEWHERE = (
    (r"^sbatch|hydra/launcher=|scale=paper", "other processes or a cluster: tests/slurm, tests/apps/launch"),
    (r"\+sweep=optuna|\+sweep=fiva", "the extra sweep: tests/apps/launch/test_optuna.py"),
    (r"experiment=(dfaker|saehd_|villain|faceswap_gan)|suite=subject_swap", "two people: tests/apps/test_subjects.py"),
    (r"(experiment|method)=fatm", "donors with many pictures each: tests/apps/test_fatm.py"),
    (r"input=camera:", "a camera: tests/video/test_live.py has pipes"),
    (
        r"fsanet|w600k|MobileFaceNet\.onnx|yunet_n_dynamic",
        "published files: tests/attributes, tests/identity, tests/faces",
    ),
    (r"panel\.dlib", "dlib and its file: tests/identity/test_real_recognizers.py"),
    (r"lpips=", "AlexNet's file: tests/metrics"),
    (r"^python \w+\.py$|--help$|^anon anonymize policy=rotation$", "a name in a text"),
)
SIDE = 32
PEOPLE = "{train: 12, background: 12, attacker: 6, evaluation: 6}"
#: Settings that only say how long a run takes; where a command sets them itself, this is what it gets.
TRAINED = ("steps=2", "data.batch_size=4", "logger=csv")
JUDGED = ("suite.far=0.05", "suite.resamples=20", "suite.anchors=32", "suite.grid_faces=2", "suite.max_eer=1")
RENDERED = (f"data.identities={PEOPLE}", "data.images=6", "data.clips=0")
#: Recognizers of photographs, where they are at hand.
REAL = Path(os.environ["ANON_REAL"]) / "models"
MOBILE = "mobilefacenet_foamliu/mobilefacenet.pt"
EDGE = "edgeface_xs/derived_edgeface_xs_float32_state_dict.pt"
#: What words stand for: a file of :func:`world`, or ``{fiva}``, the newest run of that name.
STANDS_FOR = (
    (r"identity_mask\.anonymizer\.checkpoint=<run folder>", "identity_mask.anonymizer.checkpoint={identity_mask}"),
    (r"reconstruction\.trained\.folder=<run folder>", "reconstruction.trained.folder={attack of a folder}"),
    (r"attack\.recognizer\.checkpoint=<run folder>", "attack.recognizer.checkpoint={parrot}"),
    (r"(mobilefacenet encoder\.weights)=<[^>]*>(/checkpoints/last\.ckpt)?", rf"\1={REAL}/{MOBILE}"),
    # The newest FIVA of a folder learned with MobileFaceNet here, which may not judge it.
    (r"(experiment=fiva data=folder.*panel\.mobilefacenet)", r"checkpoint=shipped:fiva \1"),
    (r"(panel\.mobilefacenet\.encoder\.weights)=<[^>]*>", rf"\1={REAL}/{MOBILE}"),
    (r"(judge\.encoder\.weights)=<[^>]*>", rf"\1={REAL}/{EDGE}"),
    (r"method\.anonymizer\.checkpoint=<run of 3>", "method.anonymizer.checkpoint={photographs}"),
    (r"attack\.checkpoint=<run>", "attack.checkpoint={attack of photographs}"),
    (r"checkpoint=<file>", f"checkpoint={{fiva}}/{LAST}"),
    (r"<run folder or file>|<run folder>", "{fiva}"),
    (r"path=<file\.onnx>", "path=judge.onnx"),
    (r"<file\.onnx>", "negative.onnx"),
    (r"<file\.pt>", "negative.pt"),
    (r"collection\.points=<csv>", "collection.points=lfw/points.csv"),
    (r"labels=<csv>", "labels=labels.csv"),
    (r"<points\.csv>|<csv>", "points.csv"),
    (r"<lfw>", "lfw/lfw"),
    (r"<changed>", "changed"),
    (r"data=packed data\.root=<folder>", "data=packed data.root=packed/mine"),
    (r"<faces>|<folder>|<new place>", "faces"),
    (r"<20 people, 2 photographs each>", "small"),
    (r"<clip[^>]*>", "clip.mp4"),
    (r"anonymize \.\.\.", "anonymize input=photo.jpg output=mine.jpg"),
    (r"file:///my/conf", "file://{mine}"),
)
#: The newest run of an experiment whose configuration says so.
OF_WHAT = (
    ("photographs", "fiva", "packed/lfw"),
    ("attack of photographs", "reconstruction", "packed/lfw"),
    ("attack of a folder", "reconstruction", "ResultsFolder"),
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which a reader stands, with everything that the documents' commands name."""
    place = tmp_path_factory.mktemp("world")
    export(place / "faces", SPLITS, 2 * SIDE, people=12, pictures=4)
    blur = GaussianBlur(0.04)
    five = ",".join(f"{value:.3f}" for value in template(2 * SIDE).flatten().tolist())
    rows = ["file," + ",".join(f"{point}_{axis}" for point in OURS for axis in "xy")]
    for path in sorted((place / "faces").rglob("*.png")):
        image = to_float(torch.from_numpy(np.asarray(Image.open(path)).copy()))[None]
        changed = place / "changed" / path.relative_to(place / "faces")
        changed.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(to_uint8(blur(image))[0].numpy()).save(changed)
        rows.append(f"{path.relative_to(place / 'faces').as_posix()},{five}")
    for number, who in enumerate(sorted((place / "faces").iterdir())[:20]):  # too few for splits, by names of their own
        shutil.copytree(who, place / "small" / f"Ann_{number}")
        rows += [f"Ann_{number}/{path.name},{five}" for path in who.iterdir()]
    (place / "points.csv").write_text("\n".join(rows) + "\n")
    make_lfw(place / "lfw")
    for name in ("mine", "lfw"):
        words = ["--out", str(place / "packed" / name), "--points", str(place / "points.csv"), "--size", "64"]
        assert prepare(["--root", str(place / "faces"), *words]) == 0
    for name in ("glintr100.onnx", "judge.onnx"):
        channel_means(place / name)
    negative(place / "negative.onnx")
    assert export_file(["method=fiva", "policy=negation", f"output={place / 'fiva.onnx'}"]) == 0
    torch.jit.script(nn.Hardtanh()).save(str(place / "negative.pt"))
    people = sorted(path.name for path in (place / "faces").iterdir())
    labels = [f"{name},{'ab'[number % 2]}" for number, name in enumerate(people)]
    (place / "labels.csv").write_text("\n".join(["identity,gender", *labels]) + "\n")
    crowd = [frame_of([(3, 20 + at, 20), (5, 140, 30)])[0] for at in range(6)]
    write_clip(place / "clip.mp4", crowd)
    for folder in ("holiday", "monday", "tuesday"):
        (place / folder).mkdir()
        Image.fromarray(crowd[0].numpy()).save(place / folder / "photo.jpg")
    for name in ("photo.jpg", "people.png"):
        Image.fromarray(crowd[0].numpy()).save(place / name)
    for name in ("people.key", "my.key"):
        (place / name).write_text("a long sentence that nobody guesses")
    return place


def negative(path: Path) -> None:
    """An ONNX file: the negative of a picture."""
    shape = ["batch", 3, SIDE, SIDE]
    given, made = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("images", "changed"))
    graph = helper.make_graph([helper.make_node("Neg", ["images"], ["changed"])], "negative", [given], [made])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)


def small(command: str, mine: Path) -> tuple[Callable[[], None], list[str]]:
    """The entry point of a command, and its words: what stands for something filled in, and short."""
    for pattern, meant in STANDS_FOR:
        command = re.sub(pattern, meant, command)
    for name in ("fiva", "parrot", "reconstruction", "identity_mask"):
        command = command.replace(f"{{{name}}}", str(max(Path("runs/train", name).glob("*"), default="none")))
    for name, experiment, told in OF_WHAT:
        runs = Path("runs/train", experiment).glob("*")
        fit = (run for run in runs if told in (run / "config.yaml").read_text())
        command = command.replace(f"{{{name}}}", str(max(fit, default="none")))
    _, app, *given = shlex.split(command.replace("{mine}", str(mine)), comments=True)
    if app == "recover":
        return recover.main, given
    if app.startswith("anonymize"):
        if "domain=synthetic" in given and "policy=rotation" not in given:
            given = [*given, f"data.identities={PEOPLE}"]
        return anonymize.main, given
    files = ("data=folder", "data=packed", "originals=", "ckpt_path=")
    more = () if any(word.startswith(files) for word in given) else RENDERED
    if re.search(
        "k_same|suite=keys|rotation|experiment=reversible|k_anonymity|attribute_editing|anonymous_net", command
    ):  # groups of 2k, directions of a key
        more = (*RENDERED, "data.identities={train: 44, background: 44, attacker: 44, evaluation: 44}")
    if app.startswith("train"):
        if "experiment=ideudemon" in given:  # both networks have a step
            more = (*more, "model.ahead=1")
        if "experiment=made_simple" in given:  # scenes are stills
            more = tuple(word for word in more if not word.startswith("data.clips"))
        if "experiment=identity_mask" in given:  # clips alone
            more = (f"data.identities={PEOPLE}", "data.clip_frames=4")
        draws = re.search(r"experiment=(fiva|facedancer|reconstruction)", command)  # others have shipped networks' side
        draws = draws if "method=gafni" not in given else None  # that draws the side it was trained with
        return train.main, [*given, *more, *TRAINED, *(["model.cooldown=0", f"data.size={SIDE}"] if draws else [])]
    if "suite=pulse" in given:  # clips of four seconds
        people = (f"data.identities={PEOPLE}", "data.images=6", "data.clip_frames=32", "data.fps=8")
        return evaluate.main, [*given, *people, *JUDGED, f"data.size={SIDE}", "logger=csv"]
    if "suite=identity_mask" in given:  # clips alone, and people enough for the directions of a key
        people = ("data.identities={train: 44, background: 44, attacker: 1, evaluation: 4}", "data.clip_frames=4")
        return evaluate.main, [*given, *people, *JUDGED, "logger=csv"]
    if "suite=video" in given:  # clips of crowds, which are as short as they can be
        return evaluate.main, [*given, "logger=csv"]
    more = (*more, *JUDGED, *(["suite.far=0.2"] if "suite=lfw" in given else []))
    if "method=dp_k_anonymity" in given:  # of 44 people all may vote
        more = (*more, "method.anonymizer.gamma=1")
    if "suite=attribute_editing" in given:
        more = (*more, "suite.methods.dp_k_anonymity.anonymizer.gamma=1")
    if "suite=keys" in given:  # each guess is a face drawn
        more = (*more, *(f"suite.measures.keys.{name}=2" for name in ("guesses", "short", "few")))
        if "rotations" not in command:  # one angle says whether it runs
            more = (*more, *(f"suite.tables.rotations.grid.{block}.dial.values=[60]" for block in (0, 1)))
    # What was exported, dials of 32 blocks, a network that draws one side.
    side = 64 if re.search(r"fiva\.onnx|suite=(all|dial)|faceshifter|gafni|table1 checkpoints=last", command) else SIDE
    return evaluate.main, [*given, *more, f"data.size={side}", "logger=csv"]


def elsewhere(command: str) -> str | None:
    """Why a command does not run here; None: it does."""
    plain = command.partition("#")[0].strip()
    return next((reason for pattern, reason in ELSEWHERE if re.search(pattern, plain)), None)


def here() -> list[str]:
    """Trainings first, for the others take the newest run; none twice."""
    found = {each.partition(" #")[0].strip() for _, each in APPS if elsewhere(each) is None}
    return sorted(found, key=lambda each: ("train.py" not in each, each))


@pytest.mark.parametrize("command", here(), ids=lambda each: re.sub(r"[^\w.=/+@]+", " ", each))
def test_runs_to_its_end(
    command: str, world: Path, mine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if "weights=<" in command and not REAL.is_dir():
        pytest.skip(f"needs recognizers of photographs: there is no folder {REAL}")
    monkeypatch.chdir(world)
    entry, given = small(command, mine)
    monkeypatch.setattr(sys, "argv", ["script.py", *given])
    with pytest.raises(SystemExit) as ended:
        entry()
    shown = capsys.readouterr()
    assert not ended.value.code, shown.err
