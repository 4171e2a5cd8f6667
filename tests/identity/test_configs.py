"""Every encoder and judge of conf/ composes and builds, or says which weights it wants."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from anon.errors import UserError
from anon.identity.judge import Judge
from tests.identity.onnx_graphs import channel_means

CONF = Path(__file__).resolve().parents[2] / "conf"
FROM_FILES = {"onnx", "openvino", "dlib"}  # built from a file alone: see test_onnx, test_openvino and test_dlib
ENCODERS = sorted(file.stem for file in (CONF / "encoder").glob("*.yaml"))
JUDGES = sorted(file.stem for file in (CONF / "judge").glob("*.yaml"))


def _build(group: str, name: str, *overrides: str):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return instantiate(compose(overrides=[f"+{group}={name}", *overrides])[group])


@pytest.mark.parametrize("name", [name for name in ENCODERS if name not in FROM_FILES | {"iresnet100"}])
def test_encoder_builds_with_random_weights_and_takes_any_size(name):
    encoder = _build("encoder", name, "encoder.weights=random")
    z, maps = encoder(torch.zeros(1, 3, 40, 48), encoder.layers)
    assert encoder.name == name and z.shape == (1, encoder.dim)
    sides = [m.shape[-1] for m in maps]
    assert len(sides) >= 2 and all(0 <= large - 2 * small <= 5 for large, small in itertools.pairwise(sides))


@pytest.mark.parametrize("name", [name for name in ENCODERS if not name.startswith("synthetic")])
def test_weights_that_do_not_ship_are_asked_for(name):
    with torch.device("meta"), pytest.raises(Exception, match=r"needs an? (weight |ONNX )?file") as caught:
        _build("encoder", name)
    assert isinstance(caught.value.__cause__, UserError)  # Hydra wraps it


@pytest.mark.parametrize("name", [name for name in JUDGES if name not in FROM_FILES])
def test_judge_builds(name):
    judge = _build("judge", name, "judge.encoder.weights=random")
    # a panel's first judge is the judge
    assert isinstance(judge, Judge) and judge.name == {"synthetic": "synthetic_b"}.get(name, name) and judge.flip
    assert judge.embed(torch.zeros(2, 3, 64, 64)).shape == (2, judge.dim)


def test_onnx_files_build_by_path_alone(tmp_path):
    file = channel_means(tmp_path / "means.onnx")
    encoder = _build("encoder", "onnx", f"encoder.weights={file}", "encoder.dim=64", "encoder.layers=[net.relu0]")
    judge = _build("judge", "onnx", f"judge.path={file}", "judge.mean=[0.5,0.5,0.5]", "judge.threshold=0.7")
    images = torch.rand(2, 3, 50, 50)
    z, maps = encoder(images, encoder.layers)
    assert z.shape == (2, 64) and maps[0].shape == (2, 3, 112, 112)
    assert (
        judge.embed(images).shape == (2, 64) and judge.threshold == 0.7 and judge.mean.flatten().tolist() == [0.5] * 3
    )
    with pytest.raises(Exception, match="needs an ONNX file: take one of insightface"):
        _build("judge", "onnx")


def test_the_two_that_ship_are_different_networks():
    one, two = (_build("encoder", f"synthetic_{letter}", "encoder.weights=random").backbone for letter in "ab")
    assert type(one) is not type(two)
