"""A tiny world for the harness: people are colours, recognizers are random projections."""

from __future__ import annotations

import torch
from torch import nn

from anon.attacks.reconstruction import Reconstruction
from anon.faces.contract import Sample
from anon.generators.contract import Redrawn
from anon.identity.encoder import Encoder
from anon.identity.judge import Judge


class People:
    """A face set of random patterns: `stills` each and `clips` of `frames`; the last person has one still only."""

    synthetic = True

    def __init__(self, split: str, people: int, stills: int = 4, clips: int = 0, frames: int = 3, truth: bool = True):
        rows = []
        for label in range(people):
            only = label == people - 1
            rows += [(label, -1, frame) for frame in range(1 if only else stills)]
            rows += [(label, clip, frame) for clip in range(0 if only else clips) for frame in range(frames)]
        self.names = [f"{split}-{label}" for label in range(people)]
        table = torch.tensor(rows)
        self.labels, self.videos, self.frames = table[:, 0], table[:, 1], table[:, 2]
        rng = torch.Generator().manual_seed(sum(split.encode()))
        pattern = torch.rand(people, 3, 16, 16, generator=rng) * 1.6 - 0.8
        noise = torch.rand(len(rows), 3, 16, 16, generator=rng) * 0.3 - 0.15
        self.images = (pattern[self.labels] + noise).clamp(-1, 1)
        self.truth = truth

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Sample:
        sample = Sample(
            image=self.images[index],
            identity=self.labels[index],
            video=self.videos[index],
            frame=self.frames[index],
        )
        if self.truth:
            sample |= Sample(
                pose=torch.ones(3), expression=torch.ones(4), gaze=torch.ones(2), landmarks=torch.ones(5, 2)
            )
        return sample


class Data:
    name = "fake"

    def __init__(self, **options) -> None:
        self.sets = {split: People(split, people, **options) for split, people in COUNTS.items()}

    def faces(self, split: str) -> People:
        return self.sets[split]


COUNTS = {"train": 6, "background": 20, "attacker": 10, "evaluation": 8}


class Projection(nn.Module):
    dim = 32

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.randn(32, 3 * 16 * 16, generator=torch.Generator().manual_seed(seed)))

    def forward(self, x):
        return x.flatten(1) @ self.weight.T


def encoder(seed: int) -> Encoder:
    return Encoder(Projection(seed), size=16, name=f"projection-{seed}")


def judge(seed: int) -> Judge:
    return Judge(encoder(seed), flip=False)


class Other(nn.Module):
    """Draws the pattern whose embedding by projection 0 is about minus its condition, over the whole face."""

    steers = -1

    def __init__(self) -> None:
        super().__init__()
        self.inverse = nn.Parameter(torch.linalg.pinv(Projection(0).weight))

    def forward(self, target, z):
        image = (-z @ self.inverse.T).view_as(target)
        return Redrawn((image / image.abs().amax((1, 2, 3), keepdim=True)), torch.ones_like(target[:, :1]))


class Mapped(Other):
    """The same, which takes maps from the target, too: ``zeros``, or (``copy``) the picture and a quarter of it."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def attributes(self, target):
        maps = [target, nn.functional.avg_pool2d(target, 4)]
        return maps if self.path == "copy" else [torch.zeros_like(part) for part in maps]


class WithPath(nn.Module):
    """What a checkpoint of such a generator gives."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.encoder, self.generator = encoder(0), Mapped(path)


def mapped(path: str) -> dict[str, str]:
    """Its configuration."""
    return {"_target_": "tests.evaluation.tiny_world.WithPath", "path": path}


class Negative(nn.Module):
    """Draws the photographic negative, whatever z is."""

    steers = -1

    def forward(self, target, z):
        return Redrawn(-target, None)


class Scale(nn.Module):
    """Multiplies; by -1 it undoes :class:`Negative`."""

    def __init__(self, factor):
        super().__init__()
        self.register_buffer("factor", torch.tensor(factor))

    def forward(self, images):
        return images * self.factor


def attack(checkpoint, seed=0):
    """In the place of what ``attack=reconstruction`` builds: the checkpoint's name is the factor."""
    return Reconstruction(Scale(float(checkpoint)), encoder(seed))


class Read(nn.Module):
    """Every attribute is 1 + the mean of the image."""

    name, reads = "read", ("pose", "expression", "gaze", "landmarks")

    def forward(self, images, points=None):
        mean = images.flatten(1).mean(1)
        shapes = {"pose": (3,), "expression": (4,), "gaze": (2,), "landmarks": (5, 2)}
        return {name: 1 + mean.view(-1, *[1] * len(s)).expand(-1, *s) for name, s in shapes.items()}
