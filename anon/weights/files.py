"""Reading recognizer weights safely, from files that may be anything.

Only tensors are ever read: safetensors, or ``torch.load(weights_only=True)``, which refuses code; which of them a file
is, its first bytes say. The common wrappings are taken off: ``state_dict``, ``model``, ... around it, ``module.`` or
another prefix before the network's keys, beside which a training's head may stand. A file that holds the network more
than once, as timm's with ``state_dict_ema`` beside ``state_dict`` or BasicSR's with ``params_ema`` and ``params``, is
refused: which of them was published is not to be guessed. Lightning's averaging keeps the average as ``state_dict`` and
is read so. Quantized weights (``torch.ao.quantization``, packed or not) become floats. Every failure is a ``UserError``
of one sentence.
``shipped:<name>`` means a file that comes with this package.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from anon import weights as shipped_weights
from anon.errors import UserError
from anon.weights import archives

SHIPPED = "shipped:"
MAX_BYTES = 2 * 1024**3
_AVERAGES = ("state_dict_ema", "ema_state_dict", "model_ema", "ema_model", "ema", "params_ema", "g_ema")
_NAMES = ("state_dict", "model_state_dict", "state_dict_backbone", "model", "backbone", "net", "params", "g")
_WRAPPERS = (*_NAMES, *_AVERAGES)
TOLD = "learned"  # of a checkpoint of this project: whom it learned from
_TELLS = {"domains", "salt", "people", "complete"}
_DEEP = 3  # wrappers around wrappers
_WHOLE = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
_INTEGERS = (*_WHOLE, torch.bool)
_NUMBERS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)  # what weights may be stored in
_PREFIXES = ("module.", "model.", "backbone.")
_COUNTER = "num_batches_tracked"
_PACKED = re.compile(r"(.*\.|)_packed_params\.(_packed_params|dtype)")  # of a quantized linear layer


def resolve(weights: str | Path) -> Path:
    """The file behind ``weights``: a path, or ``shipped:<name>`` (checked against its recorded hash)."""
    text = str(weights)
    if text.startswith(SHIPPED):
        return shipped_weights.path(text.removeprefix(SHIPPED))
    return Path(text).expanduser()


def read(path: str | Path, max_bytes: int = MAX_BYTES) -> dict[str, Tensor]:
    """The tensors of a weight file, on the CPU, by name.

    Raises:
        UserError: missing, empty, larger than ``max_bytes``, truncated, holding code, or without tensors; or with an
            average, or another copy, of the weights beside them.
    """
    return _read(path, max_bytes)[0]


def _read(path: str | Path, max_bytes: int = MAX_BYTES) -> tuple[dict[str, Tensor], object]:
    """The same, and what a checkpoint of this project says of whom it learned from; None of other files."""
    file = resolve(path)
    if not file.is_file():
        raise UserError(f"No weight file at '{file}'.")
    size = file.stat().st_size
    if size == 0 or size > max_bytes:
        raise UserError(f"The weight file '{file}' has {size} bytes; expected 1 to {max_bytes}.")
    if _is_safetensors(file):
        try:
            return load_file(file), None
        except (SafetensorError, *archives.DAMAGED) as error:
            reason = getattr(error, "strerror", None) or str(error).partition("\n")[0] or type(error).__name__
            raise UserError(f"'{file}' is not a readable safetensors file ({reason}); fetch it again.") from error
    content = archives.read(file, max_bytes, quantized=True)
    told = content.get(TOLD) if isinstance(content, dict) else None
    return _tensors(content, file), told if isinstance(told, dict) and told.keys() == _TELLS else None


def _is_safetensors(file: Path) -> bool:
    """By the first bytes: a length and ``{``; by the name where they are those of no format.

    Raises:
        UserError: the file cannot be read, or is an ONNX graph.
    """
    try:
        with file.open("rb") as stream:
            head = stream.read(9)
    except OSError as error:
        raise UserError(f"'{file}' cannot be read ({error.strerror}).") from error
    if head[4:] == b"\0\0\0\0{":  # a header of 128 bytes begins as a pickle does
        return True
    if head.startswith((b"PK", b"\x80")):
        return False
    if file.suffix == ".onnx":
        raise UserError(
            f"'{file}' is an ONNX file, which encoder=onnx encoder.weights=<file> converts and judge=onnx "
            "judge.path=<file> runs; this network needs a PyTorch or safetensors file."
        )
    return head[8:] == b"{" or file.suffix == ".safetensors"


def load_into(module: nn.Module, path: str | Path, preferred: str | None = None) -> None:
    """Fill ``module`` from a weight file, in place; half precision is widened to the module's own type.

    Args:
        preferred: the prefix of the part to take where a file holds the network more than once; None: such a file is
            refused.

    Raises:
        UserError: see :func:`read`; or the file is of another architecture (the first few differences are named), or
            holds integers where the network has fractions.
    """
    wanted = module.state_dict()
    found, told = _read(path)
    state = _within(found, wanted, resolve(path), preferred)
    unused = getattr(module, "unused", ())  # a class attribute: what its published files hold beyond the network
    state = {key: value for key, value in state.items() if not key.startswith(tuple(unused))}
    for key, value in wanted.items():  # files written before PyTorch 0.4.1 lack this counter, which nothing here uses
        if key.endswith(_COUNTER):
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
    module.__dict__.update(_noted(path, told))


def notes(path: str | Path) -> dict[str, Any]:
    """What :func:`load_into` notes at a network of whom the weights in a file learned from, see
    :func:`anon.faces.learned.learned_of`; empty where nothing is known.

    Raises:
        UserError: see :func:`read`.
    """
    return _noted(path, None if str(path).startswith(SHIPPED) else _read(path)[1])


def _noted(path: str | Path, told: object) -> dict[str, Any]:
    if str(path).startswith(SHIPPED):
        return {"shipped": str(path).removeprefix(SHIPPED)}  # the index says what it learned from
    return {} if told is None else {TOLD: told}


def check_types(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: Path) -> None:
    """Only types that convert without loss of a sign, an imaginary part or most digits.

    Raises:
        UserError: float8, complex, packed bits or truth values in the place of weights.
    """
    for key, value in state.items():
        fractions = key in wanted and wanted[key].is_floating_point()
        if fractions and value.dtype in _WHOLE:
            raise UserError(
                f"'{path}' holds {value.dtype} for {key}, which is {wanted[key].dtype} here: it is quantized in a form "
                "that is not read; take the float weights."
            )
        taken = _NUMBERS if fractions or key.endswith(_COUNTER) else ()  # counters: of a network converted as a whole
        if key in wanted and value.dtype not in (*taken, *(() if fractions else _INTEGERS)):
            raise UserError(f"'{path}' holds numbers of type {value.dtype}, first in {key}; save them as float32.")


def fingerprint(module: nn.Module) -> str:
    """SHA-256 over names, shapes and bytes of a module's parameters and buffers: equal iff the networks are."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _tensors(content: object, file: Path) -> dict[str, Tensor]:
    """The state dict inside ``content``, unwrapped, as it was before it was quantized."""
    found = _states(content, "", _DEEP)
    if not found:
        raise UserError(f"'{file}' holds no state dict (names with tensors).")
    if len(found) > 1:
        one = next((place for place in found if "ema" in place), list(found)[-1])
        raise UserError(
            f"'{file}' holds weights {len(found)} times ({', '.join(found)}); save those that you mean alone, such as: "
            f"import torch; torch.save(torch.load('{file.name}', 'cpu', weights_only=True){one}, 'chosen.pt')."
        )
    (state,) = found.values()
    return {key: value.dequantize() if value.is_quantized else value for key, value in state.items()}


def _states(content: object, place: str, deep: int) -> dict[str, dict[str, Tensor]]:
    """The state dicts inside ``content``, by the keys that lead there: ``['model_ema']``."""
    if not isinstance(content, dict):
        return {}
    state = _unpacked(content)
    if state and all(isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()):
        return {place: state}
    found: dict[str, dict[str, Tensor]] = {}
    for key in _WRAPPERS if deep else ():
        found |= _states(content.get(key), f"{place}['{key}']", deep - 1)
    return found


def _unpacked(content: dict[Any, Any]) -> dict[Any, Any]:
    """Weight and bias of quantized layers under their usual names, without what quantizes the activations."""
    state: dict[Any, Any] = {}
    layers: set[str] = set()
    for key, value in content.items():
        packed = _PACKED.fullmatch(key) if isinstance(key, str) else None
        if packed is None:
            state[key] = value
            if isinstance(value, Tensor) and value.is_quantized:
                layers.add(str(key).removesuffix("weight"))
        elif isinstance(value, tuple) and len(value) == 2:
            layers.add(packed[1])
            state |= {
                f"{packed[1]}{name}": part
                for name, part in zip(("weight", "bias"), value, strict=True)
                if part is not None
            }
    dropped = {f"{layer}{name}" for layer in layers for name in ("scale", "zero_point")}
    return {key: value for key, value in state.items() if key not in dropped}


def _within(
    state: dict[str, Tensor], wanted: dict[str, Tensor], file: Path, preferred: str | None = None
) -> dict[str, Tensor]:
    """The part of a state dict that has all the names of the network, behind one prefix; all of it where none has.

    Raises:
        UserError: several parts have them.
    """
    names = [key for key in wanted if not key.endswith(_COUNTER)]
    ends = [key.removesuffix(names[0]) for key in state if names and key.endswith(f".{names[0]}")]
    found = [prefix for prefix in ends if all(f"{prefix}{name}" in state for name in names)]
    if not found or set(names) <= set(state):
        return _strip(state, wanted)
    if preferred in found:
        found = [preferred]
    if len(found) > 1:
        raise UserError(f"'{file}' holds the network {len(found)} times ({', '.join(found)}); save one of them alone.")
    return {key.removeprefix(found[0]): value for key, value in state.items() if key.startswith(found[0])}


def _strip(state: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    """Take a prefix off that every key carries and the module does not want."""
    for prefix in 3 * _PREFIXES:  # in any order
        if all(key.startswith(prefix) for key in state) and not all(key.startswith(prefix) for key in wanted):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state
