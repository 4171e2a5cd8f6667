"""A pair's swap tool: trained, found again by whom it learned, measured, or said to be missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from anon.apps import subjects
from anon.apps.run_folders.folder import LAST
from anon.errors import UserError
from anon.evaluation.harness.attackers import Unavailable
from anon.faces.couple import TwoPeople
from anon.training.subject_swap import SubjectTraining
from tests.apps.conftest import Command


def pair(cache: Path, donor: str = "synthetic-000003", original: str = "synthetic-000009") -> TwoPeople:
    data = {"_target_": "anon.faces.datamodule.synthetic_data", "size": 32, "identities": 2, "images": 20, "clips": 0}
    data |= {"clip_frames": 2, "batch_size": 4, "cache": str(cache)}
    return TwoPeople(instantiate(data), donor, original, "pair")


MODEL = {
    "_target_": "anon.training.subject_swap.SubjectTraining",
    "generator": {"_target_": "anon.generators.subjects.dfaker.DFaker", "size": 32, "channels": 2, "latent": 8},
    "loss": {"_target_": "anon.losses.dssim.SubjectLoss"},
    "views": {"_target_": "anon.training.warps.Views", "warp": {"_target_": "anon.training.warps.GridWarp"}},
    "optimizer": {"_target_": "torch.optim.Adam", "_partial_": True, "lr": 0.001},
    "steps": 1,
}


def trained(runs: Path, donor: str, original: str) -> Path:
    """A run folder as train.py leaves it, of an untrained tool."""
    folder = runs / "train" / "dfaker" / f"{donor}_{original}"
    (folder / LAST).parent.mkdir(parents=True)
    whom = {"donor": donor, "original": original}
    config = OmegaConf.create({"task": "train", "experiment": "dfaker", "subjects": whom, "model": MODEL})
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(config))
    made = instantiate(OmegaConf.create(MODEL))
    assert isinstance(made, SubjectTraining)
    content = {"state_dict": made.state_dict(), "global_step": 1, "config": OmegaConf.to_yaml(config)}
    torch.save(content, folder / LAST)
    return folder


def test_the_run_that_learned_the_pair(tmp_path: Path) -> None:
    data = pair(tmp_path / "cache")
    trained(tmp_path, "somebody", "else")
    trained(tmp_path, data.original, data.donor)  # the other way round is another tool
    with pytest.raises(Unavailable, match=r"needs python train.py .*dfaker subjects.donor=synthetic-000003 subj"):
        subjects.swap_of(data, "dfaker", str(tmp_path))
    trained(tmp_path, "Synthetic_000003", data.original)  # another spelling of one name
    found = subjects.swap_of(data, "dfaker", str(tmp_path), transfer="mean")
    assert found.swaps and found.transfer == "mean" and found.size == 32 and found.encoder is None
    assert found.sources(torch.tensor([9, 8, 7])).tolist() == [0, 1, 0]  # two of twenty pictures validate
    assert data.faces("evaluation").labels[found.sources(torch.tensor([5]))].tolist() == [0]


def test_names_of_real_people_are_in_no_sentence(tmp_path: Path) -> None:
    data = pair(tmp_path / "cache")
    data.synthetic = False
    with pytest.raises(Unavailable) as caught:
        subjects.swap_of(data, "dfaker", str(tmp_path))
    assert data.donor not in str(caught.value) and data.original not in str(caught.value)


def test_a_crowd_has_no_tool(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="needs data of two people"):
        subjects.swap_of(pair(tmp_path).data, "dfaker", str(tmp_path))


@pytest.mark.slow
def test_trained_and_measured(train: Command, evaluate: Command, tmp_path: Path) -> None:
    """Each tool for two steps, then the table: who was trained has figures, and the rest say what they need."""
    common = [f"paths.cache={tmp_path / 'cache'}", "logger=csv"]
    for experiment in ("dfaker", "saehd_df", "saehd_liae", "villain", "faceswap_gan"):
        ended = train(f"experiment={experiment}", "steps=2", "checkpoint_every=2", "data.images=24", *common)
        assert ended.code == 0, ended.err
    small = [f"suite.datasets.{pair}.data.images=24" for pair in ("same_sex", "switched_sex")]
    small += ["suite.resamples=20", "suite.grid_faces=2", "judge=synthetic_b", "data.images=4", "suite.far=0.01"]
    ended = evaluate("suite=subject_swap", f"output={tmp_path / 'results'}", *small, *common)
    assert ended.code == 0, ended.err
    lines = json.loads((tmp_path / "results" / "results.json").read_text())["lines"]
    for data in ("M-M", "M-F"):
        own = {line["method"]: line for line in lines if line["data"] == data}
        assert set(own) == {"Real", "DFaker", "SAEHD df", "SAEHD liae", "Villain", "Faceswap-GAN"}
        needed = {name: line.get("needs") for name, line in own.items() if name != "Real"}
        if data == "M-F":
            assert all("subjects.donor=synthetic-000009" in str(told) for told in needed.values())
