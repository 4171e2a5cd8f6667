"""PyTorch's files, which may be anything: measured before they are read, and read as tensors and plain values only.

``torch.load(weights_only=True)`` runs no code, but believes what a file says: a zip of 6 MB may unpack to 6 GB, a
pickle of 1 kB ask for a buffer of any size or for the hash of a tuple that has 2^40 leaves, and a tensor of one number
claim any shape. So the zip's members are stored as they are, as ``torch.save`` does, and no larger than the file; the
pickle names what tensors are made of and nothing else; and every tensor lies within the bytes of the file.
"""

from __future__ import annotations

import pickle
import pickletools
import re
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections import OrderedDict
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from anon import plain
from anon.errors import UserError

_ZIP = b"PK\x03\x04"
_MAX_PICKLE = 64 * 1024**2  # bytes; that of a training's checkpoint has 50,000
_MAX_LEAVES = 1_000_000  # of a tuple, whose hash visits them all; and values of a file
_MAX_OPERATIONS = 1_000_000  # of a pickle; that of a training's checkpoint has 15,000, and each may make an object
_LEGACY_PICKLES = 5  # magic number, protocol, system, content, keys of the storages: before PyTorch 1.6

#: What reading raises on files that are damaged or lie.
DAMAGED = (
    *(ArithmeticError, AssertionError, AttributeError, EOFError, ImportError, LookupError, MemoryError, OSError),
    *(RuntimeError, TypeError, ValueError, pickle.UnpicklingError, struct.error, tarfile.TarError),
    *(zipfile.BadZipFile, zlib.error),
)
_MODULES = ("torch", "torch.storage")
_SCHEMES = ("per_tensor_affine", "per_channel_affine", "per_channel_affine_float_qparams")
_NAMES = {
    *("collections OrderedDict", "torch Size", "torch device", "torch.nn.parameter Parameter"),
    *(f"torch._utils {name}" for name in ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter")),
    *("torch._utils _rebuild_qtensor", *(f"torch {name}" for name in _SCHEMES)),
}
_QUANTIZED = (torch.qint8, torch.quint8, torch.qint32)


class HoldsCode(UserError):
    """The pickle names something that is no part of a tensor."""


def read(file: Path, max_bytes: int, quantized: bool = False) -> Any:
    """The content of a file of ``torch.save``: tensors on the CPU, dicts, lists, texts and numbers.

    Args:
        quantized: let it hold tensors of eight or 32 quantized bits, whose values take at most four times their bytes.

    Raises:
        UserError: larger than ``max_bytes``, damaged, TorchScript, larger than it looks.
        HoldsCode: it would make something else, such as a class of somebody's.
    """
    try:
        size = file.stat().st_size
        if not 0 < size <= max_bytes:
            raise UserError(f"'{file}' has {size} bytes; expected 1 to {max_bytes}.")
        with plain.opened(file) as stream:
            if stream.read(4) == _ZIP:
                _check_zip(file, size)
            else:
                _check_legacy(stream, file)
            stream.seek(0)
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=".*(quantize|TypedStorage)")  # PyTorch, of its own reader
                content = torch.load(stream, map_location="cpu", weights_only=True)  # by its bytes, not its name
        _check_content(content, file, size, quantized)
        return content
    except UserError:
        raise
    except pickle.UnpicklingError as error:
        raise HoldsCode(_code(file)) from error
    except DAMAGED as error:
        if isinstance(error, OSError) and error.strerror:
            raise UserError(f"'{file}' cannot be read ({error.strerror}).") from error
        raise UserError(f"'{file}' is truncated or not a PyTorch weight file; fetch it again.") from error


def _code(file: Path, named: str = "") -> str:
    """The sentence; ``named`` is what the pickle would make, as ``module name``."""
    made = named.replace(" ", ".") if re.fullmatch(r"[\w.]{1,80} [\w.]{1,80}", named, re.ASCII) else ""
    return (
        f"'{file}' is not a plain file of tensors (it is damaged, or holds code, which is never run"
        f"{f': it would make a {made}' * bool(made)}); where you trust it, save its state_dict() alone: "
        f"python -c \"import torch; found = torch.load('{file}', map_location='cpu', weights_only=False); "
        "torch.save(found.state_dict(), 'w.pt')\" (of a dict, the entry with the weights)."
    )


def _check_zip(file: Path, size: int) -> None:
    """Members as they are, together no larger than the file, so that none overlap; none of them a program."""
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if any(member.filename.endswith("constants.pkl") for member in members):
            raise UserError(
                f"'{file}' is a TorchScript program, which is never run; where you trust it, save its state_dict() "
                f"alone: python -c \"import torch; torch.save(torch.jit.load('{file}', 'cpu').state_dict(), 'w.pt')\"."
            )
        if any(member.filename.endswith("archive_format") for member in members):
            raise UserError(
                f"'{file}' is a program of torch.export, which is never run; where you trust it, save its state_dict "
                f"alone: python -c \"import torch; torch.save(dict(torch.export.load('{file}').state_dict), 'w.pt')\"."
            )
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise UserError(f"'{file}' is compressed, which torch.save never does; it unpacks to more than it has.")
        if sum(member.file_size for member in members) > size:
            raise UserError(f"'{file}' unpacks to more than its {size} bytes.")
        for member in members:
            if member.filename.endswith(".pkl"):
                if member.file_size > _MAX_PICKLE:
                    raise UserError(f"'{file}' has a table of contents of {member.file_size} bytes; it was not read.")
                with archive.open(member) as stream:
                    _check_pickle(stream, file)


