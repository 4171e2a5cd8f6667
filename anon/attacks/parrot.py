"""Parrot recognition: compare changed faces with changed faces.

Newton, Sweeney & Malin 2005 (*Preserving privacy by de-identifying face images*) name it: a recognizer whose gallery
went through the same filter as its probes finds people whom a naive one does not. McPherson, Shokri & Shmatikov 2016
(*Defeating image obfuscation with deep learning*) show it of mosaics and blur with a recognizer that is also *trained*
on changed faces, as Todt et al. (Fantomas) do:

    python train.py experiment=parrot method=fiva

That recognizer may begin from the judge's weights. The rule that a judge is never a network that trained is there so
that a measure is not flattered; this one is no measure but the adversary's own, and the adversary may own any network.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from anon.anonymizers.contract import AnonymizerLike
from anon.attacks.contract import Attack
from anon.attacks.pairs import ChangedFaces, SomeFaces
from anon.errors import UserError
from anon.faces.contract import FaceSet, Sample, to_float
from anon.identity.contract import JudgeLike


class Parrot(Attack):
    """``gallery(images) = anonymizer(images)``: the adversary enrols the anonymizer's own output.

    Args:
        anonymizer: called on the enrolled images and on nothing else, without a key: one that needs a key says so.
        rng: the adversary's own generator, for anonymizers that draw; on the images' device. It goes on from batch to
            batch, and it must not be the defender's.
        recognizer: the adversary's own, in the place of the judge; None: the judge.
    """

    def __init__(
        self,
        anonymizer: AnonymizerLike,
        rng: torch.Generator | None = None,
        recognizer: JudgeLike | None = None,
    ) -> None:
        super().__init__()
        self.anonymizer = anonymizer
        self.rng = rng
        self.recognizer = recognizer

    def gallery(self, images: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) of known people -> the same people anonymized."""
        return self.anonymizer(images, rng=self.rng)

    def judge(self, encoder: JudgeLike) -> JudgeLike:
        """The adversary's recognizer, where it has one."""
        return encoder if self.recognizer is None else self.recognizer


class ParrotFaces(SomeFaces):
    """A face set whose ``image`` is what the anonymizer made of it: what a parrot's recognizer learns from.

    Every picture is anonymized once. An anonymizer may remember people and give each one fake identity (ITM); the
    published pictures and the adversary's gallery are then from two memories, with two fakes. So a person's pictures
    are dealt over ``runs`` anonymizers that know nothing of each other: with one, all pictures of a person have one
    fake, and a recognizer would learn the fake in place of what is left of the person.

    Args:
        faces: the adversary's photographs.
        fresh: makes an anonymizer without memory; called once for every run.
        runs: how many.
        clear: share of the pictures that are in the set unchanged as well, a random choice, after the changed ones.
        seed: of that choice and of the anonymizers' own randomness.

    Raises:
        UserError: ``runs`` below 1 or ``clear`` outside [0, 1].
    """

    def __init__(
        self, faces: FaceSet, fresh: Callable[[], AnonymizerLike], runs: int = 1, clear: float = 0.0, seed: int = 0
    ) -> None:
        if runs < 1 or not 0.0 <= clear <= 1.0:
            raise UserError(f"A parrot needs attack.runs >= 1 and attack.clear in [0, 1], got {runs} and {clear:g}.")
        order = faces.labels.argsort(stable=True)
        turn = torch.empty_like(order)  # of each picture among its person's
        turn[order] = torch.arange(len(order)) - torch.searchsorted(faces.labels[order], faces.labels[order])
        dealt = [rows for run in range(runs) if len(rows := (turn % runs == run).nonzero()[:, 0])]
        runs_of = ((SomeFaces(faces, rows), seed + run) for run, rows in enumerate(dealt))
        parts = [ChangedFaces(some, fresh(), seed=own).changed for some, own in runs_of]
        self.changed = torch.cat(parts)[torch.cat(dealt).argsort()]  # uint8 (N, H, W, 3)
        rng = torch.Generator().manual_seed(seed)
        also = torch.randperm(len(faces), generator=rng)[: round(clear * len(faces))].sort().values
        super().__init__(faces, torch.cat([torch.arange(len(faces)), also]))

    def __getitem__(self, index: int) -> Sample:
        sample = super().__getitem__(index)
        if index >= len(self.changed):
            return sample
        return cast(Sample, {**sample, "image": to_float(self.changed[index][None])[0]})
