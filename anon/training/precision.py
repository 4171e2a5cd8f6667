"""Which floating-point precision is fastest where the program runs."""

from __future__ import annotations

import torch


def fastest() -> str:
    """A Trainer's ``precision``: ``bf16-mixed`` where GPU or CPU compute in bfloat16 natively, else ``32-true``.

    A CPU without such instructions emulates them, several times slower than float32.
    """
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    native = any(getattr(torch.cpu, check, bool)() for check in checks)
    return "bf16-mixed" if native else "32-true"
