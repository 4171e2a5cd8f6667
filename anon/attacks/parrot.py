"""Parrot recognition: compare changed faces with changed faces.

Newton, Sweeney & Malin 2005 (*Preserving privacy by de-identifying face images*) name it: a recognizer whose gallery
went through the same filter as its probes finds people whom a naive one does not. McPherson, Shokri & Shmatikov 2016
(*Defeating image obfuscation with deep learning*) show it of mosaics and blur.
"""

from __future__ import annotations

import torch
from torch import Tensor

from anon.anonymizers.contract import AnonymizerLike
from anon.attacks.contract import Attack


class Parrot(Attack):
    """``gallery(images) = anonymizer(images)``: the adversary enrols the anonymizer's own output.

    Args:
        anonymizer: called on the enrolled images and on nothing else, without a key: one that needs a key says so.
        rng: the adversary's own generator, for anonymizers that draw; on the images' device. It goes on from batch to
            batch, and it must not be the defender's.
    """

    def __init__(self, anonymizer: AnonymizerLike, rng: torch.Generator | None = None) -> None:
        super().__init__()
        self.anonymizer = anonymizer
        self.rng = rng

    def gallery(self, images: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) of known people -> the same people anonymized."""
        return self.anonymizer(images, rng=self.rng)
