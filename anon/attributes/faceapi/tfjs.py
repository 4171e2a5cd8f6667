"""Reading TensorFlow.js weights safely: a manifest of names, shapes and quantization, and shards of raw numbers.

The manifest is JSON: groups of ``paths`` (shards beside it, one byte string when joined) and ``weights`` (name, shape,
dtype and, for compressed ones, ``quantization`` {dtype, scale, min}: value = number * scale + min).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from anon.errors import UserError
from anon.plain import read_bytes, read_json
from anon.weights.archives import DAMAGED

MAX_BYTES = 64 * 1024**2  # the published ones have 0.5 million; a byte becomes a float32
_MANIFEST_BYTES = 4 * 1024**2
_TYPES = {"float32": "<f4", "float16": "<f2", "int32": "<i4", "uint16": "<u2", "uint8": "u1"}


def read(manifest: str | Path, origin: str) -> dict[str, Tensor]:
    """The float32 tensors of a manifest by name, in TensorFlow's layout.

    Raises:
        UserError: no such file, not a manifest, shards outside its folder, too large, or not as long as it says.
    """
    path = Path(manifest).expanduser()
    if not path.is_file():
        raise UserError(f"No weights manifest at '{path}'; it is never downloaded: {origin}.")
    if path.stat().st_size > _MANIFEST_BYTES:
        raise UserError(f"'{path}' is too large for a weights manifest; {origin}.")
    try:
        groups = read_json(path, _MANIFEST_BYTES)
        found: dict[str, Tensor] = {}
        for group in groups:
            sizes = [_entry(entry) for entry in group["weights"]]
            content = _shards(path, [str(name) for name in group["paths"]], sum(size for *_, size in sizes))
            start = 0
            for name, shape, kind, scale, least, size in sizes:
                raw = np.frombuffer(content, _TYPES[kind], math.prod(shape), start).astype(np.float32)
                found[name] = torch.from_numpy((raw * scale + least).reshape(shape))
                start += size
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"'{path}' cannot be read ({error.strerror}).") from error
    except DAMAGED as error:
        raise UserError(f"'{path}' is not a TensorFlow.js weights manifest, or is damaged; {origin}.") from error
    if not found:
        raise UserError(f"'{path}' names no weights; {origin}.")
    return found


def load_into(module: nn.Module, manifest: str | Path | None, origin: str) -> None:
    """Fill a module whose parameters bear TensorFlow's names (dots for slashes), in place; frozen, in eval mode.

    Filters go from (H, W, in, out) to (out, in, H, W), depthwise ones from (H, W, C, 1) to (C, 1, H, W), dense weights
    from (in, out) to (out, in).

    Raises:
        UserError: see :func:`read`; or the weights are another network's.
    """
    if manifest is None:
        raise UserError(f"{type(module).__name__} needs a weights manifest: {origin}.")
    state = {name.replace("/", "."): _torch_layout(name, value) for name, value in read(manifest, origin).items()}
    wanted = {name: value.shape for name, value in module.state_dict().items()}
    wrong = [name for name in wanted if name not in state or state[name].shape != wanted[name]]
    wrong += [name for name in state if name not in wanted]
    if wrong:
        raise UserError(
            f"'{manifest}' does not fit {type(module).__name__}: {len(wrong)} weights differ, "
            f"first {wrong[0]}; {origin}."
        )
    if not all(bool(value.isfinite().all()) for value in state.values()):
        raise UserError(f"'{manifest}' holds NaN or infinite numbers; {origin}.")
    module.load_state_dict(state)
    module.eval().requires_grad_(False)


def _entry(entry: dict[str, Any]) -> tuple[str, list[int], str, float, float, int]:
    """Name, shape, stored type, scale, offset and bytes of one weight."""
    shape = entry["shape"]
    if not isinstance(shape, list) or len(shape) > 8 or any(type(n) is not int or not 0 < n < 2**24 for n in shape):
        raise ValueError("shape")
    quantization = entry.get("quantization") or {"dtype": entry["dtype"], "scale": 1.0, "min": 0.0}
    kind = quantization["dtype"]
    scale, least = float(quantization.get("scale", 1.0)), float(quantization.get("min", 0.0))
    if not (math.isfinite(scale) and math.isfinite(least)):
        raise ValueError("scale")
    return str(entry["name"]), shape, kind, scale, least, math.prod(shape) * np.dtype(_TYPES[kind]).itemsize


def _shards(manifest: Path, names: list[str], expected: int) -> bytes:
    """The joined shards, which must be exactly as long as the weights."""
    files = [manifest.parent / name for name in names]
    if any(Path(name).name != name or name in (".", "..") for name in names):
        raise UserError(f"'{manifest}' names shards outside its folder.")
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise UserError(f"'{manifest}' needs '{missing[0]}' beside it.")
    found = sum(file.stat().st_size for file in files)
    if found != expected or found > MAX_BYTES:
        raise UserError(f"The shards of '{manifest}' have {found} bytes, expected {min(expected, MAX_BYTES)}.")
    return b"".join(read_bytes(file, MAX_BYTES) for file in files)


def _torch_layout(name: str, value: Tensor) -> Tensor:
    kind = name.rsplit("/", 1)[-1]
    if value.ndim == 4:
        return value.permute(2, 3, 0, 1) if kind == "depthwise_filter" else value.permute(3, 2, 0, 1)
    return value.T if value.ndim == 2 else value
