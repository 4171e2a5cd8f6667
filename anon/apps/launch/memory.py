"""Keep the memory that a step frees, on Linux with glibc.

PyTorch's CPU allocator asks libc for every tensor. By default glibc hands large blocks back to the kernel as soon as
they are free, and a training step asks for the same hundreds of megabytes again at once: the kernel then has to find
and clear every page anew, more than ten thousand a step (``mallopt(3)``). ``benchmarks/train_step.py`` measures it.
"""

from __future__ import annotations

import ctypes
import os

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h
_LARGEST_ON_HEAP = 32 << 20  # bytes; glibc takes no larger threshold, tensors above it are mapped one by one
_KEPT = (1 << 31) - 1  # bytes at the top of the heap
#: A user's own choice, which stays.
_CHOSEN = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES", "LD_PRELOAD")


def keep_freed_memory() -> bool:
    """Let this process reuse the pages of freed tensors of up to 32 MB; the process stays as large as it once was.

    Returns:
        Whether that was done: not without glibc, nor where the environment chooses an allocator or its thresholds.
    """
    if any(os.environ.get(name) for name in _CHOSEN):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another libc, another system
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST_ON_HEAP)) and bool(mallopt(_TRIM_THRESHOLD, _KEPT))
