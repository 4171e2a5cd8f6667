"""What ships: ``shipped:<name>`` gives a generator that swaps or flees, an attack that undoes it, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch.nn import functional as F

from anon import weights
from anon.apps import checkpoints, ship, victims
from anon.apps.checkpoints import restore_generator
from anon.apps.victims import trained_attack
from anon.errors import UserError
from anon.faces.synthetic.dataset import SyntheticFaces
from anon.identity.judge import Judge
from tests.apps.test_configs import composed
from tests.apps.test_evaluate import SMALL
from tests.training.test_reconstruction import attack

JUDGES = "the worst of synthetic_b, synthetic_c and synthetic_d"


def test_identity_follows_z_in_the_shipped_facedancer(tmp_path) -> None:
    """Of evaluation people, by the encoder it was trained with: swapped faces are nearer to their sources."""
    generator, encoder, name, config, _ = restore_generator("shipped:facedancer")
    assert name == "FaceDancer" and generator.steers == 1 and set(config) == {"generator", "encoder"}
    faces = SyntheticFaces("evaluation", identities=8, images=1, cache=tmp_path)
    images = torch.stack([faces[index]["image"] for index in range(8)])
    with torch.no_grad():
        z = encoder(images).z
        for shift in (1, 3):
            swapped = encoder(generator(images, z.roll(shift, 0)).blend(images)).z
            to_source, to_target = F.cosine_similarity(swapped, z.roll(shift, 0)), F.cosine_similarity(swapped, z)
            assert (to_source > to_target).all() and to_source.mean() > 0.8


def test_the_shipped_attack_undoes_the_shipped_fiva(tmp_path) -> None:
    """Evaluation people again, by another recognizer than the one that trained both."""
    generator, encoder, name, *_ = restore_generator("shipped:fiva")
    attack = trained_attack("shipped:reconstruction")
    assert name == "FIVA" and generator.steers == -1 and encoder.name == "synthetic_robust"
    assert attack.encoder.name == "synthetic_a"  # the attacker's own
    judge = Judge(instantiate(composed("evaluate", "experiment=fiva").judge.encoder))
    faces = SyntheticFaces("evaluation", identities=8, images=1, cache=tmp_path)
    images = torch.stack([faces[index]["image"] for index in range(8)])
    with torch.no_grad():
        changed = generator(images, -encoder(images).z * generator.steers).blend(images).clamp(-1, 1)
    true, fake, found = (judge.embed(part) for part in (images, changed, attack.images(changed)))
    assert F.cosine_similarity(true, fake).mean() < 0.3 and F.cosine_similarity(true, found).mean() > 0.4


def test_what_is_no_generator_is_refused() -> None:
    with pytest.raises(UserError, match=r"no attack ships as .*there are: shipped:reconstruction"):
        trained_attack("shipped:fiva")
    for name in ("shipped:synthetic_a", "shipped:nobody", "shipped:reconstruction"):
        with pytest.raises(UserError, match=r"no generator ships as .*shipped:facedancer"):
            restore_generator(name)


def test_an_attacks_checkpoint_is_no_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    config = OmegaConf.create({"experiment": "reconstruction"})
    monkeypatch.setattr(checkpoints, "restore_module", lambda path: (attack(), config))
    with pytest.raises(UserError, match="experiment=reconstruction, which trains no generator"):
        restore_generator("some.ckpt")


def test_a_shipped_configuration_builds_this_project_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = weights.index()["facedancer"]
    foreign = {"generator": {"_target_": "os.getcwd"}, "encoder": entry["config"]["encoder"]}
    monkeypatch.setattr(weights, "index", lambda: {"facedancer": {**entry, "config": foreign}})
    with pytest.raises(UserError, match=r"asks to run os\.getcwd"):
        restore_generator("shipped:facedancer")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is measured for a model card, on a few faces."""
    rules = ("suite.far=0.01", "suite.resamples=20", "suite.anchors=16", "suite.attacked_probes=1")
    rules += ("data.size=64", "data.clip_frames=2")
    monkeypatch.setattr(ship, "composed", lambda name, words: composed(name, *words, *SMALL, *rules))


def figures_of(name: str) -> SimpleNamespace:
    """The module whose training would have shipped this generator."""
    generator, encoder, *_ = restore_generator(f"shipped:{name}")
    return SimpleNamespace(averaged=generator, generator=generator, encoder=encoder, others=[], steers=generator.steers)


@pytest.mark.slow
def test_the_card_of_a_swapper(small: None) -> None:
    figures = ship.swapper_figures(figures_of("facedancer"), "facedancer")  # type: ignore[arg-type]
    assert (
        figures[f"probes ({JUDGES})"],
        figures[f"gallery ({JUDGES})"],
    ) == (18 + 12, 6)
    assert figures["swap_ID"] > figures["swap_ID_target"] and figures["cosine_source"] > figures["cosine_target"]
    assert figures["swap_ID, low"] <= figures["swap_ID"] <= figures["swap_ID, high"]
    assert figures["pose_error"] > 0 and figures["FID_judge"] > 0 and "area_l1_target_source" not in figures


@pytest.mark.slow
def test_the_card_of_an_anonymizer(small: None) -> None:
    figures = ship.anonymizer_figures(figures_of("fiva"), "fiva")  # type: ignore[arg-type]
    assert figures[f"probes ({JUDGES})"] == 18  # without clips
    for policy in ("plain", "sampling", "itm"):
        assert {f"{policy}: {name}" for name in ship.TABLE1} <= set(figures)
    assert figures["swap: swap_ID"] >= figures["swap: swap_ID, low"] and "swap: cosine_source" in figures
    assert not any(name.startswith("none") for name in figures)


def attacker(run: Path, method: str, checkpoint: str) -> tuple[SimpleNamespace, Path, DictConfig]:
    """What a run of experiment=reconstruction leaves for its card."""
    (run / "started.json").write_text(json.dumps({"choices": {"method": method}}))
    return (
        SimpleNamespace(state_dict=dict),
        run,
        OmegaConf.create({"method": {"anonymizer": {"checkpoint": checkpoint}}}),
    )


def test_an_attack_that_its_users_cannot_use_does_not_ship(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="attacks no shipped generator; train it with checkpoints=shipped"):
        ship.attack_figures(*attacker(tmp_path, "fiva", "runs/last.ckpt"))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="attacks method=mine, which conf/method does not have"):
        ship.attack_figures(*attacker(tmp_path, "mine", "shipped:fiva"))  # type: ignore[arg-type]


@pytest.mark.slow
def test_the_card_of_an_attack(small: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ship, "read_checkpoint", lambda path: ({}, None))
    monkeypatch.setattr(victims, "trained_attack", lambda checkpoint: trained_attack("shipped:reconstruction"))
    figures = ship.attack_figures(*attacker(tmp_path, "fiva", "shipped:fiva"))  # type: ignore[arg-type]
    for policy in ("plain", "sampling", "itm"):
        assert figures[f"{policy}: RA_rank1"] >= figures[f"{policy}: RA"] > figures[f"{policy}: ID"] - 1e-9
    assert "none: ID" in figures and figures[
        "chance (the worst of synthetic_b, synthetic_c and synthetic_d)"
    ] == pytest.approx(1 / 6)


def test_what_flees_does_not_inpaint() -> None:
    with pytest.raises(UserError, match="shipped:fiva is a FIVA, which does not inpaint"):
        checkpoints.restore_inpainter("shipped:fiva", 0.5)
