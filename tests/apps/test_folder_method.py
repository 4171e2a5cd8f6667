"""Whatever a tool writes is judged: ``originals=... method=folder method.root=...``, without a file of one's own.

The kind: only what we build ourselves was judged. A folder that another library wrote goes through every figure that
needs no new picture, an attack learns from its pairs alone, and what is wrong with it is one sentence with counts.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from anon.anonymizers.filters import GaussianBlur
from anon.apps.run_folders.folder import LAST
from anon.faces.contract import to_float, to_uint8
from anon.faces.splits import SPLITS, split_of
from anon.faces.synthetic.export import export, main
from tests.apps.conftest import Command, folder_of
from tests.apps.launch.test_exit_codes import refused

SIZE, SIGMA = 32, 0.04
FAST = (
    "data.size=32",
    "suite.resamples=50",
    "suite.attacked_probes=2",
    "suite.far=0.01",
    "logger=csv",
    "suite.max_eer=0.5",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``originals``, and what became of them by the built-in blur (``ours``) and by OpenCV's (``theirs``)."""
    place = tmp_path_factory.mktemp("place")
    assert export(place / "originals", SPLITS, SIZE, people=12, pictures=6) == 4 * 12 * 6
    blur = GaussianBlur(SIGMA)
    for path in sorted((place / "originals").rglob("*.png")):
        frame = np.asarray(Image.open(path))
        image = to_float(torch.from_numpy(frame.copy()))[None]
        width = max(3, round(3 * SIGMA * SIZE) * 2 + 1)
        made = {
            "ours": to_uint8(blur(image))[0].numpy(),
            "theirs": cv2.GaussianBlur(frame, (width, width), SIGMA * SIZE, borderType=cv2.BORDER_REFLECT_101),
        }
        for tool, picture in made.items():
            file = place / tool / path.relative_to(place / "originals")
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(file)
    return place


def lines(results: Path) -> dict[tuple[str, str], dict]:
    found = json.loads(results.read_text())["lines"]
    return {(line["method"], line["attack"]): line for line in found}


def numbers(line: dict) -> dict[str, float]:
    return {name: figure["value"] for name, figure in line["metrics"].items() if figure["value"] is not None}


@pytest.mark.slow
def test_the_figures_are_those_of_the_method_itself(evaluate: Command, place: Path) -> None:
    """Of the same pictures exactly; of another library's within what its rounding changes."""
    words = ("suite=table1", f"originals={place / 'originals'}", *FAST)
    built_in = lines(folder_of(evaluate(*words, "method=blur", f"method.anonymizer.sigma={SIGMA}")))
    found = {
        tool: lines(folder_of(evaluate(*words, "method=folder", f"method.root={place / tool}")))
        for tool in ("ours", "theirs")
    }
    own = numbers(built_in["Blur", "none"])
    assert len(own) > 15 and own["ID"] is not None and own["ssim"] < 0.99
    assert numbers(found["ours"]["ours", "none"]) == own
    other = numbers(found["theirs"]["theirs", "none"])
    assert other.keys() == own.keys()
    for name in ("ID_rank1", "MRR", "ssim", "target_distance"):
        assert other[name] == pytest.approx(own[name], abs=0.03), name
    assert numbers(found["ours"]["Real", "none"]) == numbers(built_in["Real", "none"])
    needs = found["ours"]["ours", "reconstruction"]["needs"]
    assert f"python train.py experiment=reconstruction method=folder method.root={place / 'ours'}" in needs


@pytest.mark.slow
def test_an_attack_learns_from_the_folder_alone(train: Command, evaluate: Command, place: Path, tmp_path: Path) -> None:
    """Of pairs of the attacker's people; a linear one is fitted while the table is made."""
    whom = (f"originals={place / 'originals'}", "method=folder", f"method.root={place / 'ours'}", "data.size=32")
    words = ("experiment=reconstruction", *whom, "steps=2", "data.batch_size=8", "logger=csv")
    attack = folder_of(train(*words, "generator.widths=[8,16]")) / LAST
    given = f"+suite.attacks.reconstruction.trained.folder={attack}"
    ended = evaluate("suite=attackers", *whom, given, *FAST)
    found = lines(folder_of(ended))
    for adversary in ("none", "negation", "linear", "parrot", "reconstruction"):
        line = found["ours", adversary]
        assert line["needs"] is None, (adversary, line["needs"])
    assert found["ours", "reconstruction"]["metrics"]["RA"]["value"] is not None


