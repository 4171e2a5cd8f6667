"""Sketches of embeddings: on which side of 1024 random planes through 0 they lie, 128 bytes.

Two embeddings at an angle a differ in a bit with probability a / pi, independently (Goemans and Williamson 1995;
Charikar 2002), whatever the embeddings are: the bits in which a pair differs follow the binomial distribution. The
planes are made of SHAKE-256, so that sketches which a store keeps mean the same for ever.
"""

from __future__ import annotations

import functools
import hashlib
import math

import numpy as np
import torch
from scipy.special import ndtri
from scipy.stats import binom
from torch import Tensor

BITS = 1024
BYTES = BITS // 8
MISSED = 2e-4  # of pairs at an angle, those that differ in more than :func:`radius` bits


@functools.lru_cache(maxsize=4)
def _planes(dim: int) -> Tensor:
    """(dim, BITS), columns of independent normal numbers."""
    made = hashlib.shake_256(f"planes of {dim} numbers".encode()).digest(4 * dim * BITS)
    uniform = (np.frombuffer(made, "<u4") + 0.5) / 2**32
    return torch.from_numpy(ndtri(uniform).astype(np.float32).reshape(dim, BITS))


def sketch(z: Tensor) -> np.ndarray:
    """Embeddings (B, D) -> uint8 (B, BYTES)."""
    return np.packbits((z.float() @ _planes(z.shape[1]) > 0).numpy(), axis=1)


def differing(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Bits in which bytes (..., N) differ, of N that eight divides.

    >>> differing(np.array([[0] * 8, [255] * 8], np.uint8), np.array([1] * 8, np.uint8)).tolist()
    [8, 56]
    """
    words = np.ascontiguousarray(a).view("<u8") ^ np.ascontiguousarray(b).view("<u8")
    if hasattr(np, "bitwise_count"):  # NumPy 2
        return np.bitwise_count(words).sum(-1, dtype=np.int64)
    return np.unpackbits(words.view(np.uint8), axis=-1).sum(-1, dtype=np.int64)


@functools.lru_cache(maxsize=64)
def radius(threshold: float, bits: int = BITS) -> int:
    """Bits in which all but :data:`MISSED` of the pairs at a cosine distance differ at most; nearer ones differ less.

    >>> radius(2.0), radius(1.0)  # whoever it is; at a right angle 512 bits, and 3.54 times sqrt(256)
    (1024, 569)
    """
    angle = math.acos(max(-1.0, 1.0 - threshold))
    return int(binom.isf(MISSED, bits, angle / math.pi)) if angle < math.pi else bits
