"""scale=paper is the paper, or says what it lacks, and docs/papers.md tells the truth about both scales."""

from __future__ import annotations

import functools
import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import DictConfig, OmegaConf

from anon.apps import train
from anon.apps.config import composed as configuration
from anon.apps.train import lacking

PAGE = Path(__file__).resolve().parents[2] / "docs" / "papers.md"
TRAINED = ["fiva", "facedancer", "simswap", "faceshifter", "deepprivacy", "deepprivacy2", "ciagan", "made_simple"]
TRAINED += ["reconstruction", "recognizer", "recognizer_b", "expression"]
TRAINED += ["identity_mask", "stgan", "stargan", "gafni", "dfaker", "saehd_df", "saehd_liae", "villain", "faceswap_gan"]
TRAINED += ["stgan", "stargan", "gafni", "dfaker", "saehd_df", "saehd_liae", "villain", "faceswap_gan"]
TRAINED += ["ideudemon", "fatm"]
#: Keys that change no result, or follow from another key that has a row.
BESIDE = ("scale", "lacks", "checkpoint_every", "encoder.")
FOLLOWS = {"model.colours", "model.embedder.trunk", "model.pairing", "model.reader"}  # their parts are in their row


@functools.cache
def composed(script: str, *words: str) -> DictConfig:
    return configuration(script, words)


def rows() -> list[tuple[str, list[str], str, str]]:
    """Of each row with keys: the experiment (or ``evaluate``), the keys, and the two cells of values."""
    found, system = [], ""
    for line in PAGE.read_text().splitlines():
        told = re.search(r"`experiment=(\w+)`$|`(evaluate)\.py`$", line)
        if told:
            system = told[1] or told[2]
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        keys = re.findall(r"`([a-z_0-9.]+)`", cells[0]) if cells else []
        if keys and cells[0].replace("`", "") == ", ".join(keys):
            found.append((system, keys, cells[2], cells[3]))
    return found


def value(config: DictConfig, key: str) -> Any:
    found = OmegaConf.select(config, key)
    return OmegaConf.to_container(found, resolve=True) if OmegaConf.is_config(found) else found


@pytest.mark.parametrize(("system", "keys", "default", "paper"), rows(), ids=lambda part: str(part)[:40])
def test_every_row_of_the_table_is_the_configuration(system: str, keys: list[str], default: str, paper: str) -> None:
    script, words = ("evaluate", ()) if system == "evaluate" else ("train", (f"experiment={system}",))
    if system == "evaluate":
        words = ("suite=table1",)
    for cell, scale in ((default, "default"), (paper, "paper")):
        config = composed(script, *words, f"scale={scale}")
        assert [value(config, key) for key in keys] == yaml.safe_load(f"[{cell}]"), f"{keys} at scale={scale}"


