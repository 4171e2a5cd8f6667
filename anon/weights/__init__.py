"""The weights that ship with the package: safetensors in half precision, <= 4 MB each, with a model card and a hash.

``index.json`` lists them: ``{name: {"file", "sha256", "bytes", "card", "domain"}}``; the card beside each says how it
was made, ``domain`` what it learned from: ``synthetic`` (rendered faces) or ``photographs``, and ``people``, where
it is there, the name of the set of people, if they are not the training split of the rendered faces.
A generator's entry also has ``config``, what it and its encoder are built from.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from anon.checksums import written_whole
from anon.errors import UserError
from anon.plain import read_json

FOLDER = Path(__file__).parent
MAX_BYTES = 4 * 1024**2


def index(folder: Path = FOLDER) -> dict[str, dict[str, Any]]:
    """What ships, by name.

    Raises:
        UserError: the list is damaged, or names a file outside the folder.
    """
    file = folder / "index.json"
    if not file.is_file():
        return {}
    found = read_json(file)
    if not isinstance(found, dict) or not all(isinstance(entry, dict) for entry in found.values()):
        raise UserError(f"The list of what ships, '{file}', is damaged; reinstall anon-faces.")
    for entry in found.values():
        if any(Path(str(entry.get(part))).name != entry.get(part) for part in ("file", "card")):
            raise UserError(f"The list of what ships, '{file}', names a file that is not beside it; it is not read.")
    return found


def path(name: str, folder: Path = FOLDER) -> Path:
    """The file of a shipped model, its SHA-256 checked.

    Raises:
        UserError: no such model, its file is missing, or its bytes are not those that were shipped.
    """
    entries = index(folder)
    if name not in entries:
        known = ", ".join(sorted(entries)) or "none in this installation"
        raise UserError(f"No shipped weights named '{name}'; there are: {known}.")
    file = folder / entries[name]["file"]
    if not file.is_file():
        raise UserError(f"The shipped weights '{file}' are missing; reinstall anon-faces.")
    if hashlib.sha256(file.read_bytes()).hexdigest() != entries[name]["sha256"]:
        raise UserError(f"The shipped weights '{file}' are damaged (SHA-256 differs); reinstall anon-faces.")
    return file


def ship(
    state: Mapping[str, Tensor],
    name: str,
    card: str,
    folder: Path = FOLDER,
    config: Mapping[str, Any] | None = None,
    domain: str = "synthetic",
    people: str | None = None,
) -> Path:
    """Write ``state`` as half-precision safetensors with its model card (Markdown), and enter it in the index.

    ``config`` is plain: dicts, lists, strings, numbers. ``people`` names those that it learned from, where they are not
    the training split of the rendered faces. Every file is replaced atomically, the index last. Integer
    tensors keep their type.

    Raises:
        ValueError: larger than 4 MB, or a number that half precision cannot hold.
    """
    half = {
        key: value.detach().cpu().to(torch.float16 if value.is_floating_point() else value.dtype).contiguous()
        for key, value in state.items()
    }
    for key, value in half.items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise ValueError(f"{key} does not fit half precision.")
    data = save(half)
    if len(data) > MAX_BYTES:
        raise ValueError(f"{name} takes {len(data)} bytes; what ships has at most {MAX_BYTES}.")
    file = folder / f"{name}.safetensors"
    _replace(file, data)
    _replace(folder / f"{name}.md", card.encode())
    entries = index(folder)
    entries[name] = {
        "file": file.name,
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "card": f"{name}.md",
        "domain": domain,
    } | ({} if config is None else {"config": dict(config)})
    entries[name] |= {} if people is None else {"people": people}
    _replace(folder / "index.json", (json.dumps(entries, indent=2, sort_keys=True) + "\n").encode())
    return file


def _replace(file: Path, data: bytes) -> None:
    with written_whole(file, 0o644) as stream:
        stream.write(data)