def _check_legacy(stream: IO[bytes], file: Path) -> None:
    """The pickles that older files are, before their numbers. Older still are tar archives, which unpack to disk."""
    stream.seek(0)
    if stream.read(1) != b"\x80" or tarfile.is_tarfile(file):
        raise UserError(f"'{file}' is truncated or not a PyTorch weight file; fetch it again.")
    stream.seek(0)
    for _ in range(_LEGACY_PICKLES):
        _check_pickle(stream, file)
        if stream.tell() > _MAX_PICKLE:
            raise UserError(f"'{file}' has a table of contents of {stream.tell()} bytes; it was not read.")


def _check_pickle(stream: IO[bytes], file: Path) -> None:
    """Go through a pickle without making anything: what it names, and how many leaves its tuples have."""
    stack: list[int] = []  # leaves of what torch would have on its stack; 0 is a mark
    kept: dict[Any, int] = {}
    for count, (operation, argument, _) in enumerate(pickletools.genops(stream)):
        name = operation.name
        if name in ("GLOBAL", "STACK_GLOBAL", "INST", "OBJ", "EXT1", "EXT2", "EXT4", "NEWOBJ", "NEWOBJ_EX"):
            module, _, attribute = str(argument).partition(" ")
            plain = module in _MODULES and attribute.endswith("Storage")
            plain |= module == "torch" and isinstance(getattr(torch, attribute, None), torch.dtype)
            if name != "GLOBAL" or not (plain or argument in _NAMES):
                raise HoldsCode(_code(file, str(argument) if name in ("GLOBAL", "INST") else ""))
        if name in ("BINPUT", "LONG_BINPUT", "PUT", "MEMOIZE"):
            kept[len(kept) if argument is None else argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(kept[argument])
        elif name == "MARK":
            stack.append(0)
        elif name.startswith("TUPLE"):
            taken = [stack.pop() for _ in range(int(name[5:]))] if name[5:] else _to_mark(stack)
            stack.append(1 + sum(taken))
        elif name in ("APPENDS", "SETITEMS", "ADDITEMS", "LIST", "DICT", "FROZENSET", "POP_MARK"):
            leaves = sum(_to_mark(stack))
            if name in ("LIST", "DICT", "FROZENSET"):
                stack.append(1 + leaves)
        elif name not in ("PROTO", "FRAME", "STOP"):
            taken = [stack.pop() for part in operation.stack_before]
            stack += [max(1, sum(taken) if name in ("REDUCE", "BINPERSID") else 1)] * len(operation.stack_after)
            if name in ("APPEND", "SETITEM", "BUILD"):
                stack[-1] = taken[-1]
        if (stack and stack[-1] > _MAX_LEAVES) or count >= _MAX_OPERATIONS:
            raise UserError(f"'{file}' holds more values than a file of weights has; it was not read.")


def _to_mark(stack: list[int]) -> list[int]:
    taken = []
    while (leaves := stack.pop()) != 0:
        taken.append(leaves)
    return taken


def _check_content(content: Any, file: Path, size: int, quantized: bool) -> None:
    """Every tensor is dense, on the CPU, and has its numbers in the file; what holds them is plain."""
    seen: set[int] = set()
    storages: dict[int, int] = {}
    packed = 0  # numbers of quantized tensors: several on one storage would become many
    waiting = [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Tensor):
            if value.layout != torch.strided or value.device.type != "cpu":
                raise UserError(f"'{file}' holds a tensor that is sparse or without values.")
            if value.is_quantized:
                if not quantized or value.dtype not in _QUANTIZED:
                    raise UserError(f"'{file}' holds a quantized tensor ({value.dtype}); take the float weights.")
                packed += value.numel()
            storage = value.untyped_storage()
            if value.nbytes > storage.nbytes():
                raise UserError(f"'{file}' holds a tensor of {value.nbytes} bytes in {storage.nbytes()}.")
            if storage.nbytes():
                storages[storage.data_ptr()] = storage.nbytes()
        elif isinstance(value, dict | list | tuple) and id(value) not in seen:
            seen.add(id(value))
            waiting += [*value.keys(), *value.values()] if isinstance(value, dict) else list(value)
            if isinstance(value, OrderedDict) and vars(value):
                waiting.append(vars(value))
    if sum(storages.values()) > size or packed > size:
        raise UserError(f"'{file}' holds tensors of more than its {size} bytes.")
