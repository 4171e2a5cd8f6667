"""What the index of a packed data set may say. It may come from a stranger: what does not add up is never read.

Each check returns what is wrong as part of a sentence, or None. Sizes have the bounds that prepare has.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from anon.faces.alignment import VIEWS
from anon.faces.splits import SPLITS, person

VERSION = 1
FORMATS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}
SIZES = (32, 2048)  # pixels
MARGINS = (0, 4)
MAX_FACE = 64 << 20  # bytes
_MAX_NAME = 1024  # letters
_MAX_NUMBER = 1 << 40  # of a video, a frame or an input
_SHARD = re.compile(r"shard-[0-9]{6,12}\.tar")
_KINDS = {
    **{"label": "int64", "split": "uint8", "shard": "int32", "input": "int64", "offset": "int64", "length": "int64"},
    **{"video": "int64", "frame": "int64", "landmarks": "float32", "score": "float32"},
}


def fault_of_info(info: Any) -> str | None:
    """Of the content of index.json.

    Raises:
        KeyError, TypeError: a part is missing or is something else.
    """
    if info["version"] != VERSION or info["splits"] != list(SPLITS):
        return "index.json is another version's"
    size, faces, margin, names, shards = (info[key] for key in ("size", "faces", "margin", "names", "shards"))
    if info["codec"] not in FORMATS or not _text(info["name"]):
        return "index.json has a name or a codec that cannot be"
    if type(size) is not int or not SIZES[0] <= size <= SIZES[1]:
        return f"index.json states a size that is none of {SIZES[0]} to {SIZES[1]} px"
    if "framing" in info and info["framing"] not in VIEWS:  # an older one has none: it follows the rule of its size
        return f"index.json states a framing that is none of {', '.join(VIEWS)}"
    if type(margin) not in (int, float) or not MARGINS[0] <= margin <= MARGINS[1]:  # NaN is in no range
        return f"index.json states a margin that is none of {MARGINS[0]} to {MARGINS[1]}"
    if type(faces) is not int or not 0 < faces < _MAX_NUMBER:
        return "index.json states a number of faces that cannot be"
    if not isinstance(names, list) or not names or not all(map(_text, names)):
        return "index.json has names that are none"
    if len(set(map(person, names))) < len(names):
        return "index.json names one person twice, or in two spellings"
    if not isinstance(shards, list) or not shards:
        return "index.json names no shards"
    if not all(isinstance(shard["name"], str) and _SHARD.fullmatch(shard["name"]) for shard in shards):
        return "index.json names a shard that is no file shard-<number>.tar"
    if len({shard["name"] for shard in shards}) < len(shards):
        return "index.json names a shard twice"
    if not all(type(shard["bytes"]) is int and 0 < shard["bytes"] < 1 << 62 for shard in shards):
        return "index.json states a size of a shard that cannot be"
    return None


def fault_of_columns(columns: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> str | None:
    """Of the content of index.safetensors beside a sound index.json."""
    count, size = info["faces"], info["size"]
    for key, kind in _KINDS.items():
        shape = (count, 5, 2) if key == "landmarks" else (count,)
        if key not in columns or columns[key].dtype != kind or columns[key].shape != shape:
            return "index.safetensors does not fit index.json"
    for key, column in columns.items():
        if key not in _KINDS and not (key.startswith("labels.") and column.dtype in (np.int64, np.float32)):
            return "index.safetensors has a column that is none"
        if column.ndim == 0 or len(column) != count:
            return "index.safetensors does not fit index.json"
    for key, least, most in (
        *(("label", 0, len(info["names"]) - 1), ("split", 0, len(SPLITS) - 1), ("shard", 0, len(info["shards"]) - 1)),
        *(("video", -1, _MAX_NUMBER), ("frame", 0, _MAX_NUMBER), ("input", 0, _MAX_NUMBER)),
    ):
        if columns[key].min() < least or columns[key].max() > most:
            return f"index.safetensors has a {key} that index.json does not know, or that cannot be"
    if len(np.unique(columns["label"])) < len(info["names"]):
        return "index.json names people who have no face"
    if len(np.unique(columns["label"] * len(SPLITS) + columns["split"])) > len(info["names"]):
        return "a person is in two splits"
    if not (np.abs(columns["landmarks"]) <= 16 * size).all() or np.isinf(columns["score"]).any():
        return "index.safetensors has landmarks or scores that cannot be"
    return _fault_of_places(columns, [shard["bytes"] for shard in info["shards"]], info)


def _fault_of_places(columns: Mapping[str, np.ndarray], sizes: list[int], info: Mapping[str, Any]) -> str | None:
    """Every face lies within its shard, and none in another."""
    shard, start, length = columns["shard"], columns["offset"], columns["length"]
    room = np.array(sizes, np.int64)[shard]
    wrong = (start < 0) | (length < 1) | (length > MAX_FACE) | (start > room) | (start > room - length)
    if wrong.any():
        return f"the index has faces beyond the end of '{info['shards'][int(shard[int(wrong.argmax())])]['name']}'"
    order = np.lexsort((start, shard))
    begins, ends, where = start[order], (start + length)[order], shard[order]
    if ((begins[1:] < ends[:-1]) & (where[1:] == where[:-1])).any():
        return "the index has one face for two"
    return None


def _text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _MAX_NAME
