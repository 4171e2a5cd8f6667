"""Reading recognizer weights safely, from files that may be anything.

Only tensors are ever read: safetensors, or ``torch.load(weights_only=True)``, which refuses code. The common wrappings
(``state_dict``, ``model``, ... around it, ``module.`` or ``model.`` before every key) are taken off. Every failure is a
``UserError`` of one sentence. ``shipped:<name>`` means a file that comes with this package.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from anon import weights as shipped_weights
from anon.errors import UserError
from anon.weights import archives

SHIPPED = "shipped:"
MAX_BYTES = 2 * 1024**3
_WRAPPERS = ("state_dict", "model_state_dict", "state_dict_backbone", "model", "backbone", "net")
_NUMBERS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)  # what weights may be stored in
_PREFIXES = ("module.", "model.", "backbone.")


def resolve(weights: str | Path) -> Path:
    """The file behind ``weights``: a path, or ``shipped:<name>`` (checked against its recorded hash)."""
    text = str(weights)
    if text.startswith(SHIPPED):
        return shipped_weights.path(text.removeprefix(SHIPPED))
    return Path(text).expanduser()


def read(path: str | Path, max_bytes: int = MAX_BYTES) -> dict[str, Tensor]:
    """The tensors of a weight file, on the CPU, by name.

    Raises:
        UserError: missing, empty, larger than ``max_bytes``, truncated, holding code, or without tensors.
    """
    file = resolve(path)
    if not file.is_file():
        raise UserError(f"No weight file at '{file}'.")
    size = file.stat().st_size
    if size == 0 or size > max_bytes:
        raise UserError(f"The weight file '{file}' has {size} bytes; expected 1 to {max_bytes}.")
    if file.suffix == ".safetensors":
        try:
            return load_file(file)
        except (SafetensorError, *archives.DAMAGED) as error:
            reason = getattr(error, "strerror", None) or str(error).partition("\n")[0] or type(error).__name__
            raise UserError(f"'{file}' is not a readable safetensors file ({reason}); fetch it again.") from error
    return _tensors(archives.read(file, max_bytes), file)


def load_into(module: nn.Module, path: str | Path) -> None:
    """Fill ``module`` from a weight file, in place; half precision is widened to the module's own type.

    Raises:
        UserError: see :func:`read`; or the file is of another architecture (the first few differences are named).
    """
    state = read(path)
    wanted = module.state_dict()
    state = _strip(state, wanted)
    unused = getattr(module, "unused", ())  # a class attribute: what its published files hold beyond the network
    state = {key: value for key, value in state.items() if not key.startswith(tuple(unused))}
    for key, value in wanted.items():  # files written before PyTorch 0.4.1 lack this counter, which nothing here uses
        if key.endswith("num_batches_tracked"):
            state.setdefault(key, value)
    missing = [key for key in wanted if key not in state]
    extra = [key for key in state if key not in wanted]
    shapes = [
        f"{key} is {tuple(state[key].shape)}, expected {tuple(value.shape)}"
        for key, value in wanted.items()
        if key in state and state[key].shape != value.shape
    ]
    if missing or extra or shapes:
        parts = [
            f"{len(names)} {what} ({'; '.join(names[:3])}{'; ...' if len(names) > 3 else ''})"
            for what, names in (("missing", missing), ("unexpected", extra), ("of another shape", shapes))
            if names
        ]
        raise UserError(f"'{resolve(path)}' does not fit {type(module).__name__}: {', '.join(parts)}.")
    check_types(state, wanted, resolve(path))
    broken = [key for key, value in state.items() if value.is_floating_point() and not bool(value.isfinite().all())]
    if broken:
        raise UserError(f"'{resolve(path)}' holds NaN or infinite numbers, first in {broken[0]}.")
    module.load_state_dict(state)
    if str(path).startswith(SHIPPED):
        module.__dict__["shipped"] = str(path).removeprefix(SHIPPED)  # tells what it learned from, see the index


def check_types(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: Path) -> None:
    """Only types that convert without loss of a sign, an imaginary part or most digits.

    Raises:
        UserError: float8, complex, packed bits or truth values in the place of weights.
    """
    for key, value in state.items():
        if key in wanted and (
            value.dtype not in _NUMBERS
            if wanted[key].is_floating_point()
            else value.is_floating_point() or value.is_complex()
        ):
            raise UserError(f"'{path}' holds numbers of type {value.dtype}, first in {key}; save them as float32.")


def fingerprint(module: nn.Module) -> str:
    """SHA-256 over names, shapes and bytes of a module's parameters and buffers: equal iff the networks are."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _tensors(content: object, file: Path) -> dict[str, Tensor]:
    """The state dict inside ``content``, unwrapped."""
    while isinstance(content, dict):
        if content and all(isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()):
            return dict(content)
        inner = next((content[key] for key in _WRAPPERS if isinstance(content.get(key), dict)), None)
        if inner is None:
            break
        content = inner
    raise UserError(f"'{file}' holds no state dict (names with tensors).")


def _strip(state: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    """Take a prefix off that every key carries and the module does not want."""
    for _ in range(3):
        for prefix in _PREFIXES:
            if all(key.startswith(prefix) for key in state) and not all(key.startswith(prefix) for key in wanted):
                state = {key.removeprefix(prefix): value for key, value in state.items()}
                break
        else:
            break
    return state
