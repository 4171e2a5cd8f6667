"""The numbers that papers print, from published.yaml, so that nobody types them into a table."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from omegaconf import OmegaConf

FILE = Path(__file__).with_name("published.yaml")


class Published(NamedTuple):
    """A printed table: where it stands, how it was measured, and its rows by method and metric."""

    source: str
    protocol: str
    rows: dict[str, dict[str, float]]


def published(table: str) -> Published:
    """One table of published.yaml.

    >>> published("fiva_table1").rows["FIVA"]["negID"]
    0.966
    """
    tables = OmegaConf.to_container(OmegaConf.load(FILE))
    assert isinstance(tables, dict)
    entry = tables[table]
    return Published(entry["source"], entry["protocol"], entry["rows"])