@pytest.mark.slow
def test_missing_results_are_a_label_or_a_refusal(evaluate: Command, place: Path, tmp_path: Path) -> None:
    """The original stands in the place of each: a tool that skips a face has a worse ID, not a better one."""
    solid, half = tmp_path / "solid", tmp_path / "half"
    for number, path in enumerate(sorted((place / "originals").rglob("*.png"))):
        for folder, wanted in ((solid, True), (half, number % 2 == 0)):
            if wanted:
                file = folder / path.relative_to(place / "originals")
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (SIZE, SIZE), (90, 90, 90)).save(file)
    words = ("suite=table2", f"originals={place / 'originals'}", "method=folder", *FAST)
    refused(
        evaluate(*words, f"method.root={half}"),
        "36 of 72 pictures of the split evaluation",
        "36 missing",
        "max_missing",
    )
    whole = lines(folder_of(evaluate(*words, f"method.root={solid}")))["solid", "none"]
    ended = evaluate(*words, f"method.root={half}", "method.max_missing=0.6")
    part = lines(folder_of(ended))["half (36 of 72 missing)", "none"]
    assert part["metrics"]["ID_rank1"]["value"] > whole["metrics"]["ID_rank1"]["value"] + 0.2
    assert "the original stands in their place" in " ".join(json.loads(folder_of(ended).read_text())["notes"])


@pytest.mark.slow
def test_what_cannot_be_judged_is_one_sentence(evaluate: Command, place: Path, tmp_path: Path) -> None:
    words = ("suite=table2", "method=folder", *FAST)
    originals = f"originals={place / 'originals'}"
    refused(evaluate(*words, originals), "method=folder needs method.root")
    refused(evaluate(*words, originals, "method.root=/nowhere"), "no such file or folder")
    refused(evaluate(*words, originals, f"method.root={place}"), "None of the 72 pictures", "<identity>/<picture>")
    refused(evaluate(*words, f"method.root={place / 'ours'}"), "originals=<folder>")
    refused(evaluate(*words, originals, f"data.root={place}", f"method.root={place}"), "leave data.root=")
    flat = Path(shutil.copytree(place / "ours", tmp_path / "wide"))
    for path in flat.rglob("*.png"):
        Image.open(path).resize((SIZE, SIZE // 2)).save(path)
    refused(evaluate(*words, originals, f"method.root={flat}"), "of another shape than the original")


def test_rendered_faces_are_exported_by_a_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [str(tmp_path / "faces"), "--people", "2", "--pictures", "3", "--size", "32", "--splits", "evaluation"]
    assert main(words) == 0
    assert capsys.readouterr().out.splitlines() == ["6 pictures", str(tmp_path / "faces")]
    assert len(list((tmp_path / "faces").rglob("*.png"))) == 6
    (tmp_path / "file").write_text("")
    assert main([str(tmp_path / "file"), *words[1:]]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_swaps_name_whose_faces_they_show(evaluate: Command, place: Path, tmp_path: Path) -> None:
    """The perfect swap shows the source's own picture: it is found as the source, and never as the target."""
    people = sorted(path.name for path in (place / "originals").iterdir() if split_of(path.name) == "evaluation")
    source = dict(zip(people, [*people[1:], people[0]], strict=True))
    rows = ["target,source"]
    for path in sorted((place / "originals").rglob("*.png")):
        shown = path if path.parent.name not in source else path.parents[1] / source[path.parent.name] / path.name
        file = tmp_path / "swapped" / path.relative_to(place / "originals")
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(shown, file)
        if shown is not path:
            rows.append(f"{path.parent.name}/{path.name},{source[path.parent.name]}/{path.name}")
    (tmp_path / "pairs.csv").write_text("\n".join(rows) + "\n")
    words = (f"originals={place / 'originals'}", "method=folder", f"method.root={tmp_path / 'swapped'}", *FAST)
    line = lines(folder_of(evaluate("suite=table4", *words, f"method.pairs={tmp_path / 'pairs.csv'}")))[
        "swapped", "none"
    ]
    own = numbers(line)
    assert own["cosine_source"] == pytest.approx(1.0, abs=1e-5) and own["cosine_target"] < 0.9
    assert own["swap_ID"] > own["swap_ID_target"] + 0.3
    rows[1:] = [row.replace(",", ",elsewhere/") for row in rows[1:]]
    (tmp_path / "pairs.csv").write_text("\n".join(rows) + "\n")
    line = lines(folder_of(evaluate("suite=table4", *words, f"method.pairs={tmp_path / 'pairs.csv'}")))[
        "swapped", "none"
    ]
    assert "are not among the evaluated people" in line["metrics"]["swap_ID"]["reason"]
