"""WebDataset shards: a tar file with ``<key>.jpg`` and ``<key>.json`` a face, the same bytes for the same faces.

Members carry no time, no owner and no order but that of the inputs. A shard can be cut back to the end of any face and
continued, which is how a unit goes on after one of its inputs has brought its worker down.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from typing import Any, BinaryIO

from PIL import Image

from anon.faces.decoding import digest
from anon.faces.prepare.extract import Face, rounded
from anon.faces.prepare.options import CODECS, Options
from anon.faces.prepare.sources import Source

_END = bytes(2 * tarfile.BLOCKSIZE)


def append(file: BinaryIO, source: Source, face: Face, options: Options, place: int) -> dict[str, Any]:
    """Write one face at the end of ``file``.

    Args:
        place: number of the face among those of its input.

    Returns:
        Its row in the index.
    """
    key = f"{source.number:08d}-{place:06d}"
    row = {
        "video": source.ordinal if source.video else -1,
        "frame": face.frame if source.video else source.ordinal,
        "landmarks": rounded(face.landmarks),
        "score": None if face.score is None else round(face.score, 4),
        "labels": face.labels,
    }
    who = identity(source, {"place": place})
    written = {"identity": who, "split": source.split, "official": source.official, "file": source.file}
    encoded = io.BytesIO()
    name, settings = CODECS[options.codec]
    Image.fromarray(face.image.numpy()).save(encoded, name, **settings)
    content = encoded.getvalue()
    offset = _member(file, f"{key}.{options.codec}", content)
    _member(file, f"{key}.json", json.dumps(written | row, sort_keys=True).encode())
    found = {"input": source.number, "place": place, "offset": offset, "length": len(content)}
    return found | row | {"digest": digest(content)}


def identity(source: Source, row: Mapping[str, Any]) -> str:
    """Who a face is, from its row in the index."""
    another = source.alone and not source.video and row["place"]
    return f"{source.identity}#{row['place'] + 1}" if another else source.identity


def finish(file: BinaryIO) -> None:
    """Write the end of the archive."""
    file.write(_END)


def _member(file: BinaryIO, name: str, content: bytes) -> int:
    """Returns where the content begins."""
    header = tarfile.TarInfo(name)
    header.size, header.mode = len(content), 0o644
    file.write(header.tobuf(tarfile.USTAR_FORMAT))
    offset = file.tell()
    file.write(content + bytes(-len(content) % tarfile.BLOCKSIZE))
    return offset