def leaves(node: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(node, dict):
        return {prefix: node}
    return {
        key: at
        for name, child in node.items()
        for key, at in leaves(child, f"{prefix}.{name}" if prefix else str(name)).items()
    }


@pytest.mark.parametrize("experiment", TRAINED)
def test_no_difference_between_the_scales_is_missing_in_the_table(experiment: str) -> None:
    """The kind: a deviation that nobody wrote down. What differs from scale to scale differs from the paper in one."""
    told = {key for system, keys, _, _ in rows() if system == experiment for key in keys}
    both = [leaves(OmegaConf.to_container(composed("train", f"experiment={experiment}", f"scale={scale}")))
            for scale in ("default", "paper")]  # fmt: skip
    differ = {key for key in both[0].keys() | both[1].keys() if both[0].get(key) != both[1].get(key)}
    silent = {
        key
        for key in differ - told
        if not key.startswith(BESIDE) and not any(key == top or key.startswith(f"{top}.") for top in FOLLOWS & told)
    }
    assert not silent


def test_facedancer_at_paper_scale_has_the_numbers_of_its_code() -> None:
    """Colours and smooth decay were missing: scale=paper decayed in stairs and showed faces in one light."""
    config = composed("train", "experiment=facedancer", "scale=paper")
    model, objective = config.model, config.objective
    assert (config.data.size, config.data.batch_size, config.steps) == (256, 10, 500_000)
    assert (model.lr, model.d_lr, list(model.betas)) == (1e-4, 1e-4, [0.0, 0.99])
    assert (model.decay, model.decay_every, model.staircase) == (0.97, 100_000, False)
    assert (model.warmup, model.cooldown, model.clip, model.view.share) == (0, 0, None, 0)
    colours = model.colours
    assert (colours.brightness, list(colours.contrast), list(colours.saturation)) == (0.3, [0.9, 1.1], [0.9, 1.1])
    weights = {name: term.weight for name, term in objective.terms.items()}
    # reconstruction 5 of a halved L1, perceptual .2, identity 10, cycle 1, IFSR 1 with margins times 1.2, R1 10/2
    wanted = {"identity": 10, "ifsr": 1, "pixel": 2.5, "perceptual": 0.2, "cycle": 1, "adversarial": 1}
    assert weights == wanted
    assert (objective.terms.ifsr.loss.scale, objective.r1_gamma, objective.r1_every) == (1.2, 10, 1)
    assert (model.pairing.share, len(config.encoder.layers)) == (0.2, 11)
    assert (config.generator.config, config.generator.base, config.generator.mapping) == ("C", 64, 512)


def test_fiva_at_paper_scale_has_the_numbers_of_the_paper() -> None:
    config = composed("train", "experiment=fiva", "scale=paper")
    model = config.model
    assert (config.data.size, config.encoder.name, len(config.encoder.layers)) == (256, "iresnet100", 3)
    assert (model.lr, model.d_lr, list(model.betas), model.decay, model.decay_every) == (
        *(1e-4, 1e-4, [0.5, 0.99]),
        *(0.97, 100_000),
    )
    assert (model.distortion.rotation, config.objective.terms.ifsr.loss.margins) == (10, None)
    assert (config.objective.r1_gamma, config.objective.r1_every) == (10, 1)  # FaceDancer's discriminator


RMSPROP = ["model.optimizer._target_=torch.optim.RMSprop", "~model.optimizer.betas"]
#: What is given -> a word of the sentence that goes away.
GIVEN = [
    ("facedancer", ["objective.terms.ifsr.loss.margins=[0.1]"], "margins of 0"),
    ("facedancer", ["objective=facedancer_vgg", "objective.terms.perceptual.loss.weights=a.pth"], "VGG-16"),
    ("facedancer", ["data=packed"], "faces are rendered"),
    ("fiva", ["objective.terms.identity.weight=10"], "weights were chosen"),
    ("fiva", ["data=folder"], "faces are rendered"),
    ("simswap", ["data=packed"], "faces are rendered"),
    ("gafni", ["objective.terms.repulsion.weight=3"], "weights were chosen"),
    ("gafni", ["data=packed"], "faces are rendered"),
    ("faceshifter", ["data=packed"], "faces are rendered"),
    ("deepprivacy", ["generator.landmarks.weights=a.safetensors"], "five points"),
    ("deepprivacy", ["data=packed"], "faces are rendered"),
    ("deepprivacy2", ["data=packed"], "faces are rendered"),
    ("ciagan", ["generator.landmarks.weights=a.safetensors"], "five points"),
    ("ciagan", ["data=packed"], "faces are rendered"),
    ("made_simple", ["data=packed"], "triples are rendered"),
    ("identity_mask", ["data=packed"], "clips are rendered"),
    ("identity_mask", ["encoder=edgeface", "encoder.weights=a.pt"], "VGG-19"),
    ("ideudemon", ["data.name=mine"], "faces are rendered"),
    ("stgan", ["data=packed"], "faces are rendered"),
    ("stargan", ["data=packed"], "faces are rendered"),
    ("reconstruction", ["method.anonymizer.checkpoint=a.ckpt"], "victim"),
    ("reconstruction", ["objective.terms.ifsr.weight=2"], "weights were chosen"),
    ("reconstruction", ["data=packed"], "faces are rendered"),
    ("expression", ["model.embedder.trunk.weights=a.pth"], "ImageNet"),
    ("expression", ["data=packed"], "faces are rendered"),
    ("recognizer", ["data=packed"], "faces are rendered"),
    ("recognizer_b", ["data=packed"], "faces are rendered"),
    *((tool, ["data=folder"], "people are rendered") for tool in ("dfaker", "villain", "faceswap_gan")),
    *((tool, ["data=folder"], "people are rendered") for tool in ("saehd_df", "saehd_liae")),
    ("fatm", ["data=folder"], "are rendered"),
    *((tool, RMSPROP, "AdaBelief") for tool in ("saehd_df", "saehd_liae")),
    ("faceswap_gan", ["encoder=edgeface", "encoder.weights=a.pt"], "VGGFace"),
]


@pytest.mark.parametrize(("experiment", "words", "about"), GIVEN)
def test_a_missing_piece_is_said_until_it_is_given(experiment: str, words: list[str], about: str) -> None:
    """The sentence is of the configuration, not a fixed text: giving the piece takes away this sentence alone."""
    before = lacking(composed("train", f"experiment={experiment}", "scale=paper"))
    after = lacking(composed("train", f"experiment={experiment}", "scale=paper", *words))
    assert [sentence for sentence in before if about not in sentence] == after
    assert len(before) == len(after) + 1


def test_a_training_says_it_at_its_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = composed("train", "experiment=fiva", "scale=paper").copy()
    monkeypatch.setattr(train, "_train", lambda *of: print("trains"))
    monkeypatch.setattr(train, "run_folder", lambda config, at=None: nullcontext(tmp_path))
    train.train(config)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"run folder {tmp_path}", *(f"not the paper's: {said}" for said in lacking(config)), "trains"]
    assert len(lines) == 4


@pytest.mark.parametrize("experiment", TRAINED)
def test_every_sentence_can_be_made_to_go_away(experiment: str) -> None:
    said = lacking(composed("train", f"experiment={experiment}", "scale=paper"))
    assert len(said) == sum(one == experiment for one, _, _ in GIVEN)
    assert not lacking(composed("train", f"experiment={experiment}"))  # the default scale claims nothing
