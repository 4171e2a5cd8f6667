"""The numbers that papers print, from published/*.yaml, so that nobody types them into a table.

Each file is ``{table: {source, protocol, rows: {method: {metric: value}}, units: {metric: unit}, note}}``; ``units``
and ``note`` are optional, and what a paper leaves out is left out. Metric names are those of results.json where the
harness measures the like. A metric without a unit is a share, or an index such as SSIM, in [0, 1], also where it was
printed in percent. ``note`` says where the source contradicts itself.

    python -c "from anon.evaluation.published import tables; print(*tables())"
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, cast

from omegaconf import OmegaConf

from anon.errors import UserError

FOLDER = Path(__file__).parent


class Published(NamedTuple):
    """A printed table: where it stands, how it was measured, and its rows by method and metric.

    ``units``: of the metrics that are no shares. ``note``: an erratum, empty where there is none. ``dial``: the metric
    that is the setting of a dial, where the rows are a sweep.
    """

    source: str
    protocol: str
    rows: dict[str, dict[str, float]]
    units: Mapping[str, str] = MappingProxyType({})
    note: str = ""
    dial: str = ""


def published(table: str) -> Published:
    """One table by name.

    >>> published("fiva_table1").rows["FIVA"]["negID"]
    0.966
    >>> published("facedancer_final_ffpp").units["pose"]
    'degree'

    Raises:
        UserError: no table has that name.
    """
    found = _read()
    if table not in found:
        (near,) = get_close_matches(table, found, n=1, cutoff=0.0)
        raise UserError(f"There is no published table '{table}'; the nearest is '{near}'.")
    return Published(**copy.deepcopy(found[table]))


def tables() -> list[str]:
    """The names of all tables.

    >>> [name for name in tables() if name.startswith("fiva")]
    ['fiva_figure3', 'fiva_table1', 'fiva_table2', 'fiva_table3', 'fiva_table4']
    """
    return sorted(_read())


@functools.cache
def _read() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for file in sorted(FOLDER.glob("*.yaml")):
        found |= cast(dict, OmegaConf.to_container(OmegaConf.load(file)))
    return found
