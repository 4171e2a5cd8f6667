"""Stages over the tiny world: people are patterns, the generator draws another pattern."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from anon.evaluation.harness.pictures import Readers
from anon.evaluation.harness.stages import Stages
from anon.evaluation.harness.store import Store
from anon.evaluation.harness.suite import Suite
from tests.evaluation import tiny_world

ROOM = "tests.evaluation.harness.tiny_stages"
TRACKER = {
    "_target_": "anon.identity.tracking.IdentityTracker",
    "threshold": None,
    "policy": {"_target_": "anon.identity.policies.AnchorSampling", "_partial_": True, "m": -0.5, "mirrored": None},
}


class Trained(nn.Module):
    """What a checkpoint gives."""

    def __init__(self, checkpoint: str) -> None:
        super().__init__()
        self.encoder = tiny_world.encoder(0)
        self.generator = tiny_world.Other()
        self.checkpoint = checkpoint


class Broken(Trained):
    """Its generator gives no image."""

    def __init__(self, checkpoint: str) -> None:
        super().__init__(checkpoint)
        with torch.no_grad():
            self.generator.inverse.fill_(float("nan"))


class Mirror(nn.Module):
    """An attack on images: it mirrors them."""

    def __init__(self) -> None:
        super().__init__()

    def images(self, changed):
        return changed.flip(-1)

    def probe(self, z):
        return z

    def gallery(self, images):
        return images

    def judge(self, encoder):
        return encoder


def settings(**changes: Any) -> dict[str, Any]:
    """Of a suite."""
    own: dict[str, Any] = {
        "far": 0.01,
        "resamples": 50,
        "clip_frames": 3,
        "anchors": 8,
        "batch_size": 5,
        "attacked_probes": 1,
        "methods": {
            "real": {"title": "Real", "anonymizer": None},
            "other": {
                "title": "Other",
                "policies": True,
                "train": "train it",
                "anonymizer": {"_target_": f"{ROOM}.Trained", "checkpoint": "here"},
                "dial": {"title": "distance", "key": "policy.distance", "policy": "dial", "values": [0, 1]},
            },
            "broken": {
                "title": "Broken",
                "policies": True,
                "anonymizer": {"_target_": f"{ROOM}.Broken", "checkpoint": "here"},
            },
            "untrained": {
                "title": "Untrained",
                "policies": True,
                "train": "python train.py experiment=untrained",
                "anonymizer": {"_target_": f"{ROOM}.Trained", "checkpoint": None},
            },
            "noise": {
                "title": "Noise",
                "anonymizer": {"_target_": "anon.anonymizers.filters.PixelNoise", "sigma": 0.1},
            },
            "pixelate": {
                "title": "Pixelate",
                "anonymizer": {"_target_": "anon.anonymizers.filters.Pixelate", "blocks": 2},
                "dial": {"title": "blocks", "key": "anonymizer.blocks", "values": [4, 2]},
            },
        },
        "policies": {
            "plain": {"_target_": "anon.identity.policies.Negation"},
            "itm": TRACKER,
            "source": {"_target_": "anon.identity.policies.SourceIdentity"},
            "dial": {
                "_target_": "anon.identity.policies.AtDistance",
                "distance": 1.0,
                "policy": TRACKER["policy"],
            },
        },
        "defenses": {
            "half": {"_target_": "anon.defenses.processing.Resample", "scale": 0.5},
            "uniform": {"_target_": "anon.defenses.noise.UniformNoise", "epsilon": 0.3, "share": 1.0},
            "parameters": {"_target_": "anon.defenses.parameters.ParameterNoise", "epsilon": 0.1},
        },
        "attacks": {
            "negation": {"attack": {"_target_": "anon.attacks.negation.Negation"}},
            "parrot": {"attack": {"_target_": "anon.attacks.parrot.Parrot", "_partial_": True}},
            "mirror": {"attack": {"_target_": f"{ROOM}.Mirror"}},
            "reconstruction": {"trained": {}, "train": "python train.py {victim}"},
        },
        "inputs": {
            "mosaic": {"_target_": "anon.evaluation.harness.inputs.Pixelated", "blocks": 4},
            "turned": {"_target_": "anon.evaluation.harness.inputs.Turned", "yaw": 45.0},
            "facing": {"_target_": "anon.evaluation.harness.inputs.Turned", "yaw": 0.5},
        },
    }
    return {**own, **changes}


def stages(folder=None, data: Any = None, seed: int = 0, judge: Any = 1, **changes: Any) -> Stages:
    """Built anew, as by another process; ``folder`` keeps what it makes."""
    made = tiny_world.Data(clips=2) if data is None else data
    reader = tiny_world.Read()
    readers = Readers(reader, "read")
    suite = Suite(**settings(**changes))
    recognizer = tiny_world.judge(judge) if isinstance(judge, int) else judge
    return Stages(suite, lambda name: made, recognizer, readers, Store(folder), seed, torch.device("cpu"))
