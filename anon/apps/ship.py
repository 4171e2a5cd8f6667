"""Measure a trained recognizer or attribute regressor and ship it: half-precision safetensors with a model card.

    python -m anon.apps.ship <run folder> <name>

The figures on the card are of the shipped half-precision weights, on evaluation identities that no training has seen.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import nn

from anon import weights
from anon.apps.checkpoints import restore_module
from anon.apps.failures import guarded
from anon.apps.runs import LAST
from anon.attributes.regressor import AttributeRegressor, Attributes, attribute_errors
from anon.errors import UserError
from anon.faces.contract import FaceSet
from anon.identity.encoder import Encoder
from anon.identity.judge import Judge
from anon.identity.verification import evaluate_recognizer
from anon.progress import track
from anon.training.attributes import AttributeTraining
from anon.training.recognizer import RecognizerTraining, card


def ship(run: Path, name: str) -> Path:
    """Ship what a run trained as ``name``; returns the weight file.

    Raises:
        UserError: the run trained nothing that ships.
    """
    module, config = restore_module(run / LAST)
    faces = instantiate(config.data).faces("evaluation")
    if isinstance(module, RecognizerTraining):
        network: nn.Module = module.backbone
        _halve(network)
        judge = Judge(Encoder(module.backbone, config.data.size, name=name))
        figures = evaluate_recognizer(judge.embed, faces)
        what = f"face recognizer, {type(network).__name__}, {config.model.head._target_.rpartition('.')[2]} head"
    elif isinstance(module, AttributeTraining):
        network = module.regressor
        _halve(network)
        figures = regressor_errors(module.regressor, faces)
        what = "regressor of pose, expression, gaze and five points"
    else:
        raise UserError(f"{run} trained a {type(module).__name__}; recognizers and attribute regressors ship.")
    facts = _facts(run, config, what, network)
    notes = [
        "Figures: synthetic evaluation identities, disjoint from the training identities by the hash of their names.",
        "For synthetic faces only: it has never seen a photograph. Licence: MIT, as the code.",
    ]
    path = weights.ship(network.state_dict(), name, card(name, facts, figures, notes))
    print("\n".join(f"{key} {value:.4g}" for key, value in figures.items()))
    return path


def regressor_errors(regressor: AttributeRegressor, faces: FaceSet, batch_size: int = 128) -> dict[str, float]:
    """Mean errors on unchanged faces: pose and gaze L2 in degrees, expression L2, landmarks in pixels."""
    found: dict[str, list[torch.Tensor]] = {}
    starts = range(0, len(faces), batch_size)
    for start in track(starts, "measuring", len(faces), batch_size):
        rows = range(start, min(start + batch_size, len(faces)))
        batch = torch.utils.data.default_collate([faces[row] for row in rows])
        truth = Attributes(**{key: batch[key] for key in Attributes.__annotations__})  # type: ignore[typeddict-item]
        with torch.no_grad():
            for key, error in attribute_errors(regressor(batch["image"]), truth).items():
                found.setdefault(key, []).append(error)
    return {key: float(torch.cat(parts).mean()) for key, parts in found.items()}


def _halve(network: nn.Module) -> None:
    """Round to the precision that ships, so that the card tells of the file."""
    network.eval()
    with torch.no_grad():
        for value in (*network.parameters(), *network.buffers()):
            if value.is_floating_point():
                value.copy_(value.half().to(value.dtype))


def _facts(run: Path, config: DictConfig, what: str, network: nn.Module) -> dict[str, Any]:
    versions = json.loads((run / "versions.json").read_text())
    data = config.data
    return {
        "what": what,
        "parameters": f"{sum(value.numel() for value in network.parameters()):,}",
        "input": f"{data.size} x {data.size}",
        "command": f"`python train.py experiment={config.experiment}`",
        "data": f"{data.name}, {data.identities.train:,} training people, {data.images.train} pictures each, seed "
        f"{data.render_seed}",
        "seed": config.seed,
        "made with": f"torch {versions['torch']}, commit {versions['commit']}",
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", type=Path, help="run folder of a finished training")
    parser.add_argument("name", help="name of the weights, such as synthetic_a")
    given = parser.parse_args()
    sys.exit(guarded(lambda: print(ship(given.run, given.name))))
